"""Tables of ``scripts.studies.speedup``: times, qualities and factors, with intervals and the values of each seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.report.text import change_cells, fixed
from evaluation.statistics.bootstrap import Interval, Values, compare, interval, ratio, within
from evaluation.statistics.clusters import Groups

RELEASED, OURS = "RANSAC, released, 1 thread", "RANSAC, ours, 1 thread"
LITERAL, SUPERGLOBAL = "SuperGlobal, literal, 1 thread", "SuperGlobal, ours, 1 thread"


@dataclass(frozen=True)
class Measured:
    """A method on one seed.

    Attributes:
      ms: ``(Q,)`` milliseconds of each query; ``(1,)`` a query where all are timed together.
      ap: ``(Q,)`` average precision in percent.
    """

    ms: Values
    ap: Values


Found = dict[str, list[Measured]]  # by method, one for each seed


def short(value: float) -> str:
    """Three digits, or all before the point.

    >>> short(0.04567), short(64865.3)
    ('0.0457', '64865')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def cells(found: Interval, seeds: Sequence[float], shown: Callable[[float], str]) -> str:
    """A value, its interval over other queries, and that of each seed."""
    ends = "–" if np.isnan(found.low) else f"[{shown(found.low)}, {shown(found.high)}]"
    return f"{shown(found.mean)} | {ends} | {' / '.join(map(shown, seeds))}"


def over_seeds(values: Sequence[Values]) -> Values:
    """``(Q,)`` mean of each query over the seeds."""
    return np.asarray(np.mean(values, axis=0), np.float64)


def factor(found: Found, grouped: Groups, above: str, below: str) -> str:
    """How many times the milliseconds of one method those of another are."""
    slow, fast = ([value.ms for value in found[name]] for name in (above, below))
    seeds = [float(one.mean() / other.mean()) for one, other in zip(slow, fast, strict=True)]
    return cells(ratio(over_seeds(slow), over_seeds(fast), grouped), seeds, short)


def report(found: Found, grouped: Groups, equal: str, m: int) -> str:
    """Markdown: times and qualities, then the factors."""
    seeds = len(found[OURS])
    lines = [f"{m} candidates, {len(grouped)} queries, {seeds} seed{'s' if seeds > 1 else ''}. {equal}"]
    lines += ["Times of rerankers are without the first stage; intervals (95 %) are of other queries.", ""]
    lines += ["| method | ms/query | interval | of each seed | mAP | interval | of each seed |", f"|---{'|---:' * 6}|"]
    for name, values in found.items():
        ms, ap = [value.ms for value in values], [value.ap for value in values]
        whole = over_seeds(ms)
        spent = cells(interval(whole, grouped[: len(whole)]), [float(x.mean()) for x in ms], short)
        quality = cells(within(interval(over_seeds(ap), grouped), 0.0), [float(np.nanmean(x)) for x in ap], fixed)
        lines.append(f"| {name} | {spent} | {quality} |")
    lines += ["", "| factor, 1 thread | | interval | of each seed |", f"|---{'|---:' * 3}|"]
    factors = {
        "released RANSAC against our SuperGlobal": (RELEASED, SUPERGLOBAL),
        "... of it RANSAC's implementation: released against ours": (RELEASED, OURS),
        "... of it the algorithm: our RANSAC against our SuperGlobal": (OURS, SUPERGLOBAL),
        "SuperGlobal's implementation: literal against ours": (LITERAL, SUPERGLOBAL),
    } | {
        f"at equal quality: {name} against our SuperGlobal": (name, SUPERGLOBAL)
        for name in found
        if name.endswith("candidates")
    }
    lines += [f"| {what} | {factor(found, grouped, *pair)} |" for what, pair in factors.items()]
    change = compare(*(over_seeds([value.ap for value in found[name]]) for name in (OURS, SUPERGLOBAL)), grouped)
    difference, ends, p, _ = change_cells(vars(change) | {"p_corrected": change.p})
    lines += ["", f"SuperGlobal against RANSAC, {m} candidates each: mAP {difference}, interval {ends}, p {p}."]
    return "\n".join(lines) + "\n"

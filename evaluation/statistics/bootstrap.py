"""How far a number can be trusted: bootstrap intervals over queries, and a paired test between two methods.

The bootstrap draws clusters of queries that share right images (:mod:`evaluation.statistics.clusters`), however few
there are. Percentiles are widened for small numbers of clusters, see :func:`stretch`. All randomness has a fixed seed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from evaluation.statistics.clusters import Groups

LEVEL, SEED = 0.95, 0
DRAWS, FEWER_DRAWS, MANY = 10_000, 2_000, 2_000  # draws for up to MANY groups, and for more
LEAST = 3  # groups of an interval: of two it would hold the truth 80 to 95 times in 100
EVERY = 13  # groups of which all 2^13 exchanges are tried
BLOCK = 1 << 22  # random numbers held at once
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and where it would lie with other queries of the same kind, at :data:`LEVEL`."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedChange:
    """What a method gains over another on the same queries.

    Attributes:
      difference: mean change.
      low: lower end of its interval.
      high: upper end.
      p: two-sided; how often chance alone, exchanging the two methods' values within groups, changes the mean as much.
    """

    difference: float
    low: float
    high: float
    p: float


Ranged = TypeVar("Ranged", Interval, PairedChange)


class Sample(Protocol):
    """What one method reached on the queries of a protocol."""

    @property
    def valued(self) -> NDArray[np.bool_]:
        """``(Q,)`` which queries have a part in it."""

    def interval(self) -> Interval:
        """The measure, and where it would lie with other queries."""

    def change_from(self, before: Any) -> PairedChange:
        """What it gains over another method's sample of the same queries."""


@dataclass(frozen=True, eq=False)
class Mean:
    """A measure that is the mean of one value of each query.

    Attributes:
      values: ``(Q,)`` percent; NaN has no part.
      grouped: ``(Q,)`` the group of each query.
    """

    values: ArrayLike
    grouped: Groups

    @property
    def valued(self) -> NDArray[np.bool_]:
        """``(Q,)`` whether a query has a value."""
        return ~np.isnan(np.asarray(self.values, np.float64))

    def interval(self) -> Interval:
        """See :func:`interval`; within 0 and 100."""
        return within(interval(self.values, self.grouped), 0.0)

    def change_from(self, before: "Mean") -> PairedChange:
        """See :func:`compare`; within -100 and 100."""
        return within(compare(before.values, self.values, self.grouped), -100.0)


def within(found: Ranged, least: float) -> Ranged:
    """An interval of percent, cut to what can be: from ``least`` to 100; NaN stays."""
    return replace(found, low=float(np.maximum(found.low, least)), high=float(np.minimum(found.high, 100.0)))


def stretch(sizes: ArrayLike) -> Values:
    """How many times as far from the mean as the percentiles of the draws the ends of an interval lie.

    Percentiles are too near where groups are few: they are of a normal, not of a t distribution, and of a spread that
    is divided by the number of groups ``n``, not by ``n - 1`` (Hesterberg, arXiv 1411.5279). Both make
    ``t / z * sqrt(n / (n - 1))``. Groups of unequal sizes count as fewer: ``n = (sum sizes)^2 / sum sizes^2`` (Kish),
    not below 2. ``python -m scripts.studies.coverage`` measures how often such an interval holds the truth.

    Args:
      sizes: ``(..., G)`` the weight of each group in the mean.

    Returns:
      ``(...)``, above 1.

    >>> [round(float(stretch(np.ones(number))), 2) for number in (2, 5, 12, 70)]
    [9.17, 1.58, 1.17, 1.03]
    >>> round(float(stretch([8, 8, 4, 1, 5, 8, 5, 8, 5, 5, 5, 8])), 2)  # the queries of ROxford5k
    1.2
    """
    weights = np.asarray(sizes, np.float64)
    freedom = np.maximum(weights.sum(axis=-1) ** 2 / (weights**2).sum(axis=-1) - 1, 1.0)
    level = (1 + LEVEL) / 2
    return np.asarray(stdtrit(freedom, level) / ndtri(level) * np.sqrt((freedom + 1) / freedom), np.float64)


def ends(mean: float, draws: Values, sizes: ArrayLike) -> tuple[float, float]:
    """The ends of an interval.

    Args:
      mean: what was seen.
      draws: the same of each draw; NaN where a draw has none.
      sizes: ``(G,)`` the weight of each group in the mean.

    Returns:
      Lower and upper end.
    """
    low, high = mean + stretch(sizes) * (np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - mean)
    return float(low), float(high)


def interval(values: ArrayLike, grouped: Groups) -> Interval:
    """Bootstrap of the mean: percentiles, drawn out by :func:`stretch`.

    Args:
      values: ``(Q,)`` one of each query; NaN has no part.
      grouped: ``(Q,)`` its group.

    Returns:
      The mean and its interval; NaN where there is no value, and ends of NaN of fewer than :data:`LEAST` groups.
    """
    x = np.asarray(values, np.float64)
    return _bootstrap(*_by_group(x, grouped))


def ratio(above: ArrayLike, below: ArrayLike, grouped: Groups) -> Interval:
    """Bootstrap of the ratio of two means of the same queries, such as of two methods' times.

    Args:
      above: ``(Q,)`` one value of each query, above 0.
      below: ``(Q,)`` what is divided by, likewise.
      grouped: ``(Q,)`` the group of each query.

    Returns:
      The ratio of the means and its interval, as :func:`interval`, made of the logarithms so that it is positive.
    """
    sums, sizes = (_by_group(np.asarray(values, np.float64), grouped)[0] for values in (above, below))
    quotient = float(sums.sum() / sizes.sum())
    if len(sums) < LEAST:
        return Interval(quotient, math.nan, math.nan)
    low, high = ends(math.log(quotient), np.log(_drawn(sums, sizes)), sizes)
    return Interval(quotient, math.exp(low), math.exp(high))


def _bootstrap(sums: Values, sizes: Values) -> Interval:
    """Of the ratio of two sums over groups."""
    mean = float(sums.sum() / sizes.sum()) if sizes.sum() else math.nan
    if len(sums) < LEAST:
        return Interval(mean, math.nan, math.nan)
    return Interval(mean, *ends(mean, _drawn(sums, sizes), sizes))


def _drawn(sums: Values, sizes: Values) -> Values:
    """The ratio of the sums of each draw of groups."""
    random = np.random.default_rng(SEED)
    weights = np.full(len(sums), 1 / len(sums))
    means = [_ratio(random.multinomial(len(sums), weights, size=n), sums, sizes) for n in blocks(len(sums), len(sums))]
    return np.concatenate(means)


def compare(before: ArrayLike, after: ArrayLike, grouped: Groups) -> PairedChange:
    """Paired bootstrap of the mean change, and a sign-flip randomisation test over groups, exact of few.

    Args:
      before: ``(Q,)`` values of one method; NaN has no part.
      after: those of the other on the same queries.
      grouped: ``(Q,)`` the group of each query.

    Returns:
      The change ``after - before``; ``p`` is 1 where nothing changed, NaN where there is one group alone.
    """
    change = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    change_interval = interval(change, grouped)
    sums, _ = _by_group(change, grouped)
    if len(sums) < 2:
        return PairedChange(change_interval.mean, change_interval.low, change_interval.high, math.nan)
    observed, tolerance = abs(sums.sum()), 1e-12 * np.abs(sums).sum()
    reached = total = 0
    for flipped in flips(len(sums), len(sums)):
        reached += int(np.count_nonzero(np.abs((1.0 - 2.0 * flipped) @ sums) >= observed - tolerance))
        total += len(flipped)
    return PairedChange(change_interval.mean, change_interval.low, change_interval.high, reached / total)


def flips(number: int, held: int) -> Iterator[NDArray[np.int8]]:
    """Groups whose two methods are exchanged: all choices of few groups, else none and then random ones.

    Args:
      number: of groups.
      held: how many numbers one choice takes in memory.

    Yields:
      ``(n, number)`` of 0 and 1, in blocks.

    >>> [block.tolist() for block in flips(2, 2)]
    [[[0, 0], [1, 0], [0, 1], [1, 1]]]
    """
    if number <= EVERY:
        every = ((np.arange(2**number)[:, None] >> np.arange(number)) & 1).astype(np.int8)
        step = max(1, BLOCK // held)
        yield from (every[start : start + step] for start in range(0, len(every), step))
        return
    yield np.zeros((1, number), np.int8)
    random = np.random.default_rng(SEED)
    for n in blocks(number, held):
        yield random.integers(0, 2, (n, number), dtype=np.int8)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, 1979); NaN stays and does not count.

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = [i for i in np.argsort(p, kind="stable").tolist() if not math.isnan(p[i])]
    corrected, worst = list(p), 0.0
    for place, i in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - place) * p[i]))
        corrected[i] = worst
    return corrected


def _by_group(values: Values, grouped: Groups) -> tuple[Values, Values]:
    """Sums and numbers of the values of each group that has any."""
    valid = ~np.isnan(values)
    _, place = np.unique(grouped[valid], return_inverse=True)
    return np.asarray(np.bincount(place, values[valid]), np.float64), np.bincount(place).astype(np.float64)


def blocks(number: int, held: int) -> Iterator[int]:
    """How many draws of groups are made at once, until all are made; each holds so many numbers."""
    left = DRAWS if number <= MANY else FEWER_DRAWS
    while left:
        n = max(1, min(left, BLOCK // held))
        left -= n
        yield n


def _ratio(drawn: NDArray[np.int64], sums: Values, sizes: Values) -> Values:
    return np.asarray((drawn @ sums) / (drawn @ sizes), np.float64)


def summary(samples: Mapping[str, Mapping[str, Sample]]) -> dict[str, Any]:
    """Intervals of all rows of a report, and each row against what it is to better.

    A reranked row stands against its own first stage, another first stage against the first row. The p-values of a
    protocol are corrected for their number.

    Args:
      samples: ``{row: {protocol: sample}}``, the first stage of the model under test first.

    Returns:
      ``level``, ``intervals`` ``{row: {protocol: {mean, low, high}}}``, and ``paired`` ``{row: {"against": row,
      "protocols": {protocol: {difference, low, high, p, p_corrected}}}}``.
    """
    rows = list(samples)
    against = {row: row.partition("+")[0] if "+" in row else rows[0] for row in rows}
    against = {row: reference for row, reference in against.items() if reference in samples and reference != row}
    intervals = {row: {p: asdict(sample.interval()) for p, sample in samples[row].items()} for row in rows}
    paired: dict[str, Any] = {row: {"against": reference, "protocols": {}} for row, reference in against.items()}
    for protocol in samples[rows[0]] if rows else ():
        changes = [
            samples[row][protocol].change_from(samples[reference][protocol]) for row, reference in against.items()
        ]
        for row, change, corrected in zip(against, changes, holm([change.p for change in changes]), strict=True):
            paired[row]["protocols"][protocol] = asdict(change) | {"p_corrected": corrected}
    return {"level": LEVEL, "intervals": intervals, "paired": paired}

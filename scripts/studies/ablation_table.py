"""Tables of scripts/studies/ablation.py: each row's quality, its change against its base, and the spread over seeds."""

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.report.compare import read_report
from evaluation.report.model import Report
from evaluation.report.text import change_cells, fixed
from evaluation.statistics.bootstrap import compare, holm
from scripts.studies.ablation_rows import KINDS, SUPERGLOBAL, Study

Values = NDArray[np.float64]
Reports = dict[int, Report]  # by seed, those that are finished
KNOWN = ("queries", "database", "landmarks")
RANSAC = "global+ransac"
WHAT = {"queries": "queries", "database": "photos among each other", "landmarks": "queries"}


def tables(study: Study, output: Path, seeds: list[int]) -> str:
    """Markdown of all that is there so far."""
    parts = []
    for kind in KNOWN:
        found = reports(study, output, seeds, kind)
        if "base" not in found:
            continue
        queries = len(groups_of(found))
        parts.append(f"{queries} {WHAT[kind]}, mAP in percent, mean of the seeds.\n")
        parts += [*lines_of(study, output, found, kind), ""]
        parts += [*rerank_lines(study, found), ""]
    return "\n".join(parts) + "\n"


def reports(study: Study, output: Path, seeds: list[int], kind: str) -> dict[str, Reports]:
    """The reports of each row."""
    found: dict[str, Reports] = {}
    for key, row in study.rows.items():
        places = {seed: output / str(seed) / (row.reports or key) / kind for seed in seeds}
        one = {seed: read_report(place) for seed, place in places.items() if (place / "report.json").is_file()}
        if one:
            found[key] = one
    return found


def values(of_row: Reports, method: str, protocol: str, seeds: Collection[int] | None = None) -> Values:
    """``(seeds, queries)`` average precision in percent; of the given seeds, or of all that the row has."""
    chosen = of_row if seeds is None else seeds
    return np.array([of_row[seed].queries["ap"][method][protocol] for seed in chosen], np.float64)


def lines_of(study: Study, output: Path, found: dict[str, Reports], kind: str) -> list[str]:
    """Both stages of each row, against those of its base."""
    stages = ["global"] if kind == "database" else ["global", RANSAC]
    names = ("first stage", "RANSAC")[: len(stages)]
    head = [
        "row",
        "seeds",
        *(cell for name in names for cell in (name, "change", "95 % interval", "p", "seeds move it")),
    ]
    lines = [f"| {' | '.join([*head, 'training, s'])} |", f"|---{'|---:' * len(head)}|"]
    cells = {key: [study.rows[key].title, str(len(of_row))] for key, of_row in found.items()}
    for stage in stages:
        for key, of_stage in stage_cells(study, found, stage).items():
            cells[key] += of_stage
    for key in found:
        lines.append(f"| {' | '.join([*cells[key], seconds(study, output, key)])} |")
    return lines


def stage_cells(study: Study, found: dict[str, Reports], stage: str) -> dict[str, list[str]]:
    """Cells of each row for one stage; dashes where the row or its base has not got it."""
    cells, changes = {}, {}
    grouped = groups_of(found)
    for key, of_row in found.items():
        if stage not in next(iter(of_row.values())).queries["ap"]:
            cells[key] = ["–"] * 5
            continue
        cells[key] = [fixed(float(np.nanmean(values(of_row, stage, study.protocol))))]
        of_base = found.get(study.rows[key].base or "", {})
        common = [seed for seed in of_row if seed in of_base]
        if not common:
            cells[key] += ["–"] * 4
            continue
        own, other = (values(one, stage, study.protocol, common) for one in (of_row, of_base))
        changes[key] = (compare(other.mean(axis=0), own.mean(axis=0), grouped), np.nanmean(own - other, axis=1))
    for (key, (change, by_seed)), p in zip(changes.items(), holm([c.p for c, _ in changes.values()]), strict=True):
        difference, interval, _, corrected = change_cells(vars(change) | {"p_corrected": p})
        cells[key] += [difference, interval, corrected, span(by_seed)]
    return cells


def groups_of(found: dict[str, Reports]) -> NDArray[np.int64]:
    """``(queries,)`` which of them share right images."""
    return np.array(next(iter(found["base"].values())).queries["groups"], np.int64)


def span(changes: Values) -> str:
    """From the smallest to the largest change of a seed; a dash for one seed alone."""
    return f"{changes.min():+.1f} to {changes.max():+.1f}" if len(changes) > 1 else "–"


def rerank_lines(study: Study, found: dict[str, Reports]) -> list[str]:
    """SuperGlobal's reranker on the base, one switch at a time."""
    base = found["base"]
    grouped = groups_of(found)
    first, released = "global", f"global+{SUPERGLOBAL}"
    pairs = [(f"{SUPERGLOBAL} against the first stage", first, released)]
    if RANSAC in next(iter(base.values())).queries["ap"]:
        pairs.append((f"{SUPERGLOBAL} against {study.ransac}", RANSAC, released))
    pairs += [(f"{kind} against m=100", released, f"global+{kind}") for kind in KINDS]
    both = [[values(base, name, study.protocol) for name in pair[1:]] for pair in pairs]
    changes = [compare(one.mean(axis=0), other.mean(axis=0), grouped) for one, other in both]
    lines = [
        "| reranker | mAP | to mAP | change | 95 % interval | p | p corrected | seeds move it |",
        "|---|" + "---:|" * 7,
    ]
    for (what, *_), (one, other), change, p in zip(pairs, both, changes, holm([c.p for c in changes]), strict=True):
        by_seed = np.nanmean(other - one, axis=1)
        cells = [what, fixed(float(np.nanmean(one))), fixed(float(np.nanmean(other))),
                 *change_cells(vars(change) | {"p_corrected": p}),
                 span(by_seed)]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def seconds(study: Study, output: Path, key: str) -> str:
    """Of the training, in the mean of the seeds; a dash where a row only extracts."""
    if key != study.rows[key].training:
        return "–"
    found = [json.loads(place.read_text(encoding="utf-8")) for place in output.glob(f"*/training_{key}/seconds.json")]
    return fixed(sum(found) / len(found)).partition(".")[0] if found else "–"

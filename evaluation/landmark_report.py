"""The report of a GLDv2 challenge: its rows, and what they reach query by query, as that of other benchmarks.

The queries are those of the part ``public``, then those of ``private``; under the protocol of one part, those of the
other have no value.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.benchmarks.gldv2_files import RecognitionSolution, Solution
from evaluation.benchmarks.protocols import Truth
from evaluation.landmark_parts import Part
from evaluation.report.model import JsonObject, Report, Row
from evaluation.run.versions import versions
from evaluation.statistics.clusters import groups
from evaluation.statistics.summary import trusted

PARTS = ("public", "private")
Costs = tuple[dict[str, float], dict[str, float]]  # milliseconds per query, bytes per image


def truths_of(solution: Solution) -> list[Truth]:
    """Of each query the classes or relevant images, numbered, by which queries are clustered."""
    rights = [right for part in PARTS for right in getattr(solution, part).values()]
    if isinstance(solution, RecognitionSolution):
        rows = [np.unique(np.array(right, np.int64)) for right in rights]
        _, numbers = np.unique(np.concatenate([*rows, np.zeros(0, np.int64)]), return_inverse=True)
        rows = np.split(numbers, np.cumsum([len(row) for row in rows])[:-1]) if rows else []
    else:
        known: dict[str, int] = {}
        rows = [np.unique([known.setdefault(name, len(known)) for name in right]).astype(np.int64) for right in rights]
    return [Truth(row, np.zeros(0, np.int64)) for row in rows]


def make(
    benchmark: str,
    solution: Solution,
    scored: Mapping[str, Mapping[str, Part]],
    costs: Mapping[str, Costs],
    *,
    settings: JsonObject,
    skipped: Mapping[str, Sequence[Any]],
) -> Report:
    """The report.

    Args:
      benchmark: its name.
      solution: what the images show.
      scored: row, then part, to what was reached there.
      costs: of each row; empty where unknown.
      settings: what is recorded.
      skipped: images that could not be read, by role.

    Returns:
      The report.
    """
    truths = truths_of(solution)
    queries: JsonObject = {
        "names": [name for part in PARTS for name in getattr(solution, part)],
        "groups": groups(truths).tolist(),
        "ap": {row: _placed(solution, {p: part.values for p, part in parts.items()}) for row, parts in scored.items()},
    }
    some = next(iter(next(iter(scored.values())).values()))
    if some.places is not None:
        queries["places"] = {
            row: _placed(solution, {p: part.places for p, part in parts.items()}) for row, parts in scored.items()
        }
    hits = {
        name: {
            row: _placed(solution, {p: part.hits[name] for p, part in parts.items()}) for row, parts in scored.items()
        }
        for name in some.hits
    }
    queries |= {"hits": hits} if hits else {}
    rows = [Row(row, {p: part.metrics for p, part in parts.items()}, *costs[row]) for row, parts in scored.items()]
    return Report(
        benchmark,
        rows,
        settings,
        versions(),
        queries,
        skipped={role: list(images) for role, images in skipped.items()},
        statistics=trusted(queries, next(iter(some.metrics))),
    )


def _placed(solution: Solution, values: Mapping[str, Any]) -> dict[str, list[float]]:
    """``{part: [value of each query of all parts]}``; NaN for those of other parts."""
    sizes = {part: len(getattr(solution, part)) for part in PARTS}
    return {
        part: np.concatenate(
            [found if other == part else np.full(size, np.nan) for other, size in sizes.items()]
        ).tolist()
        for part, found in values.items()
    }

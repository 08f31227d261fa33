"""What answers to a GLDv2 challenge reach on a part of its images, all together and query by query."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluation.metrics.gldv2 import (
    MAX_PREDICTIONS,
    Prediction,
    Retrieved,
    Solution,
    Values,
    average_precisions,
    first_positions,
    gap_gains,
    mean_of_valued,
    mean_precisions,
    top1_hits,
)

KS = (1, 5, 10, 100)


@dataclass(frozen=True, eq=False)
class Part:
    """Scores of one part of the images, in the order of its solution; percent.

    Attributes:
      metrics: those of the part, the first measure first.
      values: ``(Q,)`` what the first measure is the mean of; NaN has no part in it.
      places: ``(Q,)`` of a global average precision, see :class:`evaluation.statistics.gap.Pooled`; None of a mean.
      hits: of the other measures that are means, ``(Q,)`` likewise.
    """

    metrics: dict[str, float]
    values: Values
    places: Values | None = None
    hits: dict[str, Values] = field(default_factory=dict)


def recognition(answers: Mapping[str, Prediction], solution: Solution, ignore_non_landmarks: bool) -> Part:
    """``GAP`` and ``top-1``; see :func:`evaluation.metrics.gldv2.gap_gains`."""
    gains, places = gap_gains(answers, solution, ignore_non_landmarks)
    right = top1_hits(answers, solution)
    metrics = {name: 100 * mean_of_valued(values) for name, values in (("GAP", gains), ("top-1", right))}
    return Part(metrics, 100 * gains, places, {"top-1": 100 * right})


def retrieval(answers: Retrieved, solution: Solution) -> Part:
    """``mAP@100`` and ``mP@k``, and mean and median place of the first relevant image."""
    found, precisions = average_precisions(answers, solution), mean_precisions(answers, solution)
    mean, median = first_positions(answers, solution)
    metrics = {
        f"mAP@{MAX_PREDICTIONS}": 100 * mean_of_valued(found),
        **{f"mP@{k}": 100 * float(precisions[k - 1]) for k in KS},
        "mean position": mean,
        "median position": median,
    }
    return Part(metrics, 100 * found)

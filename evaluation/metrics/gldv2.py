"""Quality of landmark recognition and retrieval, as scored on the Google Landmarks Dataset v2 (arXiv 2004.01804).

Classes, ids of query images and ids of index images are whatever the files hold; a query that is missing among the
predictions counts as one without an answer. Every value is a fraction.
"""

import statistics
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics.metric import Metric, Values

MAX_PREDICTIONS = 100
Solution = Mapping[str, Collection[Hashable]]
Retrieved = Mapping[str, Sequence[Hashable]]
KS = (1, 5, 10, 100)


class Prediction(NamedTuple):
    """The answer of a recogniser for one image.

    Attributes:
      landmark: the class.
      score: its confidence; comparable between images.
    """

    landmark: int
    score: float


def recognition(
    predictions: Mapping[str, Prediction], solution: Solution, ignore_non_landmarks: bool = False
) -> dict[str, Metric]:
    """``GAP`` and ``top-1`` in percent; see :func:`gap_gains`."""
    gains, places = gap_gains(predictions, solution, ignore_non_landmarks)
    right = top1_hits(predictions, solution)
    return {
        "GAP": Metric(100 * mean_of_valued(gains), 100 * gains, places),
        "top-1": Metric(100 * mean_of_valued(right), 100 * right, compared=True),
    }


def retrieval(predictions: Retrieved, solution: Solution) -> dict[str, Metric]:
    """``mAP@100`` and ``mP@k`` in percent, and mean and median position of the first relevant image."""
    ap, precisions = average_precisions(predictions, solution), mean_precisions(predictions, solution)
    mean, median = first_positions(predictions, solution)
    return {
        f"mAP@{MAX_PREDICTIONS}": Metric(100 * mean_of_valued(ap), 100 * ap),
        **{f"mP@{k}": Metric(100 * float(precisions[k - 1])) for k in KS},
        "mean position": Metric(mean),
        "median position": Metric(median),
    }


def gap_gains(
    predictions: Mapping[str, Prediction], solution: Solution, ignore_non_landmarks: bool = False
) -> tuple[Values, Values]:
    """What each image adds to the global average precision, "muAP", and where its answer stands in the list.

    All predictions stand in one list by score: ``sum_i precision(i) * correct(i) / M``, ``M`` being the number of
    images that show a landmark (arXiv 2004.01804, section 4.1). Equal scores are ordered by image id, then by class,
    both increasing, as released.

    Args:
      predictions: by image id; an image may be missing.
      solution: by image id the right classes; none where the image shows no landmark.
      ignore_non_landmarks: leave images without a landmark out, so that answering there costs nothing.

    Returns:
      ``(Q,)``, in the order of the solution: the precision of the list down to the image's answer where that is right,
      0 where it is wrong or missing, NaN where the image shows no landmark; their mean, see :func:`mean_of_valued`, is
      the global average precision. ``(Q,)`` the 1-based place of its answer, NaN without one in the list.

    Two images with landmarks; the answer with the highest score is wrong, the second right:

    >>> gains, places = gap_gains({"a": Prediction(1, 0.9), "b": Prediction(2, 0.5)}, {"a": [3], "b": [2]})
    >>> gains.tolist(), places.tolist(), mean_of_valued(gains)
    ([0.0, 0.5], [1.0, 2.0], 0.25)
    """
    judged = [
        (-answer.score, name, answer.landmark)
        for name, answer in predictions.items()
        if not ignore_non_landmarks or solution.get(name)
    ]
    row = {name: q for q, name in enumerate(solution)}
    gains = np.array([0.0 if solution[name] else np.nan for name in solution])
    places, right = np.full(len(row), np.nan), 0
    for rank, (_, name, landmark) in enumerate(sorted(judged), start=1):
        if name in row:
            places[row[name]] = rank
        if landmark in solution.get(name, ()):
            right += 1
            gains[row[name]] = right / rank
    return gains, places


def mean_of_valued(values: Values) -> float:
    """Mean of those that have a value; 0 where none has."""
    shown = values[~np.isnan(values)]
    return float(shown.mean()) if len(shown) else 0.0


def top1_hits(predictions: Mapping[str, Prediction], solution: Solution) -> Values:
    """``(Q,)``, in the order of the solution: 1 where the answer is a right class, else 0; NaN without landmark."""
    return np.array(
        [
            float(name in predictions and predictions[name].landmark in right) if right else np.nan
            for name, right in solution.items()
        ]
    )


def hits(retrieved: Sequence[Hashable], relevant: Collection[Hashable], length: int) -> NDArray[np.bool_]:
    """``(length,)``: at which places of a list a relevant image appears for the first time.

    A repeated image counts once, but takes up its place; places beyond the list's end are misses.
    """
    wanted, found = set(relevant), np.zeros(length, bool)
    for place, name in enumerate(retrieved[:length]):
        if name in wanted:
            wanted.remove(name)
            found[place] = True
    return found


def average_precisions(predictions: Retrieved, solution: Solution, max_predictions: int = MAX_PREDICTIONS) -> Values:
    """``sum_i precision(i) * relevant(i) / min(number relevant, 100)`` of each query, whose mean is mAP@100.

    This finite sum is that of the dataset (section 4.2), not the trapezoids of the revisited benchmarks. An id that a
    solution names twice counts twice among the relevant ones and is found once, as released.

    Args:
      predictions: by query id the ids of index images, best first; a query may be missing, and counts as 0.
      solution: by query id the relevant ids.
      max_predictions: how many of a list count.

    Returns:
      ``(Q,)``, in the order of the solution.

    >>> average_precisions({"q": ["x", "a", "b"]}, {"q": ["a", "b"]}).tolist()  # (1/2 + 2/3) / 2
    [0.5833333333333333]
    """
    found = _all_hits(predictions, solution, max_predictions)
    places = np.arange(1, max_predictions + 1)
    gains = np.where(found, np.cumsum(found, axis=1) / places, 0.0).sum(axis=1)
    limits = np.array([min(len(names), max_predictions) for names in solution.values()])
    return np.asarray(gains / np.maximum(limits, 1), np.float64)


def mean_precisions(
    predictions: Retrieved, solution: Solution, max_predictions: int = MAX_PREDICTIONS
) -> NDArray[np.float64]:
    """``(max_predictions,)`` mean over the queries of the precision among the first 1, 2, ... images.

    Beyond the end of a list nothing relevant is found any more, so that its precision goes on falling.
    """
    found = _all_hits(predictions, solution, max_predictions)
    precisions = np.cumsum(found, axis=1) / np.arange(1, max_predictions + 1)
    return precisions.sum(axis=0) / max(len(found), 1)


def first_positions(
    predictions: Retrieved, solution: Solution, max_predictions: int = MAX_PREDICTIONS
) -> tuple[float, float]:
    """Mean and median over the queries of the 1-based place of the first relevant image.

    A query without one among the first ``max_predictions`` counts as ``max_predictions + 1``.
    """
    found = _all_hits(predictions, solution, max_predictions)
    places = [int(row.argmax()) + 1 if row.any() else max_predictions + 1 for row in found]
    return (statistics.fmean(places), float(statistics.median(places))) if places else (float("nan"), float("nan"))


def _all_hits(predictions: Retrieved, solution: Solution, length: int) -> NDArray[np.bool_]:
    """``(Q, length)``, a row for each query of the solution, in its order."""
    rows = [hits(predictions.get(query, ()), relevant, length) for query, relevant in solution.items()]
    return np.array(rows, bool).reshape(len(rows), length)

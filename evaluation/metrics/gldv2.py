"""Metrics of landmark recognition and retrieval on the Google Landmarks Dataset v2 (arXiv 2004.01804).

Classes and ids are any values of the files. Every value is a fraction, unless the docstring says percent.
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
    """The predicted class of an image.

    Attributes:
      landmark: the class.
      score: confidence of the prediction, comparable between images.
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
    """The contribution of each image to the global average precision, "muAP", and the place of its prediction.

    All predictions are sorted into one list by score: ``sum_i precision(i) * correct(i) / M``, where ``M`` is the
    number of images that show a landmark (arXiv 2004.01804, section 4.1). Equal scores are ordered by image id, then by
    class, both increasing, as released.

    Args:
      predictions: predictions by image id; images may be missing.
      solution: right classes by image id; empty where the image shows no landmark.
      ignore_non_landmarks: leave out images without a landmark, so that predictions for these images cost nothing.

    Returns:
      ``(Q,)``, in the order of the solution: the precision of the list down to the image's prediction where the
      prediction is right, 0 where it is wrong or missing, NaN where the image shows no landmark; the mean, see
      :func:`mean_of_valued`, is the global average precision. ``(Q,)`` the 1-based place of the image's prediction, NaN
      for an image without a place in the list.

    Two images with landmarks; the prediction with the highest score is wrong, the second right:

    >>> gains, places = gap_gains({"a": Prediction(1, 0.9), "b": Prediction(2, 0.5)}, {"a": [3], "b": [2]})
    >>> gains.tolist(), places.tolist(), mean_of_valued(gains)
    ([0.0, 0.5], [1.0, 2.0], 0.25)
    """
    judged = [
        (-prediction.score, name, prediction.landmark)
        for name, prediction in predictions.items()
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
    """Mean of the values that are not NaN; 0 without such values."""
    shown = values[~np.isnan(values)]
    return float(shown.mean()) if len(shown) else 0.0


def top1_hits(predictions: Mapping[str, Prediction], solution: Solution) -> Values:
    """``(Q,)``, in the order of the solution: 1 where the prediction is a right class, else 0; NaN without landmark."""
    return np.array(
        [
            float(name in predictions and predictions[name].landmark in right) if right else np.nan
            for name, right in solution.items()
        ]
    )


def hits(retrieved: Sequence[Hashable], relevant: Collection[Hashable], length: int) -> NDArray[np.bool_]:
    """``(length,)``: whether a relevant image appears for the first time at a place of the list.

    A repeated image counts once, but occupies a place; places beyond the list's end are misses.
    """
    missing, is_hit = set(relevant), np.zeros(length, bool)
    for place, name in enumerate(retrieved[:length]):
        if name in missing:
            missing.remove(name)
            is_hit[place] = True
    return is_hit


def average_precisions(predictions: Retrieved, solution: Solution, max_predictions: int = MAX_PREDICTIONS) -> Values:
    """``sum_i precision(i) * relevant(i) / min(number relevant, 100)`` of each query; the mean is mAP@100.

    This is the finite sum of the dataset (section 4.2), not the trapezoids of the revisited benchmarks. A relevant id
    that a solution repeats counts twice as relevant and once as a hit, as released.

    Args:
      predictions: ids of index images by query id, best first; a missing query counts as 0.
      solution: relevant ids by query id.
      max_predictions: number of scored predictions of a query.

    Returns:
      ``(Q,)``, in the order of the solution.

    >>> average_precisions({"q": ["x", "a", "b"]}, {"q": ["a", "b"]}).tolist()  # (1/2 + 2/3) / 2
    [0.5833333333333333]
    """
    is_hit = _all_hits(predictions, solution, max_predictions)
    places = np.arange(1, max_predictions + 1)
    gains = np.where(is_hit, np.cumsum(is_hit, axis=1) / places, 0.0).sum(axis=1)
    limits = np.array([min(len(names), max_predictions) for names in solution.values()])
    return np.asarray(gains / np.maximum(limits, 1), np.float64)


def mean_precisions(
    predictions: Retrieved, solution: Solution, max_predictions: int = MAX_PREDICTIONS
) -> NDArray[np.float64]:
    """``(max_predictions,)`` mean over the queries of the precision among the first 1, 2, ... images.

    Places beyond the end of a list are misses, so that the precision falls there.
    """
    is_hit = _all_hits(predictions, solution, max_predictions)
    precisions = np.cumsum(is_hit, axis=1) / np.arange(1, max_predictions + 1)
    return precisions.sum(axis=0) / max(len(is_hit), 1)


def first_positions(
    predictions: Retrieved, solution: Solution, max_predictions: int = MAX_PREDICTIONS
) -> tuple[float, float]:
    """Mean and median over the queries of the 1-based place of the first relevant image.

    A query without a relevant image among the first ``max_predictions`` counts as ``max_predictions + 1``.
    """
    is_hit = _all_hits(predictions, solution, max_predictions)
    places = [int(row.argmax()) + 1 if row.any() else max_predictions + 1 for row in is_hit]
    return (statistics.fmean(places), float(statistics.median(places))) if places else (float("nan"), float("nan"))


def _all_hits(predictions: Retrieved, solution: Solution, length: int) -> NDArray[np.bool_]:
    """``(Q, length)`` hits, a row for each query in the order of the solution."""
    rows = [hits(predictions.get(query, ()), relevant, length) for query, relevant in solution.items()]
    return np.array(rows, bool).reshape(len(rows), length)

"""Selection of the local features of an image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def top_by_score(
    scores: NDArray[np.floating], max_feature_num: int, score_threshold: float | None = None
) -> NDArray[np.int64]:
    """Rows of the highest scores, over all scales of an image at once.

    Source: the released extractor with its non-maximum suppression at IoU 1, which keeps all.

    Args:
      scores: ``(N,)``, scales concatenated in their order.
      max_feature_num: largest number of rows.
      score_threshold: least score; None for no threshold. Attention has no fixed range: a threshold belongs to one
        trained model, and one that is too high leaves no row.

    Returns:
      Row numbers by decreasing score; of equal scores the lower row comes first.

    >>> top_by_score(np.array([1.0, 3.0, 3.0, 2.0]), 3).tolist()
    [1, 2, 3]
    """
    order = np.argsort(-scores, kind="stable")
    if score_threshold is not None:
        order = order[scores[order] >= score_threshold]
    return order[:max_feature_num]


def suppressed(
    rows: NDArray[np.int64],
    centres: NDArray[np.floating],
    scales: NDArray[np.floating],
    *,
    iou: float,
    max_feature_num: int,
    receptive_field: float,
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: drops a box that overlaps a better one by more than ``iou``.

    A box has sides of ``receptive_field - 1`` pixels times the scale, as released, around the keypoint.

    Args:
      rows: of ``centres``, by decreasing score.
      centres: ``(N, 2)`` ``(x, y)`` in pixels of the image at scale 1.
      scales: ``(N,)`` ``1 / image scale``.
      iou: area of the intersection over that of the union, 0 to 1.
      max_feature_num: largest number of remaining rows.
      receptive_field: side in pixels of the window that a cell of the local feature map sees.

    Returns:
      The remaining rows in their order.

    >>> limits = {"iou": 0.5, "max_feature_num": 9, "receptive_field": 291}
    >>> suppressed(np.array([2, 0, 1]), np.array([[0.0, 0], [400, 0], [3, 0]]), np.ones(3), **limits).tolist()
    [2, 1]
    """
    remaining: list[int] = []
    halves = (receptive_field - 1) / 2 * scales
    while len(rows) and len(remaining) < max_feature_num:
        best, rows = rows[0], rows[1:]
        remaining.append(int(best))
        low = np.maximum(centres[rows] - halves[rows, None], centres[best] - halves[best])
        high = np.minimum(centres[rows] + halves[rows, None], centres[best] + halves[best])
        shared = np.maximum(high - low, 0).prod(1)
        union = 4 * (halves[rows] ** 2 + halves[best] ** 2) - shared
        rows = rows[shared <= iou * union]
    return np.array(remaining, np.int64)


def at_cells(maps: Sequence[NDArray[np.floating]], rows: NDArray[np.int64]) -> NDArray[np.floating]:
    """The values of maps in some cells, without a copy of whole maps whose memory has another order.

    Args:
      maps: ``(h, w, d)`` each.
      rows: numbers of cells, row by row, one map after the other.

    Returns:
      ``(len(rows), d)``.

    >>> at_cells([np.zeros((2, 3, 1), int), np.arange(4).reshape(2, 2, 1)], np.array([8, 0, 7])).ravel().tolist()
    [2, 0, 1]
    """
    values = np.empty((len(rows), maps[0].shape[-1]), maps[0].dtype)
    start = 0
    for one in maps:
        height, width = one.shape[:2]
        own = (rows >= start) & (rows < start + height * width)
        values[own] = one[np.divmod(rows[own] - start, width)]
        start += height * width
    return values

"""Nearest neighbours of binary descriptors by Hamming distance, which FAISS counts."""

import numpy as np
from numpy.typing import NDArray

from extraction.features import Bits, Floats
from matching.threads import faiss_threads

Rows = NDArray[np.int64]


def nearest(
    query: Bits, index: Bits, threshold: float = 1.0, ratio: float | None = None, mutual: bool = False
) -> tuple[Rows, Floats]:
    """For each query descriptor the nearest index descriptor, in memory that does not grow with their product.

    The distance estimates the Euclidean one of the unit vectors whose signs the bits are: where ``h`` of ``b`` signs
    differ, the angle is near ``pi h / b`` (equal on average over random rotations), and the distance
    ``2 sin(pi h / (2 b))``. So thresholds mean the same as for floats; a threshold of 1 is a third of the bits.

    Args:
      query: ``(N, b / 8)`` uint8, packed bits; padding counts as bits that agree.
      index: ``(M, b / 8)`` uint8.
      threshold: a match must be nearer than this distance, strictly.
      ratio: a match must also be nearer than ``ratio`` times the second nearest, strictly; None for no such test.
      mutual: the query descriptor must in turn be the nearest to the index descriptor.

    Returns:
      ``(P, 2)`` rows ``(query, index)``, query rows increasing; ``(P,)`` their distances. Of equally near
      descriptors the one of lowest row is taken.
    """
    if not len(query) or not len(index):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    with faiss_threads(1):  # pairs of images are matched in parallel already
        wanted = 1 if ratio is None else min(2, len(index))
        counts, rows = _search(query, index, wanted)
        backward = _search(index, query, 1)[1][:, 0] if mutual else None
    distances, best = _distance(counts, 8 * query.shape[1]), rows[:, 0]
    keep = distances[:, 0] < threshold
    if ratio is not None and wanted > 1:
        keep &= distances[:, 0] < ratio * distances[:, 1]
    if backward is not None:
        keep &= backward[best] == np.arange(len(query))
    rows_of_query = np.flatnonzero(keep)
    return np.stack([rows_of_query, best[rows_of_query]], axis=1), distances[rows_of_query, 0]


def _distance(counts: NDArray[np.integer], bits: int) -> Floats:
    return (2 * np.sin(np.pi * counts / (2 * bits))).astype(np.float32)


def _search(query: Bits, index: Bits, k: int) -> tuple[NDArray[np.integer], Rows]:
    """``(N, k)`` numbers of differing bits, the least first, and the rows that they belong to."""
    import faiss

    query, index = (np.ascontiguousarray(codes) for codes in (query, index))
    return faiss.knn_hamming(query, index, k, variant="hc")

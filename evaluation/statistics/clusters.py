"""Clusters of dependent queries: five photos of one landmark are not five independent queries."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from evaluation.metrics.truth import Truth

COMMON = 0.1  # smallest share of common right images that joins two queries
Groups = NDArray[np.int64]


def groups(truths: Sequence[Truth]) -> Groups:
    """``(Q,)`` group of each query: queries that share right images are in one group.

    Two queries are joined when at least a tenth of the right images of either are right for both (a few images show two
    landmarks). A query without right images is a group of its own.

    >>> from evaluation.metrics.truth import Truth
    >>> def sees(*rows): return Truth(np.array(rows, np.int64), np.zeros(0, np.int64))
    >>> groups([sees(0, 1), sees(2), sees(1, 2), sees(3), sees(), sees()]).tolist()
    [0, 0, 0, 1, 2, 3]
    """
    sets: dict[bytes, NDArray[np.int64]] = {}
    keys = [truth.positives.tobytes() or f"none {q}".encode() for q, truth in enumerate(truths)]
    for key, truth in zip(keys, truths):
        sets.setdefault(key, truth.positives)
    place = {key: number for number, key in enumerate(sets)}
    return _joined(list(sets.values()))[[place[key] for key in keys]] if sets else np.zeros(0, np.int64)


def _joined(sets: Sequence[NDArray[np.int64]]) -> Groups:
    """``(N,)`` group of each of ``N`` different sets."""
    sizes = np.array([len(rows) for rows in sets], np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.concatenate(sets)
    membership = csr_array((np.ones(len(columns)), columns, starts), shape=(len(sets), columns.max(initial=-1) + 1))
    common = (membership @ membership.T).tocoo()
    either = sizes[common.row] + sizes[common.col] - common.data
    close = common.data >= COMMON * either
    shape = (len(sets), len(sets))
    joined = csr_array((common.data[close], (common.row[close], common.col[close])), shape=shape)
    return np.asarray(connected_components(joined, directed=False)[1], np.int64)

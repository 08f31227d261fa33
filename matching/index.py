"""The first stage: every database image by similarity of its global descriptor, exactly."""

import numpy as np
from numpy.typing import NDArray

from matching.ranking import Ranking
from matching.source import check_dimensions
from protos.errors import InputError

QUERY_ROWS = 256
BLOCK_BYTES = 1 << 26  # of database rows converted to float32, and of similarities, each

Descriptors = NDArray[np.floating]
Scored = tuple[NDArray[np.float32], NDArray[np.int64]]


def search(queries: Descriptors, database: Descriptors, top_k: int | None = None) -> Ranking:
    """Ranks database rows by inner product with each query, in float32.

    Exact. Queries and database are read in blocks, so what is held beyond the answer does not grow with either, and
    the database may be memory-mapped.

    Args:
      queries: ``(Q, D)``, rows of unit norm (the scores then are cosines); float16 or wider.
      database: ``(N, D)``, likewise.
      top_k: how many to keep for each query; None for all, as are more than N.

    Returns:
      ``(Q, min(top_k, N))``; of equal scores the lower row comes first.

    Raises:
      InputError: shapes do not fit, the database is empty, ``top_k`` is below 1, or values are not finite.
    """
    check_dimensions(queries, database)
    if not len(database):
        raise InputError("The database holds no images.")
    if top_k is not None and (not isinstance(top_k, int | np.integer) or top_k < 1):
        raise InputError(f"top_k expects 1 or more, or None for all. Received: {top_k!r}")
    k = len(database) if top_k is None else min(int(top_k), len(database))
    indices = np.zeros((len(queries), k), np.int64)
    scores = np.zeros((len(queries), k), np.float32)
    for start in range(0, len(queries), QUERY_ROWS):
        rows = slice(start, start + QUERY_ROWS)
        for q, (best, where) in enumerate(_search(_float32(queries[rows]), database, k), start):
            scores[q], indices[q] = best, where
    return Ranking(indices, scores)


def unranked(queries: int, database: int) -> Ranking:
    """The ranking of images without global descriptors, for a reranker to order: every row, each of score 0."""
    indices = np.tile(np.arange(database, dtype=np.int64), (queries, 1))
    return Ranking(indices, np.zeros((queries, database), np.float32))


def _search(queries: NDArray[np.float32], database: Descriptors, k: int) -> list[Scored]:
    """Best ``k`` rows of the database for each of a few queries."""
    best: list[Scored] = [(np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(queries)
    step = max(1, BLOCK_BYTES // (4 * max(database.shape[1], len(queries))))
    for start in range(0, len(database), step):
        block = _float32(database[start : start + step])
        similarities = queries @ block.T
        if not np.isfinite(similarities).all():
            raise InputError(
                "The global descriptors hold values that are not finite (in the queries, or in database rows "
                f"{start} to {start + len(block) - 1})."
            )
        best = [_merge(kept, row, start, k) for kept, row in zip(best, similarities)]
    return best


def _merge(kept: Scored, row: NDArray[np.float32], start: int, k: int) -> Scored:
    """The best ``k`` of those kept and of a block's row, best first, lower indices first among equals.

    Indices kept are all below those of the block, so a stable sort keeps equals in order of their index.
    """
    scores, indices = kept
    if len(scores) == k:
        new = np.flatnonzero(row > scores[-1])  # an equal one comes too late
    elif len(row) > k:
        new = np.flatnonzero(row >= np.partition(row, len(row) - k)[len(row) - k])
    else:
        new = np.arange(len(row))
    if not len(new):
        return kept
    scores, indices = np.concatenate([scores, row[new]]), np.concatenate([indices, new + start])
    order = np.argsort(-scores, kind="stable")[:k]
    return scores[order], indices[order]


def _float32(rows: Descriptors) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows, np.float32)

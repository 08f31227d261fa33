"""What rerankers by global descriptors share: candidates are read, scored in parallel, and put in order."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf

import numpy as np
from numpy.typing import NDArray

from extraction.features import Floats
from matching.heads import Head, with_heads
from matching.ranking import Ranking
from matching.source import Source, check_dimensions
from matching.threads import single_threaded
from protos.errors import InputError

BUDGET = 128 << 20  # bytes of the matrices of all queries in work at once
MATRICES = 3  # (M, M) arrays that scoring one query holds at once

Rows = NDArray[np.int64]
Score = Callable[[Floats, Floats], Floats]  # query (D,), candidates (M, D) -> scores (M,)


def check_count(name: str, argument: str, value: object, least: int = 1) -> None:
    """Checks a number of images.

    Raises:
      InputError: it is not a whole number of at least ``least``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} expects {argument} of {least} or more. Received: {value!r}")


def check_number(name: str, argument: str, value: object, most: float = inf) -> None:
    """Checks a weight or an exponent.

    Raises:
      InputError: it is not a finite number from 0 to ``most``.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= most or value == inf:
        what = "of 0 or more" if most == inf else f"from 0 to {most:g}"
        raise InputError(f"{name} expects {argument} {what}. Received: {value!r}")


def check_finite(name: str, values: Floats) -> None:
    """Checks what was computed from global descriptors; a product is finite only if both its factors are.

    Raises:
      InputError: something is not finite.
    """
    if not np.isfinite(values).all():
        raise InputError(f"{name} met global descriptors that hold values which are not finite.")


def neighbours(similarities: Floats, count: int) -> Rows:
    """The largest entries of each row.

    Args:
      similarities: ``(M, M)``.
      count: how many; at most ``M``.

    Returns:
      ``(M, count)`` columns, ascending. Which of several equal entries at the border are taken depends on the values
      alone.
    """
    if not count:
        return np.zeros((len(similarities), 0), np.int64)
    columns = np.argpartition(similarities, similarities.shape[1] - count, axis=1)[:, similarities.shape[1] - count :]
    columns.sort(axis=1)
    return columns


def reorder(
    name: str, queries: Source, database: Source, ranking: Ranking, *, top_k: int, score: Score, threads: int
) -> Ranking:
    """Orders the head of each row by a score of its candidates.

    Queries are worked on in parallel, each by one thread: as many at once as there are threads, and as fit in
    :data:`BUDGET` bytes, but at least one. Equal scores keep the order they had.

    Args:
      name: of the reranker, for messages and threads.
      queries: their global descriptors.
      database: its global descriptors, of which only the candidates' are read.
      ranking: rows of the database for each query.
      top_k: length of the head.
      score: is given the query ``(D,)`` and its candidates ``(M, D)``, contiguous float32, ``M`` of 1 or more; returns
        ``(M,)`` float32.
      threads: at most.

    Returns:
      The same images in each row, in new order, the head with its scores.

    Raises:
      InputError: the descriptors differ in dimension, are missing, or are not finite.
    """
    check_dimensions(queries.global_descriptors, database.global_descriptors)
    longest = min(top_k, ranking.indices.shape[1])
    need = 4 * longest * (database.global_descriptors.shape[1] + MATRICES * longest)
    threads = max(1, min(threads, BUDGET // max(need, 1)))

    def head(q: int) -> Head:
        rows = ranking.row(q)[:top_k]
        if not len(rows):
            return rows, np.zeros(0, np.float32)
        query = np.asarray(queries.global_descriptors[q], np.float32)
        candidates = np.ascontiguousarray(database.global_descriptors[rows], np.float32)
        check_finite(name, candidates @ query)
        scores = np.asarray(score(query, candidates), np.float32)
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]

    with single_threaded(), ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        return with_heads(ranking, list(pool.map(head, range(len(ranking)))))

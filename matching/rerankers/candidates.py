"""What rerankers by global descriptors share: candidates are read, scored in parallel, and put in order."""

from concurrent.futures import ThreadPoolExecutor
from math import inf

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Floats
from matching.ranking import Ranking
from matching.rerankers.top_k import Head, with_heads
from matching.source import Source, check_dimensions, check_ranking
from matching.threads import single_threaded

BUDGET = 128 << 20  # bytes of the matrices of all queries in work at once
MOST = 2**31 - 1  # images
LARGEST = float(np.finfo(np.float32).max)

Rows = NDArray[np.int64]


def check_count(name: str, argument: str, value: object, least: int = 1) -> None:
    """Checks a number of images.

    Raises:
      InputError: it is not a whole number of at least ``least``, and at most 2147483647.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} expects {argument} of {least} or more. Received: {value!r}")
    if value > MOST:
        raise InputError(f"{name} expects {argument} of {MOST} or less. Received: {value!r}")


def check_number(name: str, argument: str, value: object, most: float = inf) -> None:
    """Checks a weight or an exponent.

    Raises:
      InputError: it is not a finite number from 0 to ``most``.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= min(most, LARGEST):
        what = "of 0 or more (float32)" if most == inf else f"from 0 to {most:g}"
        raise InputError(f"{name} expects {argument} {what}. Received: {value!r}")


def check_finite(name: str, values: Floats) -> None:
    """Checks what was computed from global descriptors; a product is finite only if both its factors are.

    Raises:
      InputError: something is not finite.
    """
    if not np.isfinite(values).all():
        raise InputError(f"{name} met global descriptors that hold values which are not finite, or too large.")


def check_products(name: str, query: Floats, candidates: Floats, products: Floats) -> None:
    """Checks global descriptors by their inner products: that of a zero descriptor is 0 with any other.

    Args:
      name: of the reranker, for the message.
      query: ``(D,)``.
      candidates: ``(M, D)``; only rows whose product is 0 are looked at.
      products: ``(M,)`` of the two.

    Raises:
      InputError: something is not finite, or a descriptor is zero.
    """
    check_finite(name, products)
    if not query.any() or not candidates[products == 0].any(axis=1).all():
        raise InputError(f"{name} met a global descriptor that is zero, which is like no image.")


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


class ByCandidates:
    """What rerankers have in common that score the candidates of one query by global descriptors alone.

    Queries are worked on in parallel, each by one thread: as many at once as there are threads, and as fit in
    :data:`BUDGET` bytes, but at least one. Equal scores keep the order they had.

    Attributes:
      name: of the reranker, for messages and threads.
      head: how many candidates of each query are reranked.
      threads: at most.
      matrices: float32 arrays ``(M, M)`` that scoring one query is as large as.
    """

    name: str
    head: int
    threads: int
    matrices = 3

    def scores(self, query: Floats, candidates: Floats) -> Floats:
        """Scores the candidates of one query.

        Args:
          query: ``(D,)`` float32, not zero.
          candidates: ``(M, D)`` contiguous float32, ``M`` of 1 or more, no row zero.

        Returns:
          ``(M,)`` float32.
        """
        raise NotImplementedError

    def __call__(self, queries: Source, database: Source, ranking: Ranking) -> Ranking:
        """Reranks the first ``head`` of each row.

        Args:
          queries: their global descriptors.
          database: its global descriptors, of which only the candidates' are read.
          ranking: rows of the database for each query.

        Returns:
          The same images in each row, in new order, the head with its scores.

        Raises:
          InputError: the descriptors differ in dimension, are missing, zero or not finite, or the ranking is of other
            queries or another database.
        """
        check_dimensions(queries.global_descriptors, database.global_descriptors)
        check_ranking(queries, database, ranking, self.head)
        longest = min(self.head, ranking.indices.shape[1])
        need = 4 * longest * (database.global_descriptors.shape[1] + self.matrices * longest)
        threads = max(1, min(self.threads, BUDGET // max(need, 1)))

        def head(q: int) -> Head:
            rows = ranking.row(q)[: self.head]
            if not len(rows):
                return rows, np.zeros(0, np.float32)
            query = np.asarray(queries.global_descriptors[q], np.float32)
            candidates = np.ascontiguousarray(database.global_descriptors[rows], np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                check_products(self.name, query, candidates, candidates @ query)
                scores = np.asarray(self.scores(query, candidates), np.float32)
            check_finite(self.name, scores)
            order = np.argsort(-scores, kind="stable")
            return rows[order], scores[order]

        with single_threaded():
            if min(threads, len(ranking)) == 1:  # a thread takes longer to start than one query to score
                return with_heads(ranking, [head(q) for q in range(len(ranking))])
            with ThreadPoolExecutor(threads, thread_name_prefix=self.name) as pool:
                return with_heads(ranking, list(pool.map(head, range(len(ranking)))))

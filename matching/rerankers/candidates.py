"""The base class of rerankers by global descriptors, and checks of these."""

from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Floats
from extraction.formats.base import FeatureSource
from matching.ranking import Ranking
from matching.rerankers.base import Reranker
from matching.source import check_dimensions
from matching.threads import available, single_threaded

BUDGET = 128 << 20  # bytes of the matrices of all queries that are scored at once

Rows = NDArray[np.int64]


def check_finite(name: str, values: Floats) -> None:
    """Checks values computed from global descriptors; a product is finite only if both factors are.

    Raises:
      InputError: a value is not finite.
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
      InputError: a product is not finite, or a descriptor is zero.
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


class GlobalReranker(Reranker):
    """A reranker that scores the candidates of one query by global descriptors alone.

    Queries are worked on in parallel, each by one thread: as many at once as there are threads, and as fit in
    :data:`BUDGET` bytes, but at least one.

    Attributes:
      threads: largest number of threads.
      matrices: float32 arrays ``(M, M)`` that scoring one query is as large as.
    """

    matrices = 3

    def __init__(self, top_k: int, threads: int | None):
        """Sets the number of candidates, and the number of threads, None for one a core.

        Raises:
          InputError: a number is out of range.
        """
        super().__init__(top_k)
        self.threads = available(threads)

    @abstractmethod
    def query_scores(self, query: Floats, candidates: Floats) -> Floats:
        """Scores the candidates of one query.

        Args:
          query: ``(D,)`` float32, not zero.
          candidates: ``(M, D)`` contiguous float32, ``M`` of 1 or more, no row zero.

        Returns:
          ``(M,)`` float32.
        """

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> list[Floats]:
        """Scores the candidates of each query; only their global descriptors are read.

        Raises:
          InputError: the descriptors differ in dimension, are missing, zero or not finite.
        """
        check_dimensions(queries.global_descriptors, database.global_descriptors)
        longest = candidates.indices.shape[1]
        need = 4 * longest * (database.global_descriptors.shape[1] + self.matrices * longest)
        threads = max(1, min(self.threads, BUDGET // max(need, 1)))

        def of_query(q: int) -> Floats:
            rows = candidates.row(q)
            if not len(rows):
                return np.zeros(0, np.float32)
            query = np.asarray(queries.global_descriptors[q], np.float32)
            descriptors = np.ascontiguousarray(database.global_descriptors[rows], np.float32)
            with np.errstate(over="ignore", invalid="ignore"):
                check_products(self.name, query, descriptors, descriptors @ query)
                scores = np.asarray(self.query_scores(query, descriptors), np.float32)
            check_finite(self.name, scores)
            return scores

        with single_threaded():
            if min(threads, len(candidates)) == 1:  # a thread takes longer to start than one query to score
                return [of_query(q) for q in range(len(candidates))]
            with ThreadPoolExecutor(threads, thread_name_prefix=self.name) as pool:
                return list(pool.map(of_query, range(len(candidates))))

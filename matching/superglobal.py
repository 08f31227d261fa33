"""SuperGlobal's reranking, which needs global descriptors only (Shao et al., ICCV 2023, arXiv 2308.06954)."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from extraction.features import Floats
from matching.heads import Head, with_heads
from matching.ranking import Ranking
from matching.source import Source, check_dimensions
from matching.threads import available, single_threaded
from protos.errors import InputError

Rows = NDArray[np.int64]


class SuperGlobal:
    """Reranker ``superglobal``.

    The first ``m`` candidates are refined by their ``k`` nearest neighbours among themselves, the query is expanded
    by the ``k + 1`` refined candidates most similar to it, and the candidates are ordered by the mean of the
    similarities to the query and to the expanded query (released code, MDescAug then RerankwMDA).

    With the candidates' descriptors T and the row-sparse weights W, the refined ones are R = W T. They are never made:
    R q = W (T q). So one query costs the product T T' and little else, and holds T and T T' only.
    """

    def __init__(
        self,
        m: int = 400,
        k: int = 9,
        beta: float = 0.15,
        *,
        expanded_against: str = "refined",
        threads: int | None = None,
    ):
        """Sets the parameters.

        Args:
          m: how many candidates of each query are reranked; fewer where there are fewer.
          k: neighbours that refine a candidate, besides the best one (itself).
          beta: weight of a neighbour, times its similarity; the best has weight 1.
          expanded_against: ``refined`` compares the expanded query with the refined candidates, as the released code
            does; ``original`` with their own descriptors, as the paper is quoted.
          threads: of the pool over queries; None for one a core. The result does not depend on it.

        Raises:
          InputError: one is out of range.
        """
        for name, value, least in (("m", m, 1), ("k", k, 0)):
            if not isinstance(value, int) or value < least:
                raise InputError(f"superglobal expects {name} of {least} or more. Received: {value!r}")
        if not isinstance(beta, int | float) or not 0 <= beta < np.inf:
            raise InputError(f"superglobal expects beta of 0 or more. Received: {beta!r}")
        if expanded_against not in ("refined", "original"):
            raise InputError(
                f"Unknown expanded_against {expanded_against!r} of superglobal; the choices are refined, original."
            )
        self.head = m
        self.k, self.beta = k, beta
        self.expanded_against = expanded_against
        self.threads = available(threads)

    def __call__(self, queries: Source, database: Source, ranking: Ranking) -> Ranking:
        """Reranks the first ``m`` of each row.

        Args:
          queries: their global descriptors.
          database: its global descriptors, of which only the candidates' are read.
          ranking: rows of the database for each query.

        Returns:
          The same images in each row, in new order; the scores of the head are the mean similarities.

        Raises:
          InputError: the descriptors differ in dimension, are missing, or are not finite.
        """
        check_dimensions(queries.global_descriptors, database.global_descriptors)

        def head(q: int) -> Head:
            rows = ranking.row(q)[: self.head]
            return self._head(np.asarray(queries.global_descriptors[q], np.float32), rows, database)

        with single_threaded(), ThreadPoolExecutor(self.threads, thread_name_prefix="superglobal") as pool:
            heads = list(pool.map(head, range(len(ranking))))
        return with_heads(ranking, heads)

    def _head(self, query: Floats, rows: Rows, database: Source) -> Head:
        if not len(rows):
            return rows, np.zeros(0, np.float32)
        candidates = np.ascontiguousarray(database.global_descriptors[rows], np.float32)
        scores = self.scores(query, candidates)
        if not np.isfinite(scores).all():
            raise InputError("superglobal met global descriptors that hold values which are not finite.")
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]

    def scores(self, query: Floats, candidates: Floats) -> Floats:
        """Scores of the candidates of one query.

        Args:
          query: ``(D,)`` float32 of unit norm.
          candidates: ``(M, D)`` float32, rows of unit norm.

        Returns:
          ``(M,)`` float32.
        """
        neighbours, weights = self._neighbours(candidates)
        first = (weights * (candidates @ query)[neighbours]).sum(1)
        nearest = np.argsort(-first, kind="stable")[: self.k + 1]
        mixture = np.zeros((len(nearest), len(candidates)), np.float32)
        np.put_along_axis(mixture, neighbours[nearest], weights[nearest], axis=1)
        expanded = (mixture @ candidates).max(0)
        second = candidates @ expanded
        if self.expanded_against == "refined":
            second = (weights * second[neighbours]).sum(1)
        return (first + second) / 2

    def _neighbours(self, candidates: Floats) -> tuple[Rows, Floats]:
        """``(M, K + 1)`` neighbours of each candidate among all, itself included, and their weights, of sum 1."""
        similarities = candidates @ candidates.T
        size = min(self.k + 1, len(candidates))
        columns = np.argpartition(similarities, len(candidates) - size, axis=1)[:, len(candidates) - size :]
        columns.sort(axis=1)
        values = np.take_along_axis(similarities, columns, axis=1)
        weights = np.float32(self.beta) * values
        weights[np.arange(len(values)), values.argmax(1)] = 1
        return columns, weights / weights.sum(1, keepdims=True)

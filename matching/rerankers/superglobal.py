"""SuperGlobal's reranking, which needs global descriptors only (Shao et al., ICCV 2023, arXiv 2308.06954)."""

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Floats
from matching.checks import number, whole
from matching.rerankers.candidates import GlobalReranker, neighbours

Rows = NDArray[np.int64]


class SuperGlobal(GlobalReranker):
    """Reranker ``superglobal``: refines the candidates by each other, and expands the query.

    The first ``m`` candidates are refined by their ``k`` nearest neighbours among themselves, the query is expanded
    by the ``k + 1`` refined candidates most similar to it, and the candidates are ordered by the mean of the
    similarities to the query and to the expanded query (released code, MDescAug then RerankwMDA).

    With the candidates' descriptors T and the row-sparse weights W, the refined ones are R = W T. They are never made:
    R q = W (T q). So one query costs the product T T' and little else, and holds T and T T' only. NumPy computes a
    product of a matrix and its own transpose by symmetry, at half the cost of any other.
    """

    name = "superglobal"

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
          InputError: an argument is out of range.
        """
        super().__init__(whole("superglobal: m", m), threads)
        self.k, self.beta = whole("superglobal: k", k, 0), number("superglobal: beta", beta)
        if expanded_against not in ("refined", "original"):
            raise InputError(
                f"Unknown expanded_against {expanded_against!r} of superglobal; the choices are refined, original."
            )
        self.expanded_against = expanded_against

    def query_scores(self, query: Floats, candidates: Floats) -> Floats:
        """Scores of the candidates of one query.

        Args:
          query: ``(D,)`` float32 of unit norm.
          candidates: ``(M, D)`` float32, rows of unit norm.

        Returns:
          ``(M,)`` float32.
        """
        first, _, second = self.stages(query, candidates)
        return np.asarray((first + second) / 2, np.float32)

    def stages(self, query: Floats, candidates: Floats) -> tuple[Floats, Floats, Floats]:
        """The two scores whose mean :meth:`query_scores` returns, and the expanded query.

        Returns:
          ``(M,)`` similarities of the refined candidates to the query; ``(D,)`` the expanded query, the largest of the
          ``k + 1`` best refined candidates in each component; ``(M,)`` similarities to it. float32.
        """
        columns, weights = self._weights(candidates)
        first = (weights * (candidates @ query)[columns]).sum(1)
        nearest = np.argsort(-first, kind="stable")[: self.k + 1]
        used, places = np.unique(columns[nearest], return_inverse=True)
        mixture = np.zeros((len(nearest), len(used)), np.float32)
        np.put_along_axis(mixture, places.reshape(columns[nearest].shape), weights[nearest], axis=1)
        expanded = (mixture @ candidates[used]).max(0)
        second = candidates @ expanded
        if self.expanded_against == "refined":
            second = (weights * second[columns]).sum(1)
        return first, expanded, second

    def _weights(self, candidates: Floats) -> tuple[Rows, Floats]:
        """``(M, K + 1)`` neighbours of each candidate among all, itself included, and their weights, of sum 1."""
        similarities = candidates @ candidates.T
        columns = neighbours(similarities, min(self.k + 1, len(candidates)))
        values = np.take_along_axis(similarities, columns, axis=1)
        weights = np.float32(self.beta) * values
        weights[np.arange(len(values)), values.argmax(1)] = 1
        return columns, weights / weights.sum(1, keepdims=True)

"""Database augmentation: each candidate is joined with its neighbours before it is compared with the query."""

import numpy as np

from extraction.features import Floats
from matching.checks import number, whole
from matching.rerankers.candidates import GlobalReranker, neighbours


class AlphaDBA(GlobalReranker):
    """Reranker ``alpha_dba``: augments candidates with their neighbours.

    A candidate becomes the normalised sum of its nearest neighbours, itself included, weighted by their similarity to
    the power alpha: the database side of query expansion (Turcot and Lowe, WS-LAVD 2009; Arandjelovic and Zisserman,
    CVPR 2012), with the weights of Radenovic et al., TPAMI 2018, arXiv 1711.02512. There the neighbours are searched
    in the whole database, once and beforehand; here, as in SuperGlobal, among the query's own candidates, so that
    nothing is stored and the database may change.

    The sums are never made: with weights W and candidates T, the score of candidate i is ``(W T q)_i / |(W T)_i|``,
    and ``|(W T)_i|^2 = (W T T' W')_ii`` needs no more than the similarities of the candidates.
    """

    name = "alpha_dba"
    matrices = 5

    def __init__(self, top_k: int = 400, *, n: int = 10, alpha: float = 3.0, threads: int | None = None):
        """Sets the parameters.

        Args:
          top_k: how many candidates of each query are augmented and reranked.
          n: neighbours that are added to a candidate.
          alpha: exponent of the similarity, which counts as 0 where it is negative; 0 weighs all alike.
          threads: of the pool over queries; None for one a core. The result does not depend on it.

        Raises:
          InputError: an argument is out of range.
        """
        super().__init__(top_k, threads)
        self.n, self.alpha = whole("alpha_dba: n", n, 0), number("alpha_dba: alpha", alpha)

    def query_scores(self, query: Floats, candidates: Floats) -> Floats:
        """Cosines of the augmented candidates and the query.

        Args:
          query: ``(D,)`` float32 of unit norm.
          candidates: ``(M, D)`` float32, rows of unit norm.

        Returns:
          ``(M,)`` float32.
        """
        similarities = candidates @ candidates.T
        others = similarities.copy()
        np.fill_diagonal(others, -np.inf)
        columns = neighbours(others, min(self.n, len(candidates) - 1))
        neighbour_weights = np.maximum(np.take_along_axis(others, columns, axis=1), 0) ** np.float32(self.alpha)
        weights = np.eye(len(candidates), dtype=np.float32)
        np.put_along_axis(weights, columns, neighbour_weights, axis=1)
        squared = np.einsum("ij,ij->i", weights @ similarities, weights)
        norms = np.sqrt(np.maximum(squared, np.finfo(np.float32).tiny))
        return weights @ (candidates @ query) / norms

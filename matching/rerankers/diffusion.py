"""Reranking by diffusion on a sparse graph of neighbours (Iscen et al., CVPR 2017, arXiv 1611.05113)."""

import numpy as np

from delg.common.errors import InputError
from extraction.features import Floats
from matching.checks import number, whole
from matching.rerankers.candidates import GlobalReranker, neighbours

TOLERANCE = 1e-6  # of the conjugate gradient's residual


class Diffusion(GlobalReranker):
    """Reranker ``diffusion``: spreads similarities along a graph of the candidates.

    The candidates are the nodes of a graph. Two are joined when they are among each other's ``kd`` nearest, with
    affinity ``max(similarity, 0)^gamma``. The similarities of the query to its ``kq`` nearest candidates spread along
    the edges: with S the affinities divided by the roots of both nodes' sums, the scores f solve
    ``(I - alpha S) f = y`` by conjugate gradients. Candidates that nothing reaches have score 0 and keep their order.

    In the paper the graph is that of the whole database, made beforehand; here it is cut to the query's candidates,
    which the paper calls truncation.
    """

    name = "diffusion"

    def __init__(
        self,
        top_k: int = 1000,
        *,
        kq: int = 10,
        kd: int = 50,
        gamma: float = 3.0,
        alpha: float = 0.99,
        iterations: int = 20,
        threads: int | None = None,
    ):
        """Sets the parameters.

        Args:
          top_k: how many candidates of each query are reranked.
          kq: candidates that the query is joined to.
          kd: nearest neighbours that must be mutual for an edge.
          gamma: exponent of the similarity.
          alpha: how far the similarities spread; 0 or more, below 1.
          iterations: of conjugate gradients, at most.
          threads: of the pool over queries; None for one a core. The result does not depend on it.

        Raises:
          InputError: an argument is out of range.
        """
        super().__init__(top_k, threads)
        self.kq, self.kd = whole("diffusion: kq", kq), whole("diffusion: kd", kd)
        self.iterations = whole("diffusion: iterations", iterations)
        self.gamma, self.alpha = number("diffusion: gamma", gamma), number("diffusion: alpha", alpha, most=1)
        if alpha == 1:
            raise InputError(f"diffusion: alpha expects a number below 1. Received: {alpha!r}")

    def query_scores(self, query: Floats, candidates: Floats) -> Floats:
        """The similarity that reaches each candidate.

        Args:
          query: ``(D,)`` float32 of unit norm.
          candidates: ``(M, D)`` float32, rows of unit norm.

        Returns:
          ``(M,)`` float32.
        """
        from scipy.sparse import eye_array
        from scipy.sparse.linalg import cg

        similarities = candidates @ query
        nearest = np.argsort(-similarities, kind="stable")[: self.kq]
        source = np.zeros(len(candidates))
        source[nearest] = np.maximum(similarities[nearest], 0).astype(np.float64) ** self.gamma
        system = eye_array(len(candidates), format="csr") - self.alpha * self._graph(candidates)
        return cg(system, source, rtol=TOLERANCE, maxiter=self.iterations)[0].astype(np.float32)

    def _graph(self, candidates: Floats):  # type: ignore[no-untyped-def]  # scipy.sparse is imported late
        """``(M, M)`` sparse S, symmetric."""
        from scipy.sparse import csr_array, diags_array

        n = len(candidates)
        similarities = candidates @ candidates.T
        np.fill_diagonal(similarities, -np.inf)
        columns = neighbours(similarities, min(self.kd, n - 1))
        values = np.maximum(np.take_along_axis(similarities, columns, axis=1), 0).astype(np.float64) ** self.gamma
        starts = np.arange(n + 1) * columns.shape[1]
        directed = csr_array((values.ravel(), columns.ravel(), starts), shape=(n, n))
        affinities = directed.minimum(directed.T)
        sums = affinities.sum(axis=1)
        scale = diags_array(np.divide(1, np.sqrt(sums), out=np.zeros(n), where=sums > 0))
        return (scale @ affinities @ scale).tocsr()

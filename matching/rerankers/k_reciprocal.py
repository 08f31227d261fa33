"""Reranking with k-reciprocal encoding (Zhong et al., CVPR 2017, arXiv 1701.08398)."""

import numpy as np
from numpy.typing import NDArray

from extraction.features import Floats
from matching.checks import number, whole
from matching.rerankers.candidates import GlobalReranker

Mask = NDArray[np.bool_]


class KReciprocal(GlobalReranker):
    """Reranker ``k_reciprocal``: compares the neighbours of query and candidates.

    Two images are alike when they are among each other's nearest, and so are their neighbours. Each image is encoded
    by its k-reciprocal nearest neighbours, and the query's distance to a candidate is a mean of the Jaccard distance
    of their codes and the original distance. The paper takes the neighbours from all queries and the whole gallery;
    here they are the query and its own candidates. The score is 1 minus the final distance.
    """

    name = "k_reciprocal"
    matrices = 8

    def __init__(
        self, top_k: int = 100, *, k1: int = 20, k2: int = 6, lambda_value: float = 0.3, threads: int | None = None
    ):
        """Sets the parameters; the defaults are the paper's but for ``top_k``.

        Args:
          top_k: how many candidates of each query are reranked.
          k1: nearest neighbours that must be reciprocal.
          k2: nearest images, the image itself included, whose codes are averaged; 1 for no averaging.
          lambda_value: weight of the original distance, from 0 to 1.
          threads: of the pool over queries; None for one a core. The result does not depend on it.

        Raises:
          InputError: an argument is out of range.
        """
        super().__init__(top_k, threads)
        self.k1, self.k2 = whole("k_reciprocal: k1", k1), whole("k_reciprocal: k2", k2)
        self.lambda_value = number("k_reciprocal: lambda_value", lambda_value, most=1)

    def query_scores(self, query: Floats, candidates: Floats) -> Floats:
        """One minus the final distance of each candidate.

        Args:
          query: ``(D,)`` float32.
          candidates: ``(M, D)`` float32.

        Returns:
          ``(M,)`` float32.
        """
        distances = _distances(np.vstack([query, candidates]))
        nearest = np.argsort(distances, axis=1, kind="stable")
        codes = np.exp(-distances) * self._expanded(nearest)
        codes /= codes.sum(1, keepdims=True)
        columns = nearest.T[: self.k2]
        codes = sum((codes[column] for column in columns), np.zeros_like(codes)) / np.float32(len(columns))
        shared = np.minimum(codes[0], codes[1:]).sum(1)
        jaccard = 1 - shared / np.maximum(codes[0], codes[1:]).sum(1)
        return np.asarray(1 - (1 - self.lambda_value) * jaccard - self.lambda_value * distances[0, 1:], np.float32)

    def _expanded(self, nearest: NDArray[np.int64]) -> Mask:
        """``(n, n)`` whether the column is in the expanded set R* of the row.

        The set of an image takes in the half-sized set of each of its members that shares two thirds with it.
        """
        whole = _reciprocal(nearest, self.k1)
        half = _reciprocal(nearest, round(self.k1 / 2))
        shared = whole.astype(np.float32) @ half.T.astype(np.float32)
        joined = whole & (3 * shared > 2 * half.sum(1))
        return whole | (joined.astype(np.float32) @ half.astype(np.float32) > 0)


def _distances(descriptors: Floats) -> Floats:
    """``(n, n)`` squared Euclidean distances, divided by the largest of the row, as in the released code."""
    products = descriptors @ descriptors.T
    squared = np.diag(products)
    distances = np.maximum(squared[:, None] + squared[None] - 2 * products, 0)
    np.fill_diagonal(distances, 0)
    return distances / np.maximum(distances.max(1, keepdims=True), np.finfo(np.float32).tiny)


def _reciprocal(nearest: NDArray[np.int64], k: int) -> Mask:
    """``(n, n)`` whether row and column are among each other's ``k`` nearest, besides themselves."""
    among = np.zeros((len(nearest), len(nearest)), bool)
    np.put_along_axis(among, nearest[:, : k + 1], True, axis=1)
    np.fill_diagonal(among, True)  # also where more than k others are equal to an image
    return among & among.T

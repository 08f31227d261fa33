"""Two rerankers outside of the package: one by global descriptors with a file of weights, one by local features."""

from pathlib import Path

import numpy as np

from matching.local.matching import Inliers, tentative
from matching.rerankers.base import GeometricReranker, Reranker


class Weighted(Reranker):
    """Inner products of weighted descriptors."""

    def __init__(self, top_k=100, weights=None):
        super().__init__(top_k)
        self.weight = np.float32(Path(weights).read_text()) if weights else np.float32(2)

    def scores(self, queries, database, candidates):
        for q in range(len(candidates)):
            rows = candidates.row(q)
            yield database.global_descriptors[rows] ** self.weight @ queries.global_descriptors[q]


class Matches(GeometricReranker):
    """Every match of descriptors is an inlier of the identity."""

    def inliers(self, query, index):
        return Inliers(tentative(query, index), np.eye(2, 3))


class Short(Reranker):
    """Leaves the last candidate of each query out."""

    def scores(self, queries, database, candidates):
        return [candidates.scores[q, : len(candidates.row(q))][:-1] for q in range(len(candidates))]


def no_reranker():
    return "text"

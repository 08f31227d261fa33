"""A reranker with weights in a file: similarity after a projection that was learned from a feature store."""

import sys

import numpy as np

from delg.common.errors import InputError
from extraction.formats.table import open_features
from matching.rerankers.base import Reranker


class Learned(Reranker):
    """Orders the candidates by the cosine of projected global descriptors."""

    def __init__(self, weights: str, top_k: int = 100):
        """Reads ``mean`` ``(D,)`` and ``projection`` ``(D, d)`` from the NumPy file ``weights``."""
        super().__init__(top_k)
        with np.load(weights) as file:
            self.mean, self.projection = file["mean"], file["projection"]

    def scores(self, queries, database, candidates):
        for q in range(len(candidates)):
            query = self.projected(queries.global_descriptors[q : q + 1])
            yield self.projected(database.global_descriptors[candidates.row(q)]) @ query[0]

    def projected(self, descriptors):
        if descriptors.shape[1] != len(self.mean):
            raise InputError(f"{self.name} expects descriptors of {len(self.mean)} values, not {descriptors.shape[1]}.")
        rows = (descriptors - self.mean) @ self.projection
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def learn(features: str, weights: str, dimensions: int = 8) -> None:
    """Writes the PCA whitening of the global descriptors of a feature store."""
    descriptors = open_features(features).global_descriptors
    mean = descriptors.mean(axis=0)
    _, values, directions = np.linalg.svd(descriptors - mean, full_matrices=False)
    directions, values = directions[:dimensions], values[:dimensions]
    np.savez(weights, mean=mean, projection=(directions / np.maximum(values, 1e-6)[:, None]).T)


if __name__ == "__main__":
    learn(sys.argv[1], sys.argv[2])

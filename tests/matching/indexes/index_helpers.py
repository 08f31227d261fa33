"""Data for the tests of indexes."""

from dataclasses import dataclass, field

import numpy as np

from tests.matching.helpers import unit

THOROUGH = (  # every kind, set so that it misses nothing among some hundred rows
    "exact",
    'exact(dtype="float32")',
    "flat",
    "binary(rescore=600)",
    "hnsw(ef_search=600)",
    "ivf_sq(nlist=7, nprobe=7)",
    "ivf_pq(nbits=4, nprobe=600, rescore=600)",
    "ivf_pq(nlist=5, m=2, nbits=8, nprobe=5, rescore=600)",
    "ivf_rabitq(nprobe=600, rescore=600)",
    'faiss(factory="IVF9,PQ4x4fs", nprobe=9, rescore=600)',
    'faiss(factory="SQfp16", rescore=0)',
    "own_indexes:Divided(by=4.0, times=4.0)",
)


@dataclass
class Store:
    global_descriptors: np.ndarray
    settings: dict = field(default_factory=lambda: {"extractor": "test", "scales": [1.0]})
    names: list = field(default_factory=list)

    def __post_init__(self):
        self.names = self.names or [f"folder/ä image {i}" for i in range(len(self.global_descriptors))]

    def path_of(self, i):
        return ""


class WithPaths(Store):
    """A store with the paths of its images."""

    def path_of(self, i):
        return f"{self.names[i]}.jpg"


def clustered(count=600, dimension=32, seed=0):
    """Groups of twenty: a centre plus noise of equal norm."""
    rng = np.random.default_rng(seed)
    centres, noise = (unit(rng.normal(size=(n, dimension))) for n in (-(-count // 20), count))
    return unit(np.repeat(centres, 20, axis=0)[:count] + noise)


def ranked(queries, database, top_k):
    scores = queries.astype(np.float64) @ database.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return order, np.take_along_axis(scores, order, axis=1)

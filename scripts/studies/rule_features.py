"""Features made by rule, planted on a ground truth: they have the right answers, the right sizes, and no photo."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.base import Benchmark
from evaluation.statistics.clusters import groups
from extraction.features import Features

BLOCK = 8192
SIDE = 1024  # pixels of every image
NOISE = 0.05  # of each value of a planted local descriptor
JITTER = 1.0  # pixels, of a planted keypoint
Floats = NDArray[np.float32]


def noise(count: int, dimension: int, seed: int) -> Iterator[Floats]:
    """Random rows in blocks."""
    random = np.random.default_rng(seed)
    for start in range(0, count, BLOCK):
        yield random.standard_normal((min(BLOCK, count - start), dimension), np.float32)


def planted(benchmark: Benchmark, dimension: int) -> tuple[Floats, Floats]:
    """Queries, and a database whose right images lean towards their query by random amounts; not yet of unit norm."""
    queries = np.concatenate(list(noise(len(benchmark.queries), dimension, 1)))
    database = np.concatenate(list(noise(len(benchmark.database), dimension, 2)))
    lean = np.random.default_rng(3).uniform(0.02, 0.3, len(database)).astype(np.float32)
    for query, truth in zip(queries, benchmark.protocols["medium"]):
        database[truth.positives] += lean[truth.positives, None] * query
    return queries, database


@dataclass(frozen=True, eq=False)
class Landmark:
    """What all photos of one landmark are drawn from: points in pixels and their descriptors."""

    points: Floats
    descriptors: Floats


class LocalRule:
    """Local features by rule.

    A photo of a landmark holds a random share of the landmark's features, moved by a random affine transform, and
    random ones; a photo of nothing holds random ones alone.
    """

    def __init__(self, benchmark: Benchmark, count: int, dimension: int):
        """Draws the landmarks: one for each group of queries that share right images.

        Args:
          benchmark: says which database image shows what.
          count: features of an image.
          dimension: of a descriptor.
        """
        truths = benchmark.protocols["medium"]
        self.count, self.dimension = count, dimension
        of_queries = groups(truths)
        random = np.random.default_rng(5)
        self._landmarks = {int(group): Landmark(*self._drawn(random)) for group in np.unique(of_queries)}
        self.of_queries = [int(group) for group in of_queries]
        self.of_database = {int(row): group for truth, group in zip(truths, self.of_queries) for row in truth.positives}

    def _drawn(self, random: np.random.Generator) -> tuple[Floats, Floats]:
        """``(count, 2)`` points and ``(count, dimension)`` unit descriptors."""
        points = random.uniform(0, SIDE, (self.count, 2)).astype(np.float32)
        return points, unit(random.standard_normal((self.count, self.dimension), np.float32))

    def features(self, name: str, descriptor: Floats, seed: Sequence[int], landmark: int | None) -> Features:
        """An image.

        Args:
          name: of it.
          descriptor: its global descriptor.
          seed: what its random numbers start from.
          landmark: which one it shows, or None.
        """
        random = np.random.default_rng(list(seed))
        points, descriptors = self._drawn(random)
        if landmark is not None:
            shown = self._landmarks[landmark]
            rows = np.flatnonzero(random.random(self.count) < random.uniform(0.1, 0.6))
            turn = np.eye(2) + random.uniform(-0.2, 0.2, (2, 2))
            moved = (shown.points[rows] - SIDE / 2) @ turn + SIDE / 2 + random.normal(0, JITTER, (len(rows), 2))
            points[rows] = moved
            noisy = shown.descriptors[rows] + NOISE * random.standard_normal((len(rows), self.dimension), np.float32)
            descriptors[rows] = unit(noisy)
        scores = np.sort(random.random(self.count).astype(np.float32))[::-1]
        scales = np.ones(self.count, np.float32)
        return Features(name, (SIDE, SIDE), descriptor, points, descriptors, np.ascontiguousarray(scores), scales)


def unit(rows: Floats) -> Floats:
    """Rows of unit norm."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

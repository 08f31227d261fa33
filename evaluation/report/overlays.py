"""Inlier matches of a benchmark's images: as pairs of keypoints, and as pictures."""

from typing import Any

from evaluation.benchmarks.base import Benchmark
from evaluation.report.gallery import DrawMatches
from evaluation.report.pairs import Picture, draw_pair
from evaluation.run.method import Alignment, Method
from extraction.images import Reading
from matching.rerankers.base import GeometricReranker


def matches_locally(method: Method, reranker: Any) -> bool:
    """Whether a reranker finds inliers of local features, and there are some."""
    return isinstance(reranker, GeometricReranker) and method.database.bytes_per_image()["local"] > 0


def drawer(benchmark: Benchmark, method: Method, reranker: Any) -> DrawMatches | None:
    """What draws the inlier matches of a query and a database image.

    Args:
      benchmark: the images.
      method: their features.
      reranker: one that matches local features.

    Returns:
      ``(query, database row) -> (picture, number of inliers)``, rows of the benchmark; the picture is ``(H, W, 3)``
      RGB, and None stands for images that cannot be read. None for a reranker that does not match local features.
    """
    if not matches_locally(method, reranker):
        return None
    alignment, reading = Alignment(benchmark, method), Reading.of(method.database.settings)

    def draw(q: int, d: int) -> tuple[Picture, int] | None:
        rows = int(alignment.query_rows[q]), int(alignment.database_rows[d])
        if min(rows) < 0:
            return None
        query, result = method.queries.features(rows[0]), method.database.features(rows[1])
        pairs = reranker.inliers(query, result).pairs
        picture = draw_pair((benchmark.queries[q], benchmark.database[d]), (query, result), pairs, reading)
        return None if picture is None else (picture, len(pairs))

    return draw

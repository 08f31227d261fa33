"""Inlier matches of a benchmark's images: as pairs of keypoints, and as pictures."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.benchmarks.base import Benchmark
from evaluation.report.gallery import DrawMatches
from evaluation.runner import Alignment, Method
from extraction.images import BadImageError, ImageRef, load_image
from matching.draw import draw_matches

HEIGHT = 320  # pixels of a picture
LINES = 60  # matches drawn at most, evenly taken from all
Picture = NDArray[np.uint8]


def matches_locally(method: Method, reranker: Any) -> bool:
    """Whether a reranker matches local features, and there are some."""
    return hasattr(reranker, "inliers") and method.database.bytes_per_image()["local"] > 0


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
    alignment = Alignment(benchmark, method)

    def draw(q: int, d: int) -> tuple[Picture, int] | None:
        rows = int(alignment.query_rows[q]), int(alignment.database_rows[d])
        if min(rows) < 0:
            return None
        query, result = method.queries.features(rows[0]), method.database.features(rows[1])
        pairs = reranker.inliers(query, result).pairs
        shown = pairs[np.unique(np.linspace(0, len(pairs) - 1, min(LINES, len(pairs)), dtype=np.int64))]
        try:
            left, left_scale = _shrunk(benchmark.queries[q])
            right, right_scale = _shrunk(benchmark.database[d])
        except BadImageError:
            return None
        points = (
            _scaled(query.keypoints[shown[:, 0]], left_scale),
            _scaled(result.keypoints[shown[:, 1]], right_scale),
        )
        return draw_matches(left, right, *points), len(pairs)

    return draw


def _shrunk(image: ImageRef) -> tuple[Picture, float]:
    """The whole photo at the pictures' height, and the factor."""
    pixels, _, _ = load_image(replace(image, crop=None))
    factor = HEIGHT / pixels.shape[0]
    size = max(round(pixels.shape[1] * factor), 1), HEIGHT
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)), factor


def _scaled(points: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Pixel coordinates after resizing; the centre of the first pixel is 0 before and after."""
    return ((points + 0.5) * factor - 0.5).astype(np.float32)

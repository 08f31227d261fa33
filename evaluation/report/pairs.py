"""Local matches between two photos: as pictures, and as inliers of a benchmark's images."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.benchmarks.base import Benchmark
from evaluation.report.gallery import DrawMatches
from evaluation.run.method import Alignment, Method
from extraction.features import Features
from extraction.images import OWN, BadImageError, ImageRef, Reading, load_image
from matching.draw import draw_matches
from matching.rerankers.base import GeometricReranker

HEIGHT = 320  # pixels of a picture
LINES = 60  # matches drawn at most, evenly taken from all
Picture = NDArray[np.uint8]


def draw_pair(
    images: tuple[ImageRef, ImageRef],
    features: tuple[Features, Features],
    pairs: NDArray[np.int64],
    reading: Reading = OWN,
) -> Picture | None:
    """Draws matches on whole photos of one height.

    Args:
      images: the one on the left, and the one on the right; their crops do not matter.
      features: of each, keypoints in pixels of the whole photo.
      pairs: ``(M, 2)`` rows of the two images' local features.
      reading: how the images were read that the features are of.

    Returns:
      ``(H, W, 3)`` RGB; None when an image cannot be read.
    """
    shown = pairs[np.unique(np.linspace(0, len(pairs) - 1, min(LINES, len(pairs)), dtype=np.int64))]
    try:
        (left, left_scale), (right, right_scale) = (_shrunk(image, reading) for image in images)
    except BadImageError:
        return None
    points = (
        _scaled(features[0].keypoints[shown[:, 0]], left_scale),
        _scaled(features[1].keypoints[shown[:, 1]], right_scale),
    )
    return draw_matches(left, right, *points)


def _shrunk(image: ImageRef, reading: Reading) -> tuple[Picture, float]:
    """The whole photo at the pictures' height, and the factor."""
    pixels, _, _ = load_image(replace(image, crop=None), reading)
    factor = HEIGHT / pixels.shape[0]
    size = max(round(pixels.shape[1] * factor), 1), HEIGHT
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)), factor


def _scaled(points: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Pixel coordinates after resizing; the centre of the first pixel is 0 before and after."""
    return ((points + 0.5) * factor - 0.5).astype(np.float32)


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

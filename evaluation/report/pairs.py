"""Pictures of the local matches between two photos."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import Method
from evaluation.report.gallery import DrawMatches
from extraction.features import Features
from extraction.images import OWN, BadImageError, ImageRef, Reading, load_image
from matching.draw import draw_matches
from matching.rerankers.base import GeometricReranker, Reranker

HEIGHT = 320  # pixels of a picture
LINES = 60  # largest number of drawn matches, evenly sampled from all matches
Picture = NDArray[np.uint8]


def draw_pair(
    images: tuple[ImageRef, ImageRef],
    features: tuple[Features, Features],
    pairs: NDArray[np.int64],
    reading: Reading = OWN,
) -> Picture | None:
    """Draws matches on whole photos of one height.

    Args:
      images: the left and the right image; crops are ignored.
      features: features of both, with keypoints in pixels of the whole photo.
      pairs: ``(M, 2)`` rows of the two images' local features.
      reading: how images were read for the features.

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
    """The whole photo at :data:`HEIGHT`, and the factor of its size."""
    pixels, _, _ = load_image(replace(image, crop=None), reading)
    factor = HEIGHT / pixels.shape[0]
    size = max(round(pixels.shape[1] * factor), 1), HEIGHT
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)), factor


def _scaled(points: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Pixel coordinates after resizing; the centre of the first pixel is 0 before and after."""
    return ((points + 0.5) * factor - 0.5).astype(np.float32)


def geometric(method: Method, reranker: Reranker | None) -> GeometricReranker | None:
    """The reranker whose inliers are shown, if there is one and the method has local features; None otherwise."""
    return reranker.geometric if reranker and method.database.bytes_per_image()["local"] > 0 else None


def drawer(benchmark: Benchmark, method: Method, reranker: Reranker | None) -> DrawMatches | None:
    """A function that draws the inlier matches of a query and a database image.

    Args:
      benchmark: the images.
      method: features of the images.
      reranker: the second stage; None for the first stage alone.

    Returns:
      ``(query, database row) -> (picture, number of inliers)``, rows of the benchmark; the picture is ``(H, W, 3)``
      RGB, and None stands for images that cannot be read. None where :func:`geometric` returns None.
    """
    verifier = geometric(method, reranker)
    if verifier is None:
        return None
    alignment, reading = method.aligned(benchmark), Reading.of(method.database.settings)

    def draw(q: int, d: int) -> tuple[Picture, int] | None:
        rows = int(alignment.query_rows[q]), int(alignment.database_rows[d])
        if min(rows) < 0:
            return None
        query, result = method.queries.features(rows[0]), method.database.features(rows[1])
        pairs = verifier.inliers(query, result).pairs
        picture = draw_pair((benchmark.queries[q], benchmark.database[d]), (query, result), pairs, reading)
        return None if picture is None else (picture, len(pairs))

    return draw

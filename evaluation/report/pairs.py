"""Pictures of two photos and the local matches between them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extraction.features import Features
from extraction.images import OWN, BadImageError, ImageRef, Reading, load_image
from matching.draw import draw_matches

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

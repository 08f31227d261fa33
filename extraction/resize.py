"""The size of an image at scale 1, and the mapping of points back to its pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from delg.common.decoding import BadImageError, resized

RULE = "pillow bilinear, antialiased, width first, side = round-half-even(side * factor)"  # of stores
INTERPOLATIONS = {
    "bilinear": RULE,
    "bicubic": RULE.replace("bilinear", "bicubic"),
    "float_bilinear": RULE.replace("pillow", "float32"),
}
"""How an image comes to scale 1, and the rule in words. ``bilinear`` (released DELG; SigLIP 2) and ``bicubic`` (DINOv2;
SigLIP) round to whole values after each side; ``float_bilinear`` (DINOv3) does not round."""
SMALLEST = 10  # least side in pixels after resizing for the released extractor


class TooSmallError(BadImageError):
    """An image so small that the released extractor writes empty features."""


def limited_size(
    width: int,
    height: int,
    max_image_size: int = -1,
    min_image_size: int = -1,
    resize_factor: float = 1.0,
    *,
    square: bool = False,
    multiple: int = 1,
) -> tuple[int, int]:
    """Size after the limits on the longest side; each limit is multiplied by ``resize_factor``, ``-1`` is no limit.

    With ``square``, both sides become as long as the longest, which changes the aspect ratio. Sides are rounded to a
    multiple of ``multiple``, and none becomes smaller than that.

    Source: ``ResizeImage`` of the released extractor; multiples are those of AMES and ELViS.

    >>> limited_size(1600, 1200, max_image_size=1024)
    (1024, 768)
    """
    longest = max(width, height)
    factor = 1.0
    if max_image_size > 0 and longest > max_image_size * resize_factor:
        factor = max_image_size * resize_factor / longest
    elif min_image_size > 0 and longest < min_image_size * resize_factor:
        factor = min_image_size * resize_factor / longest
    if square:
        width = height = longest
    sides = (multiple * max(1, round(side * factor / multiple)) for side in (width, height))
    return next(sides), next(sides)


def resize(image: NDArray[np.uint8], size: tuple[int, int], interpolation: str = "bilinear") -> NDArray[Any]:
    """Resizes ``(H, W, 3)`` uint8 to ``size = (width, height)``, width first; an array of that size is returned.

    Args:
      image: RGB.
      size: of the result.
      interpolation: a choice of :data:`INTERPOLATIONS`; ``"float_bilinear"`` gives float32, the others uint8.
    """
    if (image.shape[1], image.shape[0]) == size:
        return image
    if interpolation == "float_bilinear":
        channels = (Image.fromarray(image[..., i].astype(np.float32)) for i in range(3))
        return np.stack([np.asarray(resized(channel, size)) for channel in channels], axis=-1)
    method = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    return np.asarray(resized(Image.fromarray(image), size, method))


def to_source(points: NDArray[np.float64], resized: tuple[int, int], source: tuple[int, int]) -> NDArray[np.float64]:
    """Maps pixel centres of a resized image to those of its source: ``x (W / w) + (W / w - 1) / 2``.

    Args:
      points: ``(N, 2)`` ``(x, y)`` in the resized image; the centre of the top-left pixel is ``(0, 0)``.
      resized: its ``(width, height)``.
      source: ``(width, height)`` of the source image.

    Returns:
      ``(N, 2)`` float64 points of the source image.
    """
    factor = np.asarray(source, np.float64) / np.asarray(resized, np.float64)
    return (points + 0.5) * factor - 0.5

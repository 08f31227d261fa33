"""A picture of two images side by side with lines between matched points."""

import colorsys
import os

import cv2
import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import atomic_path

Image = NDArray[np.uint8]
Points = NDArray[np.floating]

GAP = 8  # pixels between the images
PAPER = 255
SUBPIXEL_BITS = 4
FAR = 1 << 20  # pixels; OpenCV draws within 32 bits
GOLDEN = 0.618034  # step of the hue, so that neighbouring lines differ


def draw_matches(image_a: Image, image_b: Image, points_a: Points, points_b: Points) -> Image:
    """Draws matches.

    Args:
      image_a: ``(H, W, 3)`` uint8 RGB, on the left.
      image_b: likewise, on the right; the space below the lower image is white.
      points_a: ``(M, 2)`` as ``(x, y)`` in pixels of ``image_a``; M may be 0.
      points_b: ``(M, 2)`` their counterparts in ``image_b``.

    Returns:
      ``(max H, W_a + 8 + W_b, 3)`` uint8 RGB.

    Raises:
      InputError: an image is empty or not 8-bit RGB, or the points are not finite or of different numbers.
    """
    for image in (image_a, image_b):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError(f"Expected images (H, W, 3) of uint8. Received: {image.shape} of {image.dtype}")
    if points_a.shape != points_b.shape or points_a.ndim != 2 or points_a.shape[1] != 2:
        raise InputError(f"Expected points (M, 2) in both images. Received: {points_a.shape} and {points_b.shape}")
    if not (np.isfinite(points_a).all() and np.isfinite(points_b).all()):
        raise InputError("Expected finite points.")
    points_a, points_b = (np.clip(points, -FAR, FAR) for points in (points_a, points_b))
    (height_a, width_a), (height_b, width_b) = image_a.shape[:2], image_b.shape[:2]
    canvas = np.full((max(height_a, height_b), width_a + GAP + width_b, 3), PAPER, np.uint8)
    canvas[:height_a, :width_a] = image_a
    canvas[:height_b, width_a + GAP :] = image_b
    thickness = max(1, round(max(canvas.shape) / 1200))
    for i, (a, b) in enumerate(zip(points_a, points_b + np.array([width_a + GAP, 0]))):
        colour = [round(255 * c) for c in colorsys.hsv_to_rgb(i * GOLDEN % 1, 0.9, 1.0)]
        ends = [tuple(round(float(c) * 2**SUBPIXEL_BITS) for c in point) for point in (a, b)]
        cv2.line(canvas, ends[0], ends[1], colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        for end in ends:
            cv2.circle(canvas, end, 3 * thickness << SUBPIXEL_BITS, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return canvas


def write_picture(path: str | os.PathLike[str], picture: Image) -> None:
    """Writes a picture in the format of its suffix.

    Args:
      path: of the file.
      picture: ``(H, W, 3)`` uint8 RGB.

    Raises:
      InputError: OpenCV cannot write the format.
    """
    with atomic_path(path) as temporary:
        try:
            written = cv2.imwrite(str(temporary), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        except cv2.error:
            written = False
        if not written:
            raise InputError(
                f"The picture {os.fspath(path)} cannot be written; expected a name ending in .jpg or .png."
            )

"""Pictures for the page: small JPEG files as data URIs."""

import base64
import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from extraction.images import OWN, BadImageError, ImageRef, Reading, load_image

HEIGHT, MAX_WIDTH = 120, 214  # pixels of a thumbnail
QUALITY = 74


def data_uri(image: Image.Image, quality: int = QUALITY) -> str:
    """``data:image/jpeg;base64,...`` of an RGB image."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def fitted(image: Image.Image, height: int, max_width: int) -> Image.Image:
    """The image, shrunk (never enlarged) to fit into a height and a width."""
    factor = min(height / image.height, max_width / image.width, 1.0)
    size = max(round(image.width * factor), 1), max(round(image.height * factor), 1)
    return image.resize(size, Image.Resampling.LANCZOS)


def thumbnail(ref: ImageRef, height: int = HEIGHT, max_width: int = MAX_WIDTH, reading: Reading = OWN) -> str | None:
    """A thumbnail of the whole photo, with the box of the reference's crop.

    Args:
      ref: the image.
      height: largest height of the thumbnail in pixels.
      max_width: largest width of the thumbnail in pixels.
      reading: how images were read for the features.

    Returns:
      A data URI; None when the file is missing or cannot be decoded.
    """
    try:
        pixels, (width, _), _ = load_image(replace(ref, crop=None), reading)
    except BadImageError:
        return None
    small = fitted(Image.fromarray(pixels), height, max_width)
    if ref.crop is not None:
        draw_box(small, [side * small.width / width for side in ref.crop])
    return data_uri(small)


def draw_box(image: Image.Image, box: list[float]) -> None:
    """Draws a yellow box with a dark rim, visible on every background."""
    x1, y1, x2, y2 = (round(side) for side in box)
    x1, y1 = max(x1, 1), max(y1, 1)
    x2, y2 = max(min(x2, image.width - 2), x1), max(min(y2, image.height - 2), y1)
    draw = ImageDraw.Draw(image)
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline="black", width=4)
    draw.rectangle((x1, y1, x2, y2), outline="#ffd21f", width=2)


def picture(pixels: NDArray[np.uint8], max_width: int = 900, quality: int = 72) -> str:
    """A larger picture of ``(H, W, 3)`` RGB as a data URI."""
    return data_uri(fitted(Image.fromarray(pixels), max_width, max_width), quality)

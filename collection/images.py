"""A photo as callers give it: a file, the bytes of a file, or an array."""

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError

Image = str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""A photo: a file or the path of a photo of the collection, the bytes of a file, or ``(H, W, 3)`` uint8 RGB."""


def bytes_of(image: Image) -> bytes:
    """The bytes of an image file; an array becomes a PNG.

    Raises:
      InputError: the file cannot be read, or the array is no image.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | os.PathLike):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise InputError(f"The photo {os.fspath(image)} cannot be read: {error.strerror or error}.") from error
    if not isinstance(image, np.ndarray):
        raise InputError(f"Expected a file, its bytes, or an array as a photo. Received: {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"Expected (H, W, 3) uint8 RGB. Received: {image.shape} {image.dtype}")
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()

"""One image file: checked by decoding it whole, and turned into the bytes that a training record holds."""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

QUALITY = 95


class BadImageError(ValueError):
    """An image that cannot be used; the message is the reason."""


@dataclass(frozen=True)
class EncodedPhoto:
    """Bytes that ``tf.io.decode_jpeg(..., channels=3)`` decodes.

    Attributes:
      data: a JPEG or PNG file.
      format: ``"JPEG"`` or ``"PNG"``.
      height: pixels.
      width: pixels.
    """

    data: bytes
    format: str
    height: int
    width: int


def read_photo(path: Path) -> EncodedPhoto:
    """Reads and decodes a file.

    RGB and grey JPEG and 8-bit PNG files are kept byte for byte, as released; CMYK, palettes, alpha channels, 16 bits
    and other formats are converted to an RGB JPEG of quality 95. The EXIF orientation is not applied, as released.

    Raises:
      BadImageError: the file is missing, empty, truncated or no image.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            width, height = image.size
            kind = "JPEG" if image.format in ("JPEG", "MPO") else str(image.format)
            keep = kind in ("JPEG", "PNG") and image.mode in ("RGB", "L") and "transparency" not in image.info
            if not keep:
                data, kind = _as_jpeg(image), "JPEG"
    except FileNotFoundError as error:
        raise BadImageError("no such file") from error
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise BadImageError(_reason(error)) from error
    return EncodedPhoto(data, kind, height, width)


def _as_jpeg(image: Image.Image) -> bytes:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return "not an image of a known format" if "cannot identify image file" in text else text.splitlines()[0]

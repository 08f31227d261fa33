"""One image file: checked by decoding it whole, and turned into the bytes that a training record holds."""

import io
from dataclasses import dataclass
from pathlib import Path

from delg.common.decoding import opened

QUALITY = 95


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


def read_photo(path: Path, upright: bool = True) -> EncodedPhoto:
    """Reads and decodes a file, see :mod:`delg.common.decoding`.

    RGB and grey JPEG and PNG files are kept byte for byte, as released; photos that are turned, CMYK, palettes, alpha
    channels, 16-bit grey and other formats are converted to an RGB JPEG of quality 95.

    Args:
      path: the file.
      upright: obey the orientation tag; the released records do not.

    Raises:
      BadImageError: the file is missing, empty, truncated or no image that can be decoded.
    """
    with opened(path, upright=upright) as photo:
        rgb, image = photo.rgb(), photo.image
        kind = "JPEG" if image.format in ("JPEG", "MPO") else str(image.format)
        plain = image.mode in ("RGB", "L") and "transparency" not in image.info
        if kind in ("JPEG", "PNG") and plain and not photo.turned:
            return EncodedPhoto(path.read_bytes(), kind, rgb.height, rgb.width)
        buffer = io.BytesIO()
        rgb.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
        return EncodedPhoto(buffer.getvalue(), "JPEG", rgb.height, rgb.width)

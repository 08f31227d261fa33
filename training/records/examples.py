"""One training record: a ``tf.train.Example`` with the keys of the released ``build_image_dataset.py``.

Written: ``image/encoded`` (the file's bytes), ``image/format``, ``image/colorspace``, ``image/height``,
``image/width``, ``image/channels``, ``image/id`` and ``image/class/label``.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from delg.common.decoding import opened

Tensor = Any
QUALITY = 95  # of written JPEG files


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

    Bytes of RGB and grey JPEG and PNG files stay unchanged, as released. Rotated photos, CMYK, palettes, alpha
    channels, 16-bit grey and other formats are converted to an RGB JPEG of quality 95.

    Args:
      path: the file.
      upright: whether the orientation tag is applied; in the released records it is not.

    Raises:
      BadImageError: the file is missing, empty, truncated or not decodable.
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


@dataclass(frozen=True)
class Example:
    """A parsed record; every field is a scalar tensor.

    Attributes:
      encoded: string, a JPEG or PNG file.
      label: int64.
      id: string.
    """

    encoded: Tensor
    label: Tensor
    id: Tensor


def write_example(photo: EncodedPhoto, label: int, identity: str) -> bytes:
    """A serialised ``tf.train.Example``; grey images also record 3 channels, to which they are decoded."""
    features = {
        "image/encoded": _text(photo.data),
        "image/format": _text(photo.format.encode()),
        "image/colorspace": _text(b"RGB"),
        "image/height": _number(photo.height),
        "image/width": _number(photo.width),
        "image/channels": _number(3),
        "image/id": _text(identity.encode()),
        "image/class/label": _number(label),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def parse_example(serialized: Tensor) -> Example:
    """Reads a record, also of the released code.

    Args:
      serialized: scalar string tensor.

    Raises:
      tf.errors.InvalidArgumentError: not an example, or one without ``image/encoded`` or ``image/class/label``.
    """
    keys = {
        "image/encoded": tf.io.FixedLenFeature((), tf.string),
        "image/class/label": tf.io.FixedLenFeature((), tf.int64),
        "image/id": tf.io.FixedLenFeature((), tf.string, default_value=""),
    }
    values = tf.io.parse_single_example(serialized, keys)
    return Example(values["image/encoded"], values["image/class/label"], values["image/id"])


def _text(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _number(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

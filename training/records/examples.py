"""One training record: a ``tf.train.Example`` with the keys of the released ``build_image_dataset.py``.

Written: ``image/encoded`` (the file's bytes), ``image/format``, ``image/colorspace``, ``image/height``,
``image/width``, ``image/channels``, ``image/id`` and ``image/class/label``.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from training.records.photos import EncodedPhoto

Tensor = Any


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
    """A serialised ``tf.train.Example``; grey images too are announced as 3 channels, which is how they are decoded."""
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
    """Reads a record, also one that the released code wrote.

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

"""Encodings of the local features of many images as arrays: in full, or compact with binary descriptors (DELG*).

``float32``, ``float16`` and ``uint8`` are dtypes of the stored descriptors; keypoints, scores and scales stay float32.
Descriptors are read as float32 of unit norm. A row of ``uint8`` is ``128 + rint(127 x / max|x|)``; its factor needs no
record, as the norm is 1. ``binary`` stores the signs of descriptors, and the rest compactly; see :class:`Binary`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Features, Floats

Arrays = Mapping[str, NDArray[Any]]
LOCAL_DTYPES = ("float32", "float16", "uint8", "binary")
ZERO, STEPS = 128, 127  # of uint8
KNOTS = 33  # stored scores of an image
CODES = 65535  # steps of a coordinate
LEVELS = 255  # steps of a scale


class Encoding(ABC):
    """An encoding of local features.

    Attributes:
      rows: names of the arrays with a row for each local feature.
      images: names of the arrays with a row for each image.
    """

    rows: tuple[str, ...]
    images: tuple[str, ...] = ()

    @abstractmethod
    def encode(self, features: Sequence[Features]) -> dict[str, NDArray[Any]]:
        """The arrays of several images, by name."""

    @abstractmethod
    def decode(self, arrays: Arrays, rows: slice, image: int) -> dict[str, NDArray[Any]]:
        """``keypoints``, ``descriptors``, ``scores`` and ``scales`` of one image, as :class:`Features` holds them."""


class Full(Encoding):
    """Everything in float32, except the descriptors."""

    rows = ("keypoints", "descriptors", "scores", "scales")

    def __init__(self, dtype: str):
        """Takes ``float32``, ``float16`` or ``uint8``."""
        self._dtype = dtype

    def encode(self, features: Sequence[Features]) -> dict[str, NDArray[Any]]:
        """The arrays of several images, by name."""
        descriptors = stack([f.descriptors for f in features])
        return {
            "keypoints": stack([f.keypoints for f in features], 2),
            "descriptors": quantised(descriptors) if self._dtype == "uint8" else descriptors.astype(self._dtype),
            "scores": np.concatenate([np.zeros(0), *(f.scores for f in features)]).astype(np.float32),
            "scales": np.concatenate([np.zeros(0), *(f.scales for f in features)]).astype(np.float32),
        }

    def decode(self, arrays: Arrays, rows: slice, image: int) -> dict[str, NDArray[Any]]:
        """The local features of one image."""
        image_arrays: dict[str, NDArray[Any]] = {key: np.array(arrays[key][rows], np.float32) for key in self.rows}
        if self._dtype == "uint8":
            image_arrays["descriptors"] -= ZERO
        if self._dtype != "float32":
            image_arrays["descriptors"] = unit(image_arrays["descriptors"])
        return image_arrays


class Binary(Encoding):
    """Signs of descriptors, and few bytes for the rest: 21 bytes of a feature with 128 signs, and 152 of an image.

    - ``descriptors`` ``(m, ceil(d / 8))`` uint8, see :func:`packed`.
    - ``keypoints`` ``(m, 2)`` uint16: the image's box of keypoints in 65535 equal steps along its longer side. They are
      off by half a step at most, so by less than 1/16 pixel in photos of up to 8191 pixels.
    - ``scales`` ``(m,)`` uint8: from the image's smallest to its largest in 255 equal ratios.
    - ``frames`` ``(n, 38)`` float32: x and y of the box's corner, the step, the smallest and the largest scale, and 33
      scores at equal distances in the order of features; the others are interpolated linearly. Up to 33 are exact.
    """

    rows, images = ("keypoints", "descriptors", "scales"), ("frames",)

    def encode(self, features: Sequence[Features]) -> dict[str, NDArray[Any]]:
        """The arrays of several images, by name."""
        frames = np.array([_frame(f) for f in features], np.float32).reshape(len(features), 5 + KNOTS)
        points = [
            np.clip(np.rint((f.keypoints - frame[:2].astype(np.float64)) / frame[2]), 0, CODES)
            for f, frame in zip(features, frames)
        ]
        scales = [
            np.rint(LEVELS * np.log(f.scales / frame[3]) / max(float(np.log(frame[4] / frame[3])), 1e-12))
            for f, frame in zip(features, frames)
        ]
        return {
            "keypoints": stack(points, 2, np.uint16),
            "descriptors": stack([packed(f.descriptors) for f in features], dtype=np.uint8),
            "scales": np.clip(np.concatenate([np.zeros(0), *scales]), 0, LEVELS).astype(np.uint8),
            "frames": frames,
        }

    def decode(self, arrays: Arrays, rows: slice, image: int) -> dict[str, NDArray[Any]]:
        """The local features of one image; the descriptors stay packed."""
        frame = np.array(arrays["frames"][image], np.float64)
        keypoints = frame[:2] + arrays["keypoints"][rows] * frame[2]
        scales = frame[3] * (frame[4] / frame[3]) ** (arrays["scales"][rows] / LEVELS)
        return {
            "keypoints": keypoints.astype(np.float32),
            "descriptors": np.array(arrays["descriptors"][rows]),
            "scores": _scores(frame[5:], len(keypoints)),
            "scales": scales.astype(np.float32),
        }


def encoding(dtype: str) -> Encoding:
    """The encoding of one of :data:`LOCAL_DTYPES`.

    Raises:
      InputError: another name.
    """
    if dtype not in LOCAL_DTYPES:
        raise InputError(f"Unknown local_dtype {dtype!r}; the choices are {', '.join(LOCAL_DTYPES)}.")
    return Binary() if dtype == "binary" else Full(dtype)


def packed(descriptors: NDArray[Any]) -> NDArray[np.uint8]:
    """Signs of descriptors as bits.

    Args:
      descriptors: ``(N, d)`` float32, or already packed.

    Returns:
      ``(N, ceil(d / 8))`` uint8: a bit is set where the entry is above 0. Entry 0 is the highest bit of byte 0, entry 8
      that of byte 1; where d is no multiple of 8, the last bits are 0.
    """
    return descriptors if descriptors.dtype == np.uint8 else np.packbits(descriptors > 0, axis=1)


def as_stored(features: Features, dtype: str) -> Features:
    """Features that can be compared with those of a store: with packed descriptors where the store is binary."""
    return replace(features, descriptors=packed(features.descriptors)) if dtype == "binary" else features


def quantised(descriptors: Floats) -> NDArray[np.uint8]:
    """``(N, d)`` rows in 255 steps, 128 for 0, the largest entry of a row 1 or 255."""
    largest = np.abs(descriptors).max(axis=1, keepdims=True, initial=1e-12)
    return (ZERO + np.rint(STEPS * descriptors / largest)).astype(np.uint8)


def unit(rows: Floats) -> Floats:
    """Rows of norm 1; zeros stay zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def stack(parts: Sequence[NDArray[Any]], width: int = 0, dtype: Any = np.float32) -> NDArray[Any]:
    """Rows of all parts; parts without rows may have another width, which is used where no part has rows."""
    filled = [part for part in parts if part.size]
    if filled:
        return np.concatenate(filled).astype(dtype)
    width = max((part.shape[1] for part in parts), default=width)
    return np.zeros((sum(len(part) for part in parts), width), dtype)


def _frame(features: Features) -> Floats:
    """``(38,)`` the frame that the codes of one image refer to."""
    frame = np.zeros(5 + KNOTS, np.float32)
    frame[2:5] = 1
    n = len(features)
    if n:
        corner, far = features.keypoints.min(axis=0), features.keypoints.max(axis=0)
        frame[:2], frame[2] = corner, max(float((far - corner).max()) / CODES, 1e-6)
        frame[3:5] = features.scales.min(), features.scales.max()
        knots = min(n, KNOTS)
        frame[5 : 5 + knots] = np.interp(np.linspace(0, n - 1, knots), np.arange(n), features.scores)
    return frame


def _scores(knots: NDArray[np.float64], n: int) -> Floats:
    """``(n,)`` decreasing scores, interpolated linearly between knots."""
    if not n:
        return np.zeros(0, np.float32)
    count = min(n, KNOTS)
    scores = np.interp(np.arange(n), np.linspace(0, n - 1, count), knots[:count]).astype(np.float32)
    return np.minimum.accumulate(scores)

"""Image augmentation by name: the released random crop, and further steps by switch.

Every step draws its random numbers from a ``(2,)`` int64 seed, so that one seed gives one image on every machine. The
table holds a factory for each step; a flag names a chain of steps: ``"crop, flip(p=0.5)"``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from delg.common.errors import InputError
from delg.common.spec import build, split
from training.input import image_ops

Tensor = Any
Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Crop:
    """A random window of the photo (released code: ``sample_distorted_bounding_box``), later resized to a square.

    Attributes:
      min_area: smallest part of the photo's area.
      max_area: largest part of the photo's area.
      min_aspect: smallest width / height.
      max_aspect: largest width / height.
    """

    min_area: float = 0.08
    max_area: float = 1.0
    min_aspect: float = 3 / 4
    max_aspect: float = 4 / 3

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= self.max_area <= 1 or not 0 < self.min_aspect <= self.max_aspect:
            raise InputError(f"crop expects 0 < min_area <= max_area <= 1 and 0 < min_aspect <= max_aspect: {self}.")

    def window(self, shape: Tensor, seed: Tensor) -> Tensor:
        """Draws ``(top, left, height, width)`` int32 inside an image of ``shape`` ``(height, width, 3)``."""
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            shape,
            tf.zeros((1, 0, 4)),
            seed,
            min_object_covered=0.1,
            aspect_ratio_range=(self.min_aspect, self.max_aspect),
            area_range=(self.min_area, self.max_area),
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.concat([begin[:2], size[:2]], 0)


def flip(p: float = 0.5) -> Step:
    """Mirrors left and right with probability ``p``."""
    _check_probability("flip", p)

    def step(image: Tensor, seed: Tensor) -> Tensor:
        return tf.cond(_uniform(seed, ()) < p, lambda: tf.reverse(image, [1]), lambda: image)

    return step


def color_jitter(brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2, cast: float = 0.05) -> Step:
    """Changes brightness, contrast, saturation and the balance of the channels by random factors ``1 +- strength``.

    With the gains ``g`` of the channels (brightness times cast), saturation ``s`` and contrast ``c`` a pixel ``x``
    becomes ``c * (s * g x + (1 - s) * grey(g x)) + (1 - c) * m``, ``m`` being the mean grey of the image.
    """
    strengths = (brightness, contrast, saturation, cast, cast, cast)
    if not all(0 <= strength < 1 for strength in strengths):
        raise InputError(f"color_jitter expects strengths from 0 to below 1. Received: {strengths[:4]}")

    def step(image: Tensor, seed: Tensor) -> Tensor:
        factors = 1.0 + (2.0 * _uniform(seed, (6,)) - 1.0) * tf.constant(strengths)
        gains, contrasts, saturations = factors[0] * factors[3:], factors[1], factors[2]
        mixing = saturations * tf.linalg.diag(gains) + (1.0 - saturations) / 3.0 * gains[:, None]
        mean = tf.reduce_mean(tf.reduce_mean(image, (0, 1)) * gains)
        pixels = tf.matmul(tf.reshape(image, (-1, 3)), contrasts * mixing) + (1.0 - contrasts) * mean
        return tf.reshape(tf.clip_by_value(pixels, 0.0, 255.0), tf.shape(image))

    return step


def random_erasing(
    p: float = 0.25, min_area: float = 0.02, max_area: float = 0.25, min_aspect: float = 0.4, max_aspect: float = 2.5
) -> Step:
    """Paints a random rectangle in mid-grey (128) with probability ``p`` (arXiv 1708.04896).

    Args:
      p: probability.
      min_area: smallest part of the image's area.
      max_area: largest part.
      min_aspect: smallest width / height; the logarithm is drawn uniformly.
      max_aspect: largest width / height.
    """
    _check_probability("random_erasing", p)
    if not 0 < min_area <= max_area < 1 or not 0 < min_aspect <= max_aspect:
        raise InputError("random_erasing expects 0 < min_area <= max_area < 1 and 0 < min_aspect <= max_aspect.")

    def step(image: Tensor, seed: Tensor) -> Tensor:
        u = _uniform(seed, (5,))
        return tf.cond(u[0] < p, lambda: erased(image, u), lambda: image)

    def erased(image: Tensor, u: Tensor) -> Tensor:
        side = tf.shape(image)[:2]
        extent = tf.cast(side, tf.float32)
        area = (min_area + u[1] * (max_area - min_area)) * extent[0] * extent[1]
        aspect = min_aspect * (max_aspect / min_aspect) ** u[2]
        size = tf.minimum(tf.sqrt(tf.stack([area / aspect, area * aspect])), extent)
        begin = u[3:] * (extent - size)
        rows, columns = (tf.range(side[i], dtype=tf.float32) for i in (0, 1))
        inside_rows = (rows >= begin[0]) & (rows < begin[0] + size[0])
        inside_columns = (columns >= begin[1]) & (columns < begin[1] + size[1])
        return tf.where(inside_rows[:, None, None] & inside_columns[None, :, None], 128.0, image)

    return step


def rotate(
    degrees: float = 15.0,
    p: float = 1.0,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 128.0,
) -> Step:
    """Turns the image about its centre by a random angle, with the numbers of ``tfa.image.rotate``.

    Args:
      degrees: largest angle, to either side.
      p: probability.
      interpolation: ``"nearest"`` or ``"bilinear"``.
      fill_mode: the pixels beyond the border: ``"constant"``, ``"reflect"``, ``"wrap"`` or ``"nearest"``.
      fill_value: the constant; 128 is 0 for the network.
    """
    _check_probability("rotate", p)
    if not 0 <= degrees <= 180:
        raise InputError(f"rotate expects degrees in 0..180. Received: {degrees}")
    for name, value, choices in (
        ("interpolation", interpolation, image_ops.INTERPOLATIONS),
        ("fill_mode", fill_mode, image_ops.FILL_MODES),
    ):
        if value not in choices:
            raise InputError(f"rotate expects {name} among {', '.join(choices)}. Received: {value!r}")

    def step(image: Tensor, seed: Tensor) -> Tensor:
        u = _uniform(seed, (2,))
        angle = (2.0 * u[1] - 1.0) * math.radians(degrees)
        return tf.cond(
            u[0] < p, lambda: image_ops.rotate(image, angle, interpolation, fill_mode, fill_value), lambda: image
        )

    return step


def cutout(size: int | tuple[int, int] = 64, p: float = 1.0, value: float = 128.0) -> Step:
    """Paints a rectangle at a random place wholly inside the image, with the numbers of ``tfa.image.random_cutout``.

    Args:
      size: even side in pixels, or height and width; values from the image's side on paint the whole side.
      p: probability.
      value: the grey value; 128 is 0 for the network.
    """
    _check_probability("cutout", p)
    sides = size if isinstance(size, tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 and side % 2 == 0 for side in sides):
        raise InputError(f"cutout expects a size of even whole numbers above 0. Received: {size!r}")

    def step(image: Tensor, seed: Tensor) -> Tensor:
        u = _uniform(seed, (3,))
        shape, half = tf.shape(image)[:2], tf.constant(sides) // 2
        free = tf.cast(tf.maximum(shape - 2 * half, 0), tf.float32)
        drawn = tf.cast(tf.floor(u[1:] * free), tf.int32)
        centre = tf.where(2 * half >= shape, shape // 2, half + drawn)
        return tf.cond(u[0] < p, lambda: image_ops.cut_out(image, sides, centre, value), lambda: image)

    return step


def gaussian_blur(size: int = 9, min_sigma: float = 0.1, max_sigma: float = 2.0, p: float = 0.5) -> Step:
    """Blurs with a Gaussian of random width, with the numbers of ``tfa.image.gaussian_filter2d``.

    Args:
      size: side of the kernel in pixels; the image must be more than half as large.
      min_sigma: smallest standard deviation in pixels.
      max_sigma: largest standard deviation.
      p: probability.
    """
    _check_probability("gaussian_blur", p)
    if not isinstance(size, int) or not 2 <= size <= 63 or not 0 < min_sigma <= max_sigma:
        raise InputError(
            "gaussian_blur expects a whole size in 2..63 and 0 < min_sigma <= max_sigma. Received: "
            f"size={size}, min_sigma={min_sigma}, max_sigma={max_sigma}"
        )

    def step(image: Tensor, seed: Tensor) -> Tensor:
        u = _uniform(seed, (2,))
        sigma = min_sigma + u[1] * (max_sigma - min_sigma)
        return tf.cond(u[0] < p, lambda: image_ops.gaussian_blur(image, size, sigma), lambda: image)

    return step


def hsv_jitter(
    max_delta_hue: float = 0.1,
    lower_saturation: float = 0.8,
    upper_saturation: float = 1.2,
    lower_value: float = 0.8,
    upper_value: float = 1.2,
) -> Step:
    """Changes hue, saturation and value at random in YIQ, with the numbers of ``tfa.image.random_hsv_in_yiq``.

    Args:
      max_delta_hue: largest turn of the hue in radians, to either side.
      lower_saturation: smallest factor of the saturation.
      upper_saturation: largest.
      lower_value: smallest factor of the value.
      upper_value: largest.
    """
    factors_ordered = 0 <= lower_saturation <= upper_saturation and 0 <= lower_value <= upper_value
    if not 0 <= max_delta_hue <= math.pi or not factors_ordered:
        raise InputError("hsv_jitter expects 0 <= max_delta_hue <= pi and 0 <= lower <= upper for both factors.")

    def step(image: Tensor, seed: Tensor) -> Tensor:
        u = _uniform(seed, (3,))
        hue = (2.0 * u[0] - 1.0) * max_delta_hue
        saturation = lower_saturation + u[1] * (upper_saturation - lower_saturation)
        value = lower_value + u[2] * (upper_value - lower_value)
        return tf.clip_by_value(image_ops.adjust_hsv(image, hue, saturation, value), 0.0, 255.0)

    return step


AUGMENTATIONS: dict[str, Callable[..., Crop | Step]] = {
    "crop": Crop,
    "flip": flip,
    "color_jitter": color_jitter,
    "random_erasing": random_erasing,
    "rotate": rotate,
    "cutout": cutout,
    "gaussian_blur": gaussian_blur,
    "hsv_jitter": hsv_jitter,
}


@dataclass(frozen=True)
class Augmentation:
    """A crop, drawn before the photo is resized, and steps on the resized image.

    Attributes:
      crop: None uses the whole photo.
      steps: functions of ``(image (S, S, 3) float32 in 0..255, seed (2,) int64)`` to the new image.
    """

    crop: Crop | None = None
    steps: tuple[Step, ...] = ()

    def apply(self, image: Tensor, seed: Tensor) -> Tensor:
        """Runs the steps, each with its own seed."""
        for number, step in enumerate(self.steps, start=1):
            image = step(image, seed + tf.constant([number * 1_000_003, 0], tf.int64))
        return image


def build_augmentation(text: str) -> Augmentation:
    """Builds a chain such as ``"crop(min_area=0.3), flip, color_jitter(brightness=0.3)"``; ``""`` changes nothing.

    The crop comes first, before the resizing, wherever it is named; the other steps follow in their order.

    Raises:
      InputError: an unknown step, a bad argument, or more than one crop.
    """
    parts = [build(part, AUGMENTATIONS, "augmentation") for part in split(text)]
    crops = [part for part in parts if isinstance(part, Crop)]
    if len(crops) > 1:
        raise InputError(f"Expected at most one crop among the augmentations. Received: {text!r}")
    steps = (part for part in parts if not isinstance(part, Crop))
    return Augmentation(crops[0] if crops else None, tuple(map(_traceable, steps)))


def _traceable(step: Step) -> Step:
    """A step from outside as a ``tf.function``, which converts branches on tensors that are written as ``if``."""
    return step if step.__module__ == __name__ else tf.function(step)


def _uniform(seed: Tensor, shape: tuple[int, ...]) -> Tensor:
    return tf.random.stateless_uniform(shape, seed)


def _check_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise InputError(f"{name} expects a probability p in 0..1. Received: p={p}")

"""Operations on one training image; :mod:`training.input.augment` draws their parameters.

The numbers are those of ``tfa.image``. An image is ``(H, W, C)`` float32.
"""

from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any
INTERPOLATIONS = ("nearest", "bilinear")
FILL_MODES = ("constant", "reflect", "wrap", "nearest")
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # rows Y, I, Q of RGB


def rotate(
    image: Tensor, angle: Tensor, interpolation: str = "nearest", fill_mode: str = "constant", fill_value: float = 0.0
) -> Tensor:
    """Turns an image about its centre; the size stays (``tfa.image.rotate``).

    Args:
      image: ``(H, W, C)``.
      angle: radians, counter-clockwise as seen.
      interpolation: one of :data:`INTERPOLATIONS`.
      fill_mode: the pixels beyond the border, one of :data:`FILL_MODES`.
      fill_value: with ``"constant"``.
    """
    shape = tf.shape(image)
    middle = (tf.cast(shape[:2], tf.float32) - 1.0) / 2.0
    cos, sin = tf.cos(angle), tf.sin(angle)
    shift_x = middle[1] - (cos * middle[1] - sin * middle[0])
    shift_y = middle[0] - (sin * middle[1] + cos * middle[0])
    zero = tf.zeros_like(cos)
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack([cos, -sin, shift_x, sin, cos, shift_y, zero, zero])[None],
        output_shape=shape[:2],
        fill_value=fill_value,
        interpolation=interpolation.upper(),
        fill_mode=fill_mode.upper(),
    )
    return tf.ensure_shape(turned[0], image.shape)


def cut_out(image: Tensor, size: tuple[int, int], centre: Tensor, value: float = 0.0) -> Tensor:
    """Paints a rectangle (arXiv 1708.04552; ``tfa.image.cutout``).

    Args:
      image: ``(H, W, C)``.
      size: even height and width of the rectangle, which is cut at the borders of the image.
      centre: ``(2,)`` integers, row and column: the first pixel of the lower right quarter.
      value: the paint.
    """
    shape = tf.shape(image)
    inside = []
    for axis in (0, 1):
        position = tf.range(shape[axis]) - tf.cast(centre[axis], tf.int32)
        inside.append((position >= -(size[axis] // 2)) & (position < size[axis] // 2))
    return tf.where(inside[0][:, None, None] & inside[1][None, :, None], value, image)


def gaussian_blur(image: Tensor, size: int, sigma: Tensor, padding: str = "REFLECT") -> Tensor:
    """Convolution with a sampled Gaussian of sum 1 (``tfa.image.gaussian_filter2d``).

    Args:
      image: ``(H, W, C)``.
      size: side of the kernel in pixels; the centre of an even kernel is the pixel left of the middle.
      sigma: standard deviation in pixels, above 0.
      padding: ``"REFLECT"`` (the border pixel is not repeated), ``"SYMMETRIC"`` or ``"CONSTANT"`` (zeros).
    """
    offsets = tf.range(size, dtype=tf.float32) - float((size - 1) // 2)
    weights = tf.nn.softmax(-tf.square(offsets) / (2.0 * tf.square(sigma)))
    before = (size - 1) // 2
    around = [before, size - 1 - before]
    channels = image.shape[-1]
    padded = tf.pad(image, [around, around, [0, 0]], padding)[None]
    for kernel in (weights[:, None], weights[None, :]):
        depthwise = tf.tile(kernel[:, :, None, None], (1, 1, channels, 1))
        padded = tf.nn.depthwise_conv2d(padded, depthwise, (1, 1, 1, 1), "VALID")
    return tf.ensure_shape(padded[0], image.shape)


def adjust_hsv(image: Tensor, hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Turns the hue and scales saturation and value, all linearly in YIQ (``tfa.image.adjust_hsv_in_yiq``).

    Args:
      image: ``(H, W, 3)`` RGB.
      hue: turn of the I, Q plane in radians.
      saturation: factor of I and Q.
      value: factor of all channels.

    Returns:
      The image, not clipped.
    """
    forward, backward = (tf.constant(matrix, tf.float32) for matrix in (YIQ, np.linalg.inv(YIQ)))
    along, across = saturation * tf.cos(hue), saturation * tf.sin(hue)
    one, zero = tf.ones_like(along), tf.zeros_like(along)
    change = tf.stack([tf.stack([one, zero, zero]), tf.stack([zero, along, -across]), tf.stack([zero, across, along])])
    matrix = value * tf.matmul(backward, tf.matmul(change, forward))
    return tf.reshape(tf.matmul(tf.reshape(image, (-1, 3)), matrix, transpose_b=True), tf.shape(image))

"""Batch normalisation while training: by TensorFlow's fused kernel, or with the statistics of all replicas.

The fused kernel gives the same numbers as the Keras layer, in one pass.
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

Tensor = Any


def fuse_batch_normalization(layers: Iterable[keras.layers.Layer]) -> int:
    """Lets batch normalisations compute their training mode with the fused kernel; inference is left as it is.

    The moving variance stays that of plain moments; the kernel's factor ``n / (n - 1)`` is taken out again.

    Args:
      layers: layers of a built model; others than batch normalisations over the last axis are passed over, and so are
        those that compute in float64, which the kernel does not know.

    Returns:
      How many were changed.
    """
    changed = 0
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization) and _fits(layer):
            layer.call = _fused(layer, layer.call)
            changed += 1
    return changed


def synchronize_batch_normalization(layers: Iterable[keras.layers.Layer]) -> int:
    """Lets batch normalisations take their statistics over all replicas.

    Args:
      layers: layers of a built model; others than batch normalisations are passed over.

    Returns:
      How many were changed.
    """
    normalizations = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalizations:
        layer.synchronized = True
    return len(normalizations)


def _fits(layer: Any) -> bool:
    axis_is_last = layer.axis in (-1, 3)
    return (
        not layer.synchronized
        and axis_is_last
        and layer.center
        and layer.scale
        and layer.trainable
        and layer.compute_dtype != "float64"
    )


def _fused(layer: Any, plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        if not training:
            return plain(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.cast(layer.gamma, tf.float32),
            tf.cast(layer.beta, tf.float32),
            epsilon=layer.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
        variance *= (count - 1.0) / count
        for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + value * (1.0 - layer.momentum))
        return outputs

    return call

"""Poolings of a feature map to one vector, chosen by name."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Tensor = Any


class GeM(keras.layers.Layer):
    """Generalised-mean pooling ``(mean_hw max(x, epsilon)^p)^(1/p)`` (arXiv 1711.02512, equation 3).

    Computed in float32 whatever the dtype policy, because ``epsilon^p`` underflows in half precision.

    Args:
      p: the exponent; 1 is the mean, large values approach the maximum. The released DELG value is 3.
      epsilon: floor of the activations.

    Example:
      >>> GeM(p=3.0)(keras.ops.ones((2, 7, 7, 16))).shape
      (2, 16)
    """

    def __init__(self, p: float = 3.0, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if p <= 0:
            raise ValueError(f"GeM expects p > 0. Received: p={p}")
        self.p, self.epsilon = float(p), float(epsilon)

    def call(self, x: Tensor) -> Tensor:
        """Pools ``(B, h, w, C)`` to ``(B, C)``."""
        x = ops.maximum(ops.cast(x, "float32"), self.epsilon)
        return ops.power(ops.mean(ops.power(x, self.p), axis=(1, 2)), 1.0 / self.p)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """``(B, C)``."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "p": self.p, "epsilon": self.epsilon}


def gem(p: float = 3.0, epsilon: float = 1e-6) -> keras.layers.Layer:
    """:class:`GeM`."""
    return GeM(p, epsilon, name="pooling")


def average() -> keras.layers.Layer:
    """The mean over positions, as in the DELF baseline."""
    return keras.layers.GlobalAveragePooling2D(name="pooling")


POOLINGS: dict[str, Callable[..., keras.layers.Layer]] = {"gem": gem, "average": average}

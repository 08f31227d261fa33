"""Activations other than ReLU."""

from typing import Any

import keras
from keras import ops

Tensor = Any
ALPHA = 0.014


class ReLUP(keras.layers.Layer):
    """``max(x, alpha)``: small and negative values are raised to a floor (SuperGlobal, arXiv 2308.06954).

    A floor and not a shift: ``ReLUP(0.0)`` is ReLU, and values above ``alpha`` stay what they are.

    Args:
      alpha: the floor; the released value is 0.014.

    Example:
      >>> ReLUP()(keras.ops.array([-1.0, 0.01, 0.5]))
      [0.014, 0.014, 0.5]
    """

    def __init__(self, alpha: float = ALPHA, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = float(alpha)

    def call(self, x: Tensor) -> Tensor:
        """Same shape and dtype as ``x``."""
        return ops.maximum(x, self.alpha)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "alpha": self.alpha}

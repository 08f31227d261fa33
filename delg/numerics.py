"""Small numerical functions shared by the heads and the losses."""

from typing import Any

import keras
from keras import ops

Tensor = Any
TORCH_EPSILON = 1e-24  # makes l2_normalize divide by max(|x|, 1e-12), as PyTorch's F.normalize


def l2_normalize(x: Tensor, axis: int = -1, epsilon: float = 1e-12) -> Tensor:
    """``x / sqrt(max(sum(x^2), epsilon))`` along one axis, the released code's L2 normalisation.

    Args:
      x: floating-point tensor of any shape.
      axis: the axis of the vectors.
      epsilon: lower bound of the squared norm; a zero vector stays zero.

    Returns:
      A tensor of the same shape and dtype.
    """
    squared = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squared, epsilon))


def full_precision() -> str:
    """Dtype of computations that need full precision: float64 where Keras' floatx is float64, else float32."""
    return "float64" if keras.config.floatx() == "float64" else "float32"


def float32_at_least(x: Tensor) -> Tensor:
    """Half precision as float32; a wider tensor as it is."""
    return ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16") else x

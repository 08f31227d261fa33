"""Optimizers by name. Each is a Keras optimizer; the trainer sets its learning rate at every step."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from protos.errors import InputError
from protos.spec import build

Tensor = Any
Optimizer = Any  # keras.optimizers.Optimizer
NOT_DECAYED = ("bias", "gamma", "beta")


def sgd(momentum: float = 0.9, nesterov: bool = False) -> Optimizer:
    """``v = momentum * v - lr * g; w = w + v`` (released: momentum 0.9, no Nesterov, no weight decay)."""
    if not 0 <= momentum < 1:
        raise InputError(f"sgd expects a momentum in 0 <= momentum < 1. Received: {momentum}")
    return keras.optimizers.SGD(learning_rate=0.0, momentum=momentum, nesterov=nesterov)


def adamw(weight_decay: float = 0.05, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> Optimizer:
    """Adam with decoupled weight decay (arXiv 1711.05101); biases and normalisation layers are not decayed."""
    if weight_decay < 0:
        raise InputError(f"adamw expects a weight_decay of 0 or more. Received: {weight_decay}")
    optimizer = keras.optimizers.AdamW(
        learning_rate=0.0, weight_decay=weight_decay, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon
    )
    optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    return optimizer


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "adamw": adamw}


def build_optimizer(text: str) -> Optimizer:
    """Builds an optimizer such as ``"sgd(momentum=0.9)"`` or ``"adamw(weight_decay=0.05)"``.

    Raises:
      InputError: an unknown name or a bad argument.
    """
    optimizer: Optimizer = build(text, OPTIMIZERS, "optimizer")
    return optimizer


def clip_by_global_norm(gradients: Sequence[Tensor], clip_norm: float) -> tuple[list[Tensor], Tensor]:
    """Scales all gradients by ``min(1, clip_norm / norm)``, ``norm`` being that of all of them together.

    Where the norm is not finite every gradient becomes 0, so that the weights stay as they were and the cause can
    still be found.

    Args:
      gradients: floating-point tensors.
      clip_norm: the largest norm (released: 10).

    Returns:
      The gradients, and the scalar norm before clipping.
    """
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
    scale = clip_norm / ops.maximum(norm, clip_norm)
    finite = ops.isfinite(norm)
    return [ops.where(finite, gradient * scale, ops.zeros_like(gradient)) for gradient in gradients], norm

"""Optimizers by name. Each is a Keras optimizer; the trainer sets its learning rate at every step.

Weight decay comes in two forms. That of Keras takes ``lr * weight_decay * w`` from a weight at every step, so that it
fades with the learning rate. That of tensorflow-addons takes ``weight_decay * w`` whatever the rate; with the same
result for a constant rate ``lr``, its ``weight_decay`` is ``lr`` times the Keras one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from delg.common.errors import InputError
from delg.common.spec import build
from delg.keras_settings import own_settings

Tensor = Any
Optimizer = Any  # keras.optimizers.Optimizer
NOT_DECAYED = ("bias", "gamma", "beta", r"^p(:\d+)?$")  # names of variables; p is the exponent of a learned pooling


class _PerReplica:
    """Every replica updates its own copy of the weights: the gradients that it is given are summed already.

    (The optimizers of Keras sum the gradients themselves, so that clipping would come before the sum.)
    """

    weight_decay: float | None
    update_step: Callable[[Tensor, Any, Tensor], None]
    _use_weight_decay: Callable[[Any], bool]

    def _backend_update_step(self, grads: Sequence[Tensor], variables: Sequence[Any], learning_rate: Tensor) -> None:
        for gradient, variable in zip(grads, variables):
            self.update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        for variable in variables:
            if self.weight_decay is not None and self._use_weight_decay(variable):
                rate = ops.cast(self.learning_rate, variable.dtype)  # type: ignore[attr-defined]
                variable.assign(variable - variable * ops.cast(self.weight_decay, variable.dtype) * rate)


class SGD(_PerReplica, keras.optimizers.SGD):
    """Keras' stochastic gradient descent."""


class AdamW(_PerReplica, keras.optimizers.AdamW):
    """Keras' Adam with decoupled decay."""


class _DecayOfAddons(_PerReplica):
    """Takes ``weight_decay * w`` from every decayed weight before the update, whatever the learning rate."""

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        for variable in variables:
            if self._use_weight_decay(variable):
                variable.assign(variable - variable * ops.cast(self.weight_decay, variable.dtype))


class AddonsAdamW(_DecayOfAddons, keras.optimizers.Adam):
    """Adam with the decay of ``tfa.optimizers.AdamW``."""


class AddonsSGDW(_DecayOfAddons, keras.optimizers.SGD):
    """Stochastic gradient descent with the decay of ``tfa.optimizers.SGDW``."""


def sgd(momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """``v = momentum * v - lr * g; w = w + v`` (released: momentum 0.9, no Nesterov, no weight decay).

    Args:
      momentum: 0 or more, below 1.
      nesterov: look ahead: ``w = w + momentum * v - lr * g``.
      weight_decay: before this, ``w = w - lr * weight_decay * w``; not of biases and normalisation layers.
    """
    _check("sgd", momentum, weight_decay)
    decay = weight_decay or None
    optimizer = SGD(learning_rate=0.0, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    return _kernels_only(optimizer) if decay else optimizer


def adamw(weight_decay: float = 0.05, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> Optimizer:
    """Adam with the decay of Keras, ``w = w - lr * weight_decay * w`` before the update (arXiv 1711.05101).

    Biases and normalisation layers are not decayed.
    """
    _check("adamw", 0.0, weight_decay)
    optimizer = AdamW(learning_rate=0.0, weight_decay=weight_decay, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
    return _kernels_only(optimizer)


def sgdw_addons(
    weight_decay: float, momentum: float = 0.0, nesterov: bool = False, kernels_only: bool = False
) -> Optimizer:
    """``tfa.optimizers.SGDW``: ``w = w - weight_decay * w``, then :func:`sgd`.

    Args:
      weight_decay: not multiplied by the learning rate.
      momentum: 0 or more, below 1.
      nesterov: look ahead.
      kernels_only: spare biases and normalisation layers; by default all weights are decayed, as there.
    """
    _check("sgdw_addons", momentum, weight_decay)
    optimizer = AddonsSGDW(learning_rate=0.0, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    return _kernels_only(optimizer) if kernels_only else optimizer


def adamw_addons(
    weight_decay: float,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    amsgrad: bool = False,
    kernels_only: bool = False,
) -> Optimizer:
    """``tfa.optimizers.AdamW``: ``w = w - weight_decay * w``, then Adam.

    Args:
      weight_decay: not multiplied by the learning rate.
      beta_1: decay of the mean of the gradients.
      beta_2: decay of the mean of their squares.
      epsilon: added to the root of that mean.
      amsgrad: divide by the largest root so far.
      kernels_only: spare biases and normalisation layers; by default all weights are decayed, as there.
    """
    _check("adamw_addons", 0.0, weight_decay)
    optimizer = AddonsAdamW(
        learning_rate=0.0,
        weight_decay=weight_decay,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        amsgrad=amsgrad,
    )
    return _kernels_only(optimizer) if kernels_only else optimizer


def _check(name: str, momentum: float, weight_decay: float) -> None:
    if not 0 <= momentum < 1:
        raise InputError(f"{name} expects a momentum in 0 <= momentum < 1. Received: {momentum}")
    if weight_decay < 0:
        raise InputError(f"{name} expects a weight_decay of 0 or more. Received: {weight_decay}")


def _kernels_only(optimizer: Optimizer) -> Optimizer:
    optimizer.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    return optimizer


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adamw": adamw,
    "sgdw_addons": sgdw_addons,
    "adamw_addons": adamw_addons,
}


def build_optimizer(text: str) -> Optimizer:
    """Builds an optimizer such as ``"sgd(momentum=0.9)"`` or ``"adamw(weight_decay=0.05)"``.

    Raises:
      InputError: an unknown name or a bad argument.
    """
    with own_settings():
        optimizer: Optimizer = build(text, OPTIMIZERS, "optimizer", base=keras.optimizers.Optimizer)
    return optimizer


def clip_by_global_norm(gradients: Sequence[Tensor], clip_norm: float) -> tuple[list[Tensor], Tensor]:
    """Scales all gradients by ``min(1, clip_norm / norm)``, ``norm`` being that of all of them together.

    Where the norm is not finite the gradients are of no use.

    Args:
      gradients: floating-point tensors.
      clip_norm: the largest norm (released: 10).

    Returns:
      The gradients, and the scalar norm before clipping.
    """
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
    scale = clip_norm / ops.maximum(norm, clip_norm)
    return [gradient * scale for gradient in gradients], norm

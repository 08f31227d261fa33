"""Finds the tensor in which a training step first met NaN or infinity."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from protos.errors import InputError
from training.computation import StepConfig, compute, forward
from training.losses import delg_losses

Tensor = Any


class NotFiniteError(InputError):
    """Training met NaN or infinity; the message names the tensor."""


def first_not_finite(model: Any, images: Tensor, labels: Tensor, config: StepConfig) -> str:
    """Repeats a step without its update and names the first tensor that is not finite.

    Looked at in the order of the computation: images, weights, feature maps, outputs, logits, losses, gradients. The
    names are those of the model's variables and outputs.

    Args:
      model: the model, as it was left by the step.
      images: ``(B, S, S, 3)`` in 0..255.
      labels: ``(B,)``.
      config: of the step.
    """
    for name, value in _tensors(model, images, labels, config):
        if not np.isfinite(ops.convert_to_numpy(value)).all():
            return name
    return "the gradient norm"


def _tensors(model: Any, images: Tensor, labels: Tensor, config: StepConfig) -> Iterator[tuple[str, Tensor]]:
    yield "the images", images
    for variable in model.trainable_variables:
        yield f"the weight {variable.path}", variable
    maps, outputs = forward(model, images, training=True)
    for name, value in maps.items():
        yield f"the feature map {name}", value
    for name, value in outputs.items():
        yield f"the output {name}", value
    values = delg_losses(model, outputs, labels, config.global_loss)
    for name in ("desc_logits", "attn_logits"):
        if name in values:
            yield f"the {name}", values.pop(name)
    for name, value in values.items():
        yield f"the loss {name}", value
    gradients = compute(model, images, labels, config).gradients
    for variable, gradient in zip(model.trainable_variables, gradients):
        yield f"the gradient of {variable.path}", gradient

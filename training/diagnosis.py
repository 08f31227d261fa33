"""Finds the tensor in which a training step first met NaN or infinity.

A step of :mod:`training.backends` repeats itself without its update and asks here, of each of
its parts, which tensors are not finite; the answers of all parts, replicas and processes are added up.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from delg.common.errors import InputError
from training.computation import Computation, trained

Tensor = Any


class NotFiniteError(InputError):
    """Training met NaN or infinity; the message names the tensor."""


def tensors(
    model: Any, images: Tensor, computed: Computation, *, frozen: bool, rows: Sequence[tuple[str, Tensor]] = ()
) -> dict[str, Tensor]:
    """The tensors of a part of a step by name, in the order of the computation.

    Images, weights, feature maps, outputs, logits, losses, gradients; the names are those of the model's variables and
    outputs.

    Args:
      model: a :class:`delg.model.Delg`.
      images: ``(B, S, S, 3)`` in 0..255.
      computed: of these images.
      frozen: see :func:`training.computation.forward`.
      rows: of sampled classes, by the paths of the tables that they were taken from.
    """
    learned = trained(model, frozen)
    weights = model.trainable_variables + (model.backbone.non_trainable_variables if frozen else [])
    logits = {name: value for name, value in computed.values.items() if name.endswith("_logits")}
    losses = {name: value for name, value in computed.values.items() if name not in logits}
    paths = [*(variable.path for variable in learned), *(path for path, _ in rows)]
    return (
        {"the images": images}
        | {f"the weight {variable.path}": variable for variable in weights}
        | {f"the weight {path}": value for path, value in rows}
        | {f"the feature map {name}": value for name, value in computed.maps.items()}
        | {f"the output {name}": value for name, value in computed.outputs.items()}
        | {f"the {name}": value for name, value in logits.items()}
        | {f"the loss {name}": value for name, value in losses.items()}
        | {f"the gradient of {path}": value for path, value in zip(paths, computed.gradients, strict=True)}
    )


def flaws(tensors_by_name: dict[str, Tensor]) -> Tensor:
    """``(n,)`` float32: 1 for each of :func:`tensors` that holds a number that is not finite, else 0."""
    bad = [ops.logical_not(ops.all(ops.isfinite(ops.convert_to_tensor(value)))) for value in tensors_by_name.values()]
    return ops.cast(ops.stack(bad), "float32")


def first_flaw(names: Sequence[str], counts: Tensor) -> str:
    """The name of the first tensor with a flaw.

    Args:
      names: of :func:`tensors`.
      counts: sums of :func:`flaws`; where all are 0, the norm of the gradients overflowed.
    """
    bad = np.flatnonzero(ops.convert_to_numpy(counts))
    return names[bad[0]] if len(bad) else "the gradient norm"

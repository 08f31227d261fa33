"""The loss of the global descriptor by name: ArcFace (released), one on pairs of the batch, or a user's function.

Losses on pairs need several images of a class in a batch: the pairs are all pairs of the batch.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from delg.common.errors import InputError, first_line
from delg.common.spec import build, plug_in
from delg.numerics import l2_normalize
from training.gradients import gradients_of
from training.losses.metric import DISTANCES, all_pairs_contrastive_loss, npairs_loss, triplet_semihard_loss

Tensor = Any
Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class GlobalLoss:
    """A loss on the global descriptors that takes the place of ArcFace.

    Attributes:
      name: as chosen.
      function: of labels ``(B,)`` int64 and the model's descriptors ``(B, D)``, not normalised, to a scalar or to
        values whose mean is the loss.
    """

    name: str
    function: Function

    def __call__(self, labels: Tensor, descriptors: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar in float32 at least."""
        value = ops.convert_to_tensor(self.function(labels, descriptors))
        return ops.mean(ops.cast(value, "float64" if value.dtype == "float64" else "float32"))


def triplet_semihard(margin: float = 1.0, distance: str = "L2", normalize: bool = True) -> Function:
    """:func:`training.losses.metric.triplet_semihard_loss`.

    Args:
      margin: wanted difference of the distances.
      distance: ``"L2"``, ``"squared-L2"`` or ``"angular"``.
      normalize: L2-normalise the descriptors first, as they are when searching.
    """
    _check_margin("triplet_semihard", margin)
    if distance not in DISTANCES:
        raise InputError(f"triplet_semihard expects a distance among {', '.join(DISTANCES)}. Received: {distance!r}")
    return lambda labels, x: triplet_semihard_loss(labels, _unit(x, normalize), margin, distance)


def contrastive(margin: float = 1.0, normalize: bool = True) -> Function:
    """:func:`training.losses.metric.all_pairs_contrastive_loss`: the mean over all pairs of the batch.

    Args:
      margin: pairs of two classes farther than this cost nothing.
      normalize: L2-normalise the descriptors first.
    """
    _check_margin("contrastive", margin)
    return lambda labels, x: all_pairs_contrastive_loss(labels, _unit(x, normalize), margin)


def npairs(scale: float = 1.0, normalize: bool = True) -> Function:
    """:func:`training.losses.metric.npairs_loss` of the batch with itself, a row's likeness to itself included.

    Args:
      scale: factor of the similarities; of cosines, 16 to 64 make the softmax sharp enough to learn well.
      normalize: L2-normalise the descriptors first.
    """
    if not scale > 0:
        raise InputError(f"npairs expects a scale above 0. Received: {scale}")

    def loss(labels: Tensor, x: Tensor) -> Tensor:
        x = _unit(x, normalize)
        return npairs_loss(labels, scale * ops.matmul(x, ops.transpose(x)))

    return loss


def arcface() -> None:
    """The cosine classifier with the margin (released); see :class:`delg.classifiers.arcface.ArcFace`."""


GLOBAL_LOSSES: dict[str, Callable[..., Function | None]] = {
    "arcface": arcface,
    "triplet_semihard": triplet_semihard,
    "contrastive": contrastive,
    "npairs": npairs,
}


def build_global_loss(text: str) -> GlobalLoss | None:
    """Builds a loss such as ``"triplet_semihard(margin=0.3)"`` or finds that of a user, ``"module:function"``.

    The function gets ``y_true``, the labels ``(B,)`` int64, and ``y_pred``, the descriptors ``(B, D)`` as they leave
    the model, not normalised; the mean of its result is the loss.

    Returns:
      The loss; None for ArcFace.

    Raises:
      InputError: an unknown name, a bad argument, or a function that cannot be used.
    """
    if ":" in text and "(" not in text:
        return GlobalLoss(text, _imported(text))
    function = build(text, GLOBAL_LOSSES, "global loss")
    return GlobalLoss(text, function) if function else None


def check_global_loss(loss: GlobalLoss, embedding_dim: int) -> None:
    """Tries a loss on four made-up descriptors of two classes, so that it fails before the training and not in it.

    Raises:
      InputError: the loss raises, gives no number, or has no gradient.
    """
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(4, embedding_dim)), "float32")
    labels = ops.convert_to_tensor(np.array([0, 0, 1, 1]))
    try:
        value, (gradient,) = gradients_of(lambda x: (loss(labels, x),) * 2, (), [x])
    except Exception as error:
        raise InputError(
            f"The global loss {loss.name} failed on labels (4,) and descriptors (4, {embedding_dim}): "
            f"{first_line(error)}"
        ) from error
    if gradient is None:
        raise InputError(f"The global loss {loss.name} has no gradient with respect to its second argument, y_pred.")
    if not np.isfinite(float(value)):
        raise InputError(f"The global loss {loss.name} gave {float(value)} on four made-up descriptors.")


def _imported(text: str) -> Function:
    """The function that ``module:function`` names."""
    function = plug_in(text, "global loss")
    if inspect.isclass(function):
        raise InputError(f"The global loss {text!r} must be a function, not a class.")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise InputError(f"The global loss {text!r} must accept two arguments, y_true and y_pred: {error}.") from error
    except ValueError:
        pass  # a built-in function without a known signature
    return function


def _unit(x: Tensor, normalize: bool) -> Tensor:
    return l2_normalize(x) if normalize else x


def _check_margin(name: str, margin: float) -> None:
    if not margin > 0:
        raise InputError(f"{name} expects a margin above 0. Received: {margin}")

"""The classifiers of the global descriptor that can be chosen by name; they take part in training only."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from delg.classifiers.arcface import ArcFace
from delg.classifiers.cosine import CosineClassifier, MarginClassifier, at_labels, replica_mean, with_angular_margin
from delg.common.errors import InputError

Tensor = Any


class CosFace(MarginClassifier):
    """``logit_c = scale * (cos(theta_c) - margin * [c is the true class])`` (arXiv 1801.09414, equation 4)."""

    def penalized(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        return self.scale * (cosine - self.margin * ops.one_hot(labels, cosine.shape[-1], dtype=cosine.dtype))


class CurricularFace(MarginClassifier):
    """ArcFace that weighs hard negatives more and more (arXiv 2004.00288, equations 8 to 11).

    The true class gets ``p = cos(theta + margin)``, and ``cos(theta) - margin * sin(margin)`` where ``theta + margin``
    would pass pi, as in its released code. A negative of cosine ``n > p`` becomes ``n * (t + n)``; ``t`` is the moving
    average, with momentum 0.99, of the cosines of the true classes over the global batch.
    """

    MOMENTUM = 0.99

    def build(self, input_shape: tuple) -> None:
        """Makes the class vectors and ``t``."""
        super().build(input_shape)
        self.t = self.add_weight(shape=(), initializer="zeros", name="t", trainable=False)

    def penalized(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """See the class; ``t`` moves before it is used."""
        target = at_labels(cosine, labels)
        mean = ops.stop_gradient(replica_mean(target))
        self.t.assign(self.MOMENTUM * self.t + (1.0 - self.MOMENTUM) * ops.cast(mean, self.t.dtype))
        positive = with_angular_margin(target, math.cos(self.margin), math.sin(self.margin))
        hard = cosine > positive
        negatives = ops.where(hard, cosine * (ops.cast(self.t, cosine.dtype) + cosine), cosine)
        past = target - self.margin * math.sin(self.margin)
        positive = ops.where(target > -math.cos(self.margin), positive, past)
        true_class = ops.one_hot(labels, cosine.shape[-1], dtype=cosine.dtype)
        return self.scale * (negatives + true_class * (positive - negatives))


class AdaCos(CosineClassifier):
    """Cosines without a margin, whose scale adapts itself (arXiv 1905.00292, equations 9, 15 and 16).

    The scale begins at ``sqrt(2) * log(num_classes - 1)``. At every batch it becomes ``log(B) / cos(min(pi / 4,
    median(theta)))``; ``theta`` are the angles of the true classes and ``B`` is the mean over the batch of
    ``sum_{c not true} exp(scale * cos(theta_c))``. With several replicas the median is the mean of theirs. Where a step
    trains a sample of the classes, that sum is over the sample, as the softmax is: with a tenth of the classes ``B`` is
    about a tenth and the scale lower by ``log(10)`` to ``log(10) * sqrt(2)``; its start is that of all classes.

    Args:
      num_classes: number of classes; with 2 the scale would begin at 0, so that at least 3 are needed.
      rows: see :class:`delg.classifiers.cosine.CosineClassifier`.
    """

    def __init__(self, num_classes: int, rows: bool = False, **kwargs: Any) -> None:
        if num_classes < 3:
            raise InputError(f"adacos needs at least three classes. Received: {num_classes}")
        super().__init__(num_classes, math.sqrt(2.0) * math.log(num_classes - 1), rows, **kwargs)

    def build(self, input_shape: tuple) -> None:
        """Makes the class vectors and the scale."""
        super().build(input_shape)
        start = keras.initializers.Constant(self.scale)
        self.scale = self.add_weight(shape=(), initializer=start, name="scale", trainable=False)

    def penalized(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """See the class; the scale moves before it is used."""
        fixed = ops.stop_gradient(cosine)
        false_class = 1.0 - ops.one_hot(labels, cosine.shape[-1], dtype=cosine.dtype)
        exponents = ops.exp(ops.cast(self.scale, cosine.dtype) * fixed)
        spread = replica_mean(ops.sum(false_class * exponents, axis=1))
        angles = ops.arccos(ops.clip(at_labels(fixed, labels), -1.0, 1.0))
        median = replica_mean(ops.reshape(ops.median(angles), (1,)))
        scale = ops.log(ops.maximum(spread, 1.0 + 1e-6)) / ops.cos(ops.minimum(median, math.pi / 4))
        self.scale.assign(ops.cast(scale, self.scale.dtype))
        return ops.cast(self.scale, cosine.dtype) * cosine


def arcface(
    num_classes: int, default_margin: float, default_scale: float, rows: bool, *,
    margin: float | None = None, scale: float | None = None,
) -> ArcFace:  # fmt: skip
    """:class:`delg.classifiers.arcface.ArcFace`; margin and scale are the model's unless given (released)."""
    chosen_margin = default_margin if margin is None else margin
    return ArcFace(num_classes, chosen_margin, scale or default_scale, rows, name="classifier")


def cosface(
    num_classes: int, default_margin: float, default_scale: float, rows: bool, *,
    margin: float = 0.35, scale: float | None = None,
) -> CosFace:  # fmt: skip
    """:class:`CosFace`; the scale is the model's unless given."""
    return CosFace(num_classes, margin, scale or default_scale, rows, name="classifier")


def curricularface(
    num_classes: int, default_margin: float, default_scale: float, rows: bool, *,
    margin: float = 0.5, scale: float | None = None,
) -> CurricularFace:  # fmt: skip
    """:class:`CurricularFace`; the scale is the model's unless given."""
    return CurricularFace(num_classes, margin, scale or default_scale, rows, name="classifier")


def adacos(num_classes: int, default_margin: float, default_scale: float, rows: bool) -> AdaCos:
    """:class:`AdaCos`."""
    return AdaCos(num_classes, rows, name="classifier")


CLASSIFIERS: dict[str, Callable[..., CosineClassifier]] = {
    "arcface": arcface,
    "cosface": cosface,
    "curricularface": curricularface,
    "adacos": adacos,
}

"""The cosine classifier with the ArcFace margin (arXiv 1801.07698, equation 3; arXiv 2001.05027, equation 3)."""

import math
from typing import Any

import keras
from keras import ops

from delg.numerics import full_precision, l2_normalize

Tensor = Any


class ArcFace(keras.layers.Layer):
    """Scaled cosines of embeddings and class vectors, with an angular margin for the true class.

    ``logit_c = scale * cos(theta_c + margin * [c is the true class])``. Where ``theta + margin`` would pass pi the
    true class keeps ``cos(theta)``, as released. The sine is taken from a clipped square, so that neither the value nor
    the gradient can be NaN at a cosine of one. Computed in float32 whatever the dtype policy.

    Args:
      num_classes: number of classes.
      margin: angular margin in radians (released: 0.1).
      scale: factor of the cosines (released: 45.25, the root of 2048).
    """

    def __init__(self, num_classes: int, margin: float = 0.1, scale: float = 45.25, **kwargs: Any) -> None:
        super().__init__(**{"dtype": full_precision(), **kwargs})
        self.num_classes, self.margin, self.scale = num_classes, margin, scale

    def build(self, input_shape: tuple) -> None:
        """Makes the class vectors ``(D, num_classes)``."""
        shape = (input_shape[-1], self.num_classes)
        self.cosine_weights = self.add_weight(shape=shape, initializer="glorot_uniform", name="cosine_weights")

    def call(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        """Classifies.

        Args:
          embeddings: ``(B, D)``, of any norm.
          labels: ``(B,)`` integer classes to which the margin is applied; None for no margin (validation).

        Returns:
          ``(B, num_classes)`` float32 logits.
        """
        unit = l2_normalize(ops.cast(embeddings, self.compute_dtype))
        cosine = ops.clip(ops.matmul(unit, l2_normalize(self.cosine_weights, axis=0)), -1.0, 1.0)
        if labels is None:
            return self.scale * cosine
        sine = ops.sqrt(ops.maximum(1.0 - ops.square(cosine), 1e-12))
        shifted = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        shifted = ops.where(cosine >= -math.cos(self.margin), shifted, cosine)
        true_class = ops.one_hot(labels, self.num_classes, dtype=cosine.dtype)
        return self.scale * (cosine + true_class * (shifted - cosine))

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        own = {"num_classes": self.num_classes, "margin": self.margin, "scale": self.scale}
        return {**super().get_config(), **own}

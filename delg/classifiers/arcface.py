"""The cosine classifier with the ArcFace margin (arXiv 1801.07698, equation 3; arXiv 2001.05027, equation 3)."""

import math
from typing import Any

from keras import ops

from delg.classifiers.cosine import CosineClassifier, with_angular_margin

Tensor = Any


class ArcFace(CosineClassifier):
    """Scaled cosines of embeddings and class vectors, with an angular margin for the true class.

    ``logit_c = scale * cos(theta_c + margin * [c is the true class])``. Where ``theta + margin`` would pass pi the
    true class keeps ``cos(theta)``, as released. The sine is taken from a clipped square, so that neither the value nor
    the gradient can be NaN at a cosine of one.

    Args:
      num_classes: number of classes.
      margin: angular margin in radians (released: 0.1).
      scale: factor of the cosines (released: 45.25, the root of 2048).
      rows: see :class:`delg.classifiers.cosine.CosineClassifier`.
    """

    def __init__(
        self, num_classes: int, margin: float = 0.1, scale: float = 45.25, rows: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, scale, rows, **kwargs)
        self.margin = margin

    def penalized(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        shifted = with_angular_margin(cosine, math.cos(self.margin), math.sin(self.margin))
        shifted = ops.where(cosine >= -math.cos(self.margin), shifted, cosine)
        true_class = ops.one_hot(labels, cosine.shape[-1], dtype=cosine.dtype)
        return self.scale * (cosine + true_class * (shifted - cosine))

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}

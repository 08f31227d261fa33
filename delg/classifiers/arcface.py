"""The cosine classifier with the ArcFace margin (arXiv 1801.07698, equation 3; arXiv 2001.05027, equation 3)."""

import math
from typing import Any

from keras import ops

from delg.classifiers.cosine import MarginClassifier, with_angular_margin

Tensor = Any


class ArcFace(MarginClassifier):
    """Scaled cosines of embeddings and class vectors, with an angular margin for the true class.

    ``logit_c = scale * cos(theta_c + margin * [c is the true class])``. Where ``theta + margin`` would pass pi the
    true class keeps ``cos(theta)``, as released. The sine is taken from a clipped square, so that neither the value nor
    the gradient can be NaN at a cosine of one.
    """

    def penalized(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        shifted = with_angular_margin(cosine, math.cos(self.margin), math.sin(self.margin))
        shifted = ops.where(cosine >= -math.cos(self.margin), shifted, cosine)
        true_class = ops.one_hot(labels, cosine.shape[-1], dtype=cosine.dtype)
        return self.scale * (cosine + true_class * (shifted - cosine))

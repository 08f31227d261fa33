"""What the cosine classifiers share: class vectors, cosines, a scale, and a penalty of the true class."""

from typing import Any

import keras
from keras import ops

from delg.numerics import full_precision, l2_normalize

Tensor = Any


class CosineClassifier(keras.layers.Layer):
    """Scaled cosines of embeddings and class vectors; a subclass says how the true class is penalised in training.

    Computed in float32, whatever the dtype policy; in float64 where that is Keras' floatx.

    Args:
      num_classes: number of classes.
      scale: factor of the cosines.
      rows: keep a class vector in a row and leave its training to :class:`training.sampled.SampledHead`; otherwise it
        is a column and is trained like every weight. Whatever is then counted over classes in training (softmax,
        accuracy, the state of a subclass) is over the classes of the sample.
    """

    scale: Any

    def __init__(self, num_classes: int, scale: float, rows: bool = False, **kwargs: Any) -> None:
        super().__init__(**{"dtype": full_precision(), **kwargs})
        self.num_classes, self.scale, self.rows = num_classes, scale, rows

    def build(self, input_shape: tuple) -> None:
        """Makes the class vectors, ``(D, num_classes)``, or ``(num_classes, D)`` in rows."""
        shape = (input_shape[-1], self.num_classes)
        if self.rows:
            self.class_vectors = self.add_weight(
                shape=shape[::-1], initializer="glorot_uniform", name="class_vectors", trainable=False
            )
        else:
            self.cosine_weights = self.add_weight(shape=shape, initializer="glorot_uniform", name="cosine_weights")

    def call(self, embeddings: Tensor, labels: Tensor | None = None, vectors: Tensor | None = None) -> Tensor:
        """Classifies.

        Args:
          embeddings: ``(B, D)``, of any norm.
          labels: ``(B,)`` integer classes whose logits are penalised; None for no penalty (validation).
          vectors: ``(n, D)`` the class vectors that take part, to which ``labels`` then refer; None for all.

        Returns:
          ``(B, num_classes)``, or ``(B, n)`` logits, float32; float64 where that is Keras' floatx.
        """
        unit = l2_normalize(ops.cast(embeddings, self.compute_dtype))
        if vectors is None and not self.rows:
            cosine = ops.matmul(unit, l2_normalize(self.cosine_weights, axis=0))
        else:
            class_vectors = self.class_vectors if vectors is None else vectors
            cosine = ops.matmul(unit, ops.transpose(l2_normalize(class_vectors)))
        cosine = ops.clip(cosine, -1.0, 1.0)
        return self.scale * cosine if labels is None else self.penalized(cosine, labels)

    def penalized(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """Scaled cosines ``(B, n)`` with the penalty at ``labels`` ``(B,)``."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """What the constructors of all cosine classifiers have."""
        return {**super().get_config(), "num_classes": self.num_classes, "rows": self.rows}


class MarginClassifier(CosineClassifier):
    """A cosine classifier whose penalty is a margin.

    Args:
      num_classes: number of classes.
      margin: of the true class (released, of ArcFace: 0.1).
      scale: factor of the cosines (released: 45.25, the root of 2048).
      rows: see :class:`CosineClassifier`.
    """

    def __init__(
        self, num_classes: int, margin: float = 0.1, scale: float = 45.25, rows: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, scale, rows, **kwargs)
        self.margin = margin

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "margin": self.margin, "scale": self.scale}


def with_angular_margin(cosine: Tensor, cos_margin: float, sin_margin: float) -> Tensor:
    """``cos(theta + margin)`` of cosines in -1..1, with finite gradients also at -1 and 1."""
    sine = ops.sqrt(ops.maximum(1.0 - ops.square(cosine), 1e-12))
    return cosine * cos_margin - sine * sin_margin


def at_labels(values: Tensor, labels: Tensor) -> Tensor:
    """``values[i, labels[i]]`` as ``(B, 1)``."""
    return ops.take_along_axis(values, ops.cast(labels, "int32")[:, None], axis=1)


def replica_mean(values: Tensor) -> Tensor:
    """The mean over all elements, and with TensorFlow's distribution over all replicas, a scalar."""
    together = keras.backend.backend() == "tensorflow"
    mean, _ = ops.moments(ops.reshape(values, (-1,)), axes=(0,), synchronized=together)
    return mean

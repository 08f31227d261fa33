"""A linear classifier of very many classes of which a step trains a sample."""

from typing import Any

import keras
from keras import ops

from delg.numerics import full_precision

Tensor = Any


class LinearClassifier(keras.layers.Layer):
    """``logit_c = x . v_c + b_c``, a class vector in a row; :class:`training.sampled.SampledHead` trains it.

    Computed in float32, whatever the dtype policy; in float64 where that is Keras' floatx.

    Args:
      num_classes: number of classes.
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": full_precision(), **kwargs})
        self.num_classes = num_classes

    def build(self, input_shape: tuple) -> None:
        """Makes the class vectors ``(num_classes, D)`` and biases ``(num_classes,)``."""
        shape = (self.num_classes, input_shape[-1])
        self.class_vectors = self.add_weight(
            shape=shape, initializer="glorot_uniform", name="class_vectors", trainable=False
        )
        self.biases = self.add_weight(shape=shape[:1], initializer="zeros", name="biases", trainable=False)

    def call(self, x: Tensor, vectors: Tensor | None = None, biases: Tensor | None = None) -> Tensor:
        """Classifies.

        Args:
          x: ``(B, D)``.
          vectors: ``(n, D)`` the class vectors that take part; None for all.
          biases: ``(n,)`` theirs.

        Returns:
          ``(B, num_classes)``, or ``(B, n)`` logits, float32; float64 where that is Keras' floatx.
        """
        rows, added = (self.class_vectors, self.biases) if vectors is None else (vectors, biases)
        return ops.matmul(ops.cast(x, self.compute_dtype), ops.transpose(rows)) + added

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "num_classes": self.num_classes}

"""A head of very many classes of which a step trains a sample (PartialFC, arXiv 2010.05222 and 2203.15565).

A step takes the classes of its images and other classes drawn at random, computes logits of these only, and updates
their vectors and momenta only. Of a head of ``C`` classes and ``D`` dimensions the vectors and momenta stay,
``8 C D`` bytes; what a full head needs beside them in a step, the normalised vectors, their gradient and the update,
some ``16 C D`` bytes, is there for the sample alone.
"""

from typing import Any

import keras
import tensorflow as tf

from protos.errors import InputError
from training.distribution import all_gather

Tensor = Any


class SampledHead(tf.Module):
    """Chooses the classes of a step and trains their vectors.

    Args:
      model: a :class:`delg.model.Delg` with ``sampled_classifier=True``.
      optimizer: the model's, stochastic gradient descent; its momentum and decay are those of the head.
      classes: how many take part in a step; at least as many as a global batch has images.
      seed: of the draws.
    """

    def __init__(self, model: Any, optimizer: Any, classes: int, seed: int) -> None:
        super().__init__(name="sampled_head")
        if not isinstance(optimizer, keras.optimizers.SGD):
            raise InputError("--sample_rate needs --optimizer=sgd(...): momenta are kept for the sampled classes only.")
        self._rule, self._seed = optimizer, seed
        self._vectors = model.classifier.class_vectors.value
        self.classes = min(classes, int(self._vectors.shape[0]))
        self.momenta = tf.Variable(tf.zeros_like(self._vectors), trainable=False)

    def choose(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """In a replica: the classes of this step, the same in all replicas, and their vectors.

        Args:
          labels: ``(B,)`` int64 of the replica.

        Returns:
          ``(n,)`` int64, rising, with all labels of the global batch, and ``(n, D)``.
        """
        labels = all_gather(labels)
        seed = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(self._rule.iterations.value, tf.int64)])
        draw = tf.random.stateless_uniform((self._vectors.shape[0],), seed)
        draw = tf.tensor_scatter_nd_update(draw, labels[:, None], tf.fill(tf.shape(labels), 2.0))
        chosen = tf.sort(tf.cast(tf.math.top_k(draw, self.classes, sorted=False).indices, tf.int64))
        return chosen, tf.gather(self._vectors, chosen)

    def apply(self, chosen: Tensor, gradient: Tensor) -> None:
        """In a replica: the optimizer's rule for the chosen vectors.

        Args:
          chosen: ``(n,)`` from :meth:`choose`.
          gradient: ``(n, D)`` of their vectors, summed over the replicas and clipped.
        """
        rate = tf.cast(self._rule.learning_rate, gradient.dtype)
        step = rate * gradient
        update = self._rule.momentum * tf.gather(self.momenta, chosen) - step
        self.momenta.scatter_update(tf.IndexedSlices(update, chosen))
        if self._rule.nesterov:
            update = self._rule.momentum * update - step
        if self._rule.weight_decay:
            update -= rate * self._rule.weight_decay * tf.gather(self._vectors, chosen)
        self._vectors.scatter_add(tf.IndexedSlices(update, chosen))

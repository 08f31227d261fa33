"""Classifiers of very many classes of which a step trains a sample (PartialFC, arXiv 2010.05222 and 2203.15565).

A step takes the classes of its images and other classes drawn at random, computes logits of these only, and updates
their vectors and momenta only; in the classifier of the global descriptor and in that of the attention, which take the
same classes. All metrics of a step about classes are of the sample: the softmax of the losses ``desc`` and ``attn``,
which are therefore lower than over all classes, the accuracies, which are higher, and AdaCos' scale. Validation is over
all classes.

Memory: of a classifier of ``C`` classes and ``D`` dimensions the vectors and momenta stay, ``8 C D`` bytes, and their
moving average where there is one, ``4 C D``. A step of a full head adds some ``12 C D`` bytes, three arrays of the size
of the vectors at a time: those normalised, the gradient by them, and that on its way back through the norm; later
the gradient, the clipped one, and the update. A step with ``n`` sampled classes adds the same of these, and the vectors
themselves, taken out of the table: some ``16 n D`` bytes. (``scripts/bench/sampled_head.py`` measures both.)
"""

from typing import Any

import tensorflow as tf

from delg.common.errors import InputError
from training.averaging import AverageConfig
from training.backends.tensorflow_distribution import all_gather
from training.optimizers import SGD
from training.row_averages import RowAverages

Tensor = Any


class SampledHead(tf.Module):
    """Chooses the classes of a step and trains their rows.

    Attributes:
      tables: variables with a row for each class: the class vectors of the classifier, and where there is a local head
        the class vectors and biases of the attention's.
      paths: of each table, its name in the model.
      momenta: of each table.
      classes: how many take part in a step.
      average: moving averages of the tables, or None.

    Args:
      model: a :class:`delg.model.Delg` with ``sampled_classifier=True``.
      optimizer: the model's, stochastic gradient descent; its momentum and decay are those of the head.
      classes: how many take part in a step; at least as many as a global batch has images.
      seed: of the draws.
      average: of the moving averages of the tables; None for no averages.
    """

    def __init__(
        self, model: Any, optimizer: Any, classes: int, seed: int, average: AverageConfig | None = None
    ) -> None:
        super().__init__(name="sampled_head")
        if not isinstance(optimizer, SGD):
            raise InputError("--sample_rate needs --optimizer=sgd(...): momenta are kept for the sampled classes only.")
        self._rule, self._seed = optimizer, seed
        weights = [model.classifier.class_vectors]
        if model.attention_classifier is not None:
            weights += [model.attention_classifier.class_vectors, model.attention_classifier.biases]
        self.paths = tuple(weight.path for weight in weights)
        self.tables = [weight.value for weight in weights]
        self._count = int(self.tables[0].shape[0])
        self.classes = min(classes, self._count)
        self.momenta = [tf.Variable(tf.zeros_like(table), trainable=False) for table in self.tables]
        self.average = RowAverages(self.tables, average) if average else None

    def choose(self, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """In a replica: the classes of this step, the same in all replicas, and their rows.

        Args:
          labels: ``(B,)`` int64 of the replica.

        Returns:
          ``(n,)`` int64, rising, with all labels of the global batch; and the rows of each of :attr:`tables`, see
          :class:`training.losses.delg.SampledClasses`.
        """
        labels = all_gather(labels)
        seed = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(self._rule.iterations.value, tf.int64)])
        draw = tf.random.stateless_uniform((self._count,), seed)
        draw = tf.tensor_scatter_nd_update(draw, labels[:, None], tf.fill(tf.shape(labels), 2.0))
        sampled = tf.sort(tf.cast(tf.math.top_k(draw, self.classes, sorted=False).indices, tf.int64))
        return sampled, [tf.gather(table, sampled) for table in self.tables]

    def apply(self, sampled: Tensor, gradients: list[Tensor]) -> None:
        """In a replica, before the optimizer counts the step: its rule for the chosen rows, and their averages.

        Args:
          sampled: ``(n,)`` from :meth:`choose`.
          gradients: of the rows of each table, summed over the replicas and clipped.
        """
        before = [tf.gather(table, sampled) for table in self.tables]
        after = []
        for table, momenta, rows, gradient in zip(self.tables, self.momenta, before, gradients, strict=True):
            rate = tf.cast(self._rule.learning_rate, gradient.dtype)
            step = rate * gradient
            update = self._rule.momentum * tf.gather(momenta, sampled) - step
            momenta.scatter_update(tf.IndexedSlices(update, sampled))
            if self._rule.nesterov:
                update = self._rule.momentum * update - step
            if self._rule.weight_decay and table.shape.rank > 1:
                update -= rate * self._rule.weight_decay * rows
            after.append(rows + update)
            table.scatter_update(tf.IndexedSlices(after[-1], sampled))
        if self.average is not None:
            self.average.update(self._rule.iterations.value, sampled, before, after)

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

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from delg.common.errors import InputError
from training.averaging import AverageConfig
from training.backends.tensorflow_distribution import all_gather
from training.optimizers import SGD

Tensor = Any
SMALLEST_DECAY = 1e-38  # stands for a decay of 0, whose logarithm is infinite


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


class RowAverages(tf.Module):
    """The averages of :class:`training.averaging.MovingAverage` for the rows of tables.

    A row that no step changes keeps its value ``w``, so that steps of decays ``d_1 .. d_n`` take its average ``a`` to
    ``w + (a - w) * d_1 * ... * d_n`` in one go. That is done when the row is changed next, or when the averages are
    requested: what a step costs depends on the rows that it changes, not on those that there are. The state that is
    kept, and lies in a checkpoint, does not depend on when the averages were requested.

    Attributes:
      averages: of each table, each row as it was after the last step that changed it.
      marks: ``(rows,)`` float64 of each table: :attr:`total` after that step.
      total: the sum of the logarithms of all decays so far, float64.

    Args:
      tables: variables ``(rows, ...)``.
      config: the decay.
    """

    def __init__(self, tables: Sequence[Any], config: AverageConfig) -> None:
        super().__init__(name="row_averages")
        self._tables, self._config = tuple(tables), config
        self.averages = [tf.Variable(tf.identity(table), trainable=False) for table in tables]
        self.marks = [tf.Variable(tf.zeros(table.shape[:1], tf.float64), trainable=False) for table in tables]
        self.total = tf.Variable(0.0, trainable=False, dtype=tf.float64)

    def update(self, step: Tensor, rows: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        """In a replica, once a step: some rows of every table have changed.

        Args:
          step: how many steps came before.
          rows: ``(n,)`` int64, which rows.
          before: ``(n, ...)`` of each table, their values before the step.
          after: ``(n, ...)`` of each table, their values after it.
        """
        decay = self._config.at(step)
        earlier = tf.identity(self.total)
        total = earlier + tf.math.log(tf.maximum(tf.cast(decay, tf.float64), SMALLEST_DECAY))
        self.total.assign(total)
        for averages, marks, old, new in zip(self.averages, self.marks, before, after, strict=True):
            until = _moved(tf.gather(averages, rows), old, earlier - tf.gather(marks, rows))
            averages.scatter_update(tf.IndexedSlices(new + (until - new) * tf.cast(decay, new.dtype), rows))
            marks.scatter_update(tf.IndexedSlices(tf.fill(tf.shape(rows), total), rows))

    def reset(self) -> None:
        """Makes the averages equal to the tables."""
        for table, average, marks in zip(self._tables, self.averages, self.marks):
            average.assign(tf.identity(table))
            marks.assign(tf.fill(tf.shape(marks), tf.identity(self.total)))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the tables hold the averages; after it, their own values, bit for bit."""
        own = [tf.identity(table) for table in self._tables]
        try:
            for table, average, marks in zip(self._tables, self.averages, self.marks):
                table.assign(_moved(tf.identity(average), tf.identity(table), self.total - marks))
            yield
        finally:
            for table, value in zip(self._tables, own):
                table.assign(value)


def _moved(averages: Tensor, values: Tensor, logarithm: Tensor) -> Tensor:
    """Averages after steps in which the values stayed; ``logarithm`` ``(rows,)`` is that of their decays' product."""
    shape = [-1] + [1] * (averages.shape.rank - 1)
    return values + (averages - values) * tf.reshape(tf.cast(tf.exp(logarithm), values.dtype), shape)

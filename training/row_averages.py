"""Moving averages of tables of which a step changes some rows only, at the price of these rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from training.averaging import AverageConfig

Tensor = Any
SMALLEST_DECAY = 1e-38  # stands for a decay of 0, whose logarithm is infinite


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

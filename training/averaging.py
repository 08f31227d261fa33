"""A moving average of the weights beside those that are trained: steadier, and often the better ones to keep.

The numbers are those of ``tfa.optimizers.MovingAverage``. Only weights that are trained are averaged (the class vectors
of sampled classifiers by :class:`training.sampled.RowAverages`); the moving statistics of the normalisation layers are
used as they are, there and here.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from delg.common.errors import InputError

Tensor = Any


@dataclass(frozen=True)
class AverageConfig:
    """How fast the average follows the weights.

    Attributes:
      decay: part of the average that is kept at a step, 0 or more and below 1.
      start_step: before this step the average is the weights themselves.
      dynamic: begin with a small decay: ``min(decay, (1 + n) / (10 + n))``, ``n`` steps after ``start_step``.
      num_updates: lowers the decay once and for all to ``min(decay, (1 + num_updates) / (10 + num_updates))``.
    """

    decay: float = 0.99
    start_step: int = 0
    dynamic: bool = False
    num_updates: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.decay) and 0 <= self.decay < 1):
            raise InputError(f"The decay of a moving average must be 0 or more and below 1. Received: {self.decay}")
        if self.start_step < 0 or (self.num_updates or 0) < 0:
            raise InputError(f"A moving average expects steps of 0 or more. Received: {self}")

    def at(self, step: Tensor) -> Tensor:
        """The decay of the update that follows ``step`` earlier ones, a float32 scalar tensor."""
        highest = self.decay
        if self.num_updates is not None:
            highest = min(highest, (1.0 + self.num_updates) / (10.0 + self.num_updates))
        since = ops.cast(step, "float32") - float(self.start_step)
        decay = ops.convert_to_tensor(highest, "float32")
        if self.dynamic:
            decay = ops.minimum(decay, (1.0 + since) / (10.0 + since))
        return ops.where(since < 0, 0.0, decay)


class MovingAverage:
    """The averages of some variables.

    Args:
      variables: Keras variables.
      config: the decay.

    Attributes:
      averages: Keras variables in the same order.
    """

    def __init__(self, variables: Sequence[Any], config: AverageConfig) -> None:
        self._config, self._followed = config, list(variables)
        self.averages = [keras.Variable(ops.copy(v), dtype=v.dtype, trainable=False) for v in variables]

    def update(self, step: Tensor) -> None:
        """``average = decay * average + (1 - decay) * weight`` after an update of the weights.

        Args:
          step: how many updates came before that one.
        """
        decay = self._config.at(step)
        for average, variable in self._pairs():
            share = ops.cast(decay, average.dtype)
            average.assign(average * share + variable * (1.0 - share))

    def reset(self) -> None:
        """Makes the averages equal to the weights."""
        for average, variable in self._pairs():
            average.assign(ops.copy(variable))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the variables hold the averages; after it, their own values, bit for bit."""
        own = [ops.copy(variable) for variable in self._followed]
        try:
            for average, variable in self._pairs():
                variable.assign(ops.copy(average))
            yield
        finally:
            for variable, value in zip(self._followed, own):
                variable.assign(value)

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        return zip(self.averages, self._followed)

"""Keras variables of another backend as TensorFlow variables, which is what a checkpoint of TensorFlow holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops


class HostCopies(tf.Module):
    """Copies in the memory of the host, taken before a checkpoint is written and given back after one was read.

    Args:
      variables: Keras variables.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        super().__init__(name="host_copies")
        self._followed = tuple(variables)
        self.copies = [tf.Variable(value, trainable=False) for value in self._values()]

    def take(self) -> None:
        """Makes the copies equal to the variables."""
        for copy, value in zip(self.copies, self._values()):
            copy.assign(value)

    def give(self) -> None:
        """Makes the variables equal to the copies."""
        for copy, variable in zip(self.copies, self._followed):
            variable.assign(copy.numpy())

    def _values(self) -> list[np.ndarray]:
        return [np.asarray(ops.convert_to_numpy(variable)) for variable in self._followed]

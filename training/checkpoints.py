"""Checkpoints of a training run (all that its next step depends on), by steps and by time, and its best model."""

import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from delg.common.errors import InputError, first_line
from delg.common.files import read_json, write_json
from delg.saving import save
from training.averaging import MovingAverage
from training.computation import METRICS
from training.progress import Progress
from training.sampled import SampledHead

PREFIX = "ckpt"
FOLDER, RECORD, METRIC = "best", "best.json", "mAP"  # of the best model
TIME_SHARE = 20


class HostCopies(tf.Module):
    """Keras variables of another backend as TensorFlow variables, which a checkpoint of TensorFlow can hold.

    The copies lie in the memory of the host. They are taken before a checkpoint is written and given back after one
    was read.

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


class Checkpoints:
    """The last checkpoints of a run in one folder.

    A checkpoint counts only once the folder's ``checkpoint`` file names it, and that file is replaced in one piece:
    a run that is killed while writing continues from the one before. It holds the weights, the state of the optimizer
    and the number of steps, of which the learning rate, the order of the images and every random number are functions;
    and what was added up for the next report.

    Args:
      folder: made if absent.
      model: a Keras model.
      optimizer: a Keras optimizer built for the model's trainable variables.
      save_interval: steps between checkpoints.
      save_seconds: seconds after which one is written between these; stretched so that writing takes at most a
        twentieth of the time.
      keep: how many are kept; besides, one for every three hours (released).
      average: the moving average of the weights, kept beside them; or None.
      sampled: the head of which a sample is trained; or None.
      writes: False in the processes that only read: all but one of a training on several machines.

    Attributes:
      cost: seconds that the last checkpoint took.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        model: Any,
        optimizer: Any,
        *,
        save_interval: int,
        save_seconds: float = 30.0,
        keep: int = 3,
        average: MovingAverage | None = None,
        sampled: SampledHead | None = None,
        writes: bool = True,
    ) -> None:
        self._folder, self._writes = Path(folder), writes
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._sums = tf.Variable(np.zeros(len(METRICS) + 1), dtype=tf.float64, trainable=False)
        self._save_interval, self._save_seconds = save_interval, save_seconds
        parts = _known_to_tensorflow(model, optimizer, average)
        if sampled is not None:
            parts["sampled"] = sampled
        self._copies = [part for part in parts.values() if isinstance(part, HostCopies)]
        self._checkpoint = tf.train.Checkpoint(step=self._step, report=self._sums, **parts)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(folder), keep, keep_checkpoint_every_n_hours=3, checkpoint_name=PREFIX
        )
        self._saved_at, self.cost, self._last = time.monotonic(), 0.0, -1

    def restore(self) -> int:
        """Reads the last checkpoint, if there is one.

        Returns:
          The number of steps that were done, 0 for a fresh run.

        Raises:
          InputError: the checkpoint does not fit the model and the optimizer, or its files are broken.
        """
        for leftover in self._folder.glob(f"{PREFIX}-*_temp") if self._writes else ():
            shutil.rmtree(leftover, ignore_errors=True)
        latest = self._manager.latest_checkpoint
        if latest is None:
            return 0
        try:
            self._checkpoint.restore(latest).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise InputError(f"The checkpoint {latest} cannot be restored: {first_line(error)}") from error
        for copies in self._copies:
            copies.give()
        self._last = int(self._step.numpy())
        return self._last

    def resume(self, progress: Progress) -> None:
        """Gives a report the sums of the steps before the checkpoint that was read."""
        progress.resume(self._sums.numpy())

    def save(self, step: int, sums: np.ndarray | None = None) -> None:
        """Writes a checkpoint of the state after ``step`` steps, unless that one is there.

        Args:
          step: steps done.
          sums: of the report that is not out yet, see :attr:`training.progress.Progress.sums`; None for none.
        """
        if step == self._last or not self._writes:
            return
        started = time.monotonic()
        for copies in self._copies:
            copies.take()
        self._step.assign(step)
        self._sums.assign(np.zeros(len(METRICS) + 1) if sums is None else sums)
        try:
            self._manager.save(checkpoint_number=step)
        except tf.errors.OpError as error:
            raise InputError(f"A checkpoint cannot be written in {self._folder}: {error.message}") from error
        self._saved_at, self._last = time.monotonic(), step
        self.cost = self._saved_at - started

    def save_if_due(self, step: int, sums: np.ndarray | None = None) -> None:
        """:meth:`save` when ``save_interval`` divides ``step`` or enough time has passed."""
        waited = time.monotonic() - self._saved_at
        if step % self._save_interval == 0 or waited >= max(self._save_seconds, TIME_SHARE * self.cost):
            self.save(step, sums)

    @property
    def latest(self) -> str | None:
        """The last checkpoint's path without suffix."""
        return self._manager.latest_checkpoint


class BestModel:
    """Keeps ``{logdir}/best``, a model folder, with ``best.json``: the step and the values.

    Args:
      logdir: folder of the run.
    """

    def __init__(self, logdir: str | os.PathLike[str]) -> None:
        self.folder = Path(logdir) / FOLDER
        record = self.folder / RECORD
        self.value = float(read_json(record)["values"][METRIC]) if record.is_file() else -math.inf

    def offer(self, model: Any, step: int, values: Mapping[str, float]) -> bool:
        """Saves the model where its mAP is above all before.

        Args:
          model: a :class:`delg.model.Delg` with the weights that were measured.
          step: steps done.
          values: what the check gave; without a mAP nothing is kept.

        Returns:
          Whether it was saved.
        """
        value = values.get(METRIC, math.nan)
        if not value > self.value:
            return False
        save(model, self.folder)
        write_json(self.folder / RECORD, {"step": step, "values": dict(values)})
        self.value = value
        return True


def _known_to_tensorflow(model: Any, optimizer: Any, average: MovingAverage | None) -> dict[str, Any]:
    """The parts of a checkpoint by name: themselves where TensorFlow is the backend of Keras, else copies."""
    averages = average.averages if average else []
    if keras.backend.backend() == "tensorflow":
        parts = {"model": model, "optimizer": optimizer}
        return parts | {"average": tf.train.Checkpoint(averages=[v.value for v in averages])} if average else parts
    variables = {"model": model.weights, "optimizer": optimizer.variables, "average": averages}
    return {name: HostCopies(values) for name, values in variables.items() if values}

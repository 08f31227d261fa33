"""Training on TensorFlow: the names of :class:`training.backends.engine.Engine`."""

from typing import Any

import tensorflow as tf

from training.backends.batch_normalization import fuse_batch_normalization, synchronize_batch_normalization
from training.backends.tensorflow_distribution import (
    build_strategy,
    distributed,
    first,
    is_chief,
    of_first,
    share_of,
    wait,
)
from training.backends.tensorflow_step import TrainStep, compile_validation_step

__all__ = [
    "TrainStep", "adapt", "build_strategy", "compile_validation_step", "distributed", "first", "is_chief", "of_first",
    "prepare", "share_of", "wait",
]  # fmt: skip


def prepare(*, deterministic: bool, debug: bool) -> None:
    """Operations that give the same bits at every run; eager functions."""
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.config.run_functions_eagerly(debug)


def adapt(model: Any, sync_batch_norm: bool) -> None:
    """Batch normalisation by TensorFlow's kernel, or over all replicas."""
    if sync_batch_norm:
        synchronize_batch_normalization(model._flatten_layers())
    fuse_batch_normalization(model.backbone.layers)

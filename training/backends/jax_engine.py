"""Training on JAX: the names of :class:`training.backends.engine.Engine`."""

import os
from typing import Any

import jax
import tensorflow as tf

from training.backends.jax_distribution import build_strategy, distributed, first, is_chief, of_first, share_of, wait
from training.backends.jax_step import TrainStep, compile_validation_step

__all__ = [
    "TrainStep", "adapt", "build_strategy", "compile_validation_step", "distributed", "first", "is_chief", "of_first",
    "prepare", "share_of", "wait",
]  # fmt: skip


def prepare(*, deterministic: bool, debug: bool) -> None:
    """Leaves the GPUs to JAX, TensorFlow only reads images; the rest as for TensorFlow."""
    tf.config.set_visible_devices([], "GPU")
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    jax.config.update("jax_disable_jit", debug)


def adapt(model: Any, sync_batch_norm: bool) -> None:
    """Nothing: batch statistics are those of the global batch, and the compiler fuses them."""

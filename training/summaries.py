"""TensorBoard summaries under the released names, written at every report instead of every step."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from training.computation import StepResult

FLUSH_MILLISECONDS = 10_000
IMAGES = 3


class Summaries:
    """Writes to ``{logdir}/train_logs``.

    Args:
      logdir: folder of the run.
      model: a :class:`delg.model.Delg`.
      descriptor_loss: last part of the name of the global descriptor's loss.
    """

    def __init__(self, logdir: str | os.PathLike[str], model: Any, descriptor_loss: str = "crossentropy") -> None:
        self._model, self._descriptor_loss = model, descriptor_loss
        self._writer = tf.summary.create_file_writer(str(Path(logdir) / "train_logs"), flush_millis=FLUSH_MILLISECONDS)

    def training(
        self, step: int, means: Mapping[str, float], images: Any, result: StepResult, *, rate: float, speed: float
    ) -> None:
        """Scalars and images of training.

        Args:
          step: steps done.
          means: metrics by name, means since the last report.
          images: ``(B, S, S, 3)`` in 0..255 of the last step.
          result: of the last step, with sparsities.
          rate: learning rate.
          speed: steps per second.
        """
        normalized = ops.convert_to_numpy(self._model.normalize(images))
        attention, sparsity = ops.convert_to_numpy(result.attention), ops.convert_to_numpy(result.sparsity)
        with self._writer.as_default(step=step):
            tf.summary.image("batch_images", (normalized + 1.0) / 2.0, max_outputs=IMAGES)
            tf.summary.image("batch_attention", attention_picture(attention), max_outputs=IMAGES)
            for name, value in (
                _ranges(normalized, attention)
                | {f"sparsity/{level}": v for level, v in zip(self._model.trunk.levels, sparsity)}
                | self._losses(means)
                | {
                    "desc/scale_factor": float(self._model.classifier.scale),
                    "learning_rate": rate,
                    "gradient_norm": means["gradient_norm"],
                    "global_steps_per_sec": speed,
                }
            ).items():
                tf.summary.scalar(name, value)
        self._writer.flush()  # a later checkpoint finds the whole curve on the disk

    def scalars(self, step: int, prefix: str, values: Mapping[str, float]) -> None:
        """Writes ``{prefix}/{name}`` scalars, such as ``validation/desc``."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"{prefix}/{name}", value)
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()

    def _losses(self, means: Mapping[str, float]) -> dict[str, float]:
        values = {
            "loss/total": means["loss"],
            f"loss/desc/{self._descriptor_loss}": means["desc"],
            "train_accuracy/desc": means["desc_accuracy"],
        }
        if self._model.local_head is not None:
            values["loss/attn/crossentropy"] = means["attn"]
            values["train_accuracy/attn"] = means["attn_accuracy"]
        if self._model.config["local_dim"]:
            values["loss/recon/mse"] = means["recon"]
        return values


def attention_picture(attention: np.ndarray) -> np.ndarray:
    """Attention ``(B, h, w)`` as grey images ``(B, h, w, 1)`` in 0..1, the batch's largest value being white."""
    return (attention / max(float(attention.max()), 1e-12))[..., None]


def _ranges(normalized: np.ndarray, attention: np.ndarray) -> dict[str, float]:
    quartiles = np.percentile(attention, (25, 50, 75))
    return {
        "image_range/max": normalized.max(),
        "image_range/min": normalized.min(),
        "attention/max": attention.max(),
        "attention/min": attention.min(),
        "attention/mean": attention.mean(),
        "attention/percent_25": quartiles[0],
        "attention/percent_50": quartiles[1],
        "attention/percent_75": quartiles[2],
    }

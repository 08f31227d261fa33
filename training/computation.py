"""From images to losses and gradients: the part of a training step that knows neither update nor devices."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import ops

from training.global_losses import GlobalLoss
from training.losses import (
    ATTENTION_WEIGHT,
    RECONSTRUCTION_WEIGHT,
    Sample,
    batch_mean,
    correct,
    delg_losses,
    total_loss,
)
from training.metric_losses import nearest_is_same

Tensor = Any


@dataclass(frozen=True)
class StepConfig:
    """What a step depends on.

    Attributes:
      batch_size: global batch size, by which the sums of the losses are divided.
      image_size: side ``S`` of the images in pixels.
      attention_loss_weight: weight of the attention cross entropy.
      reconstruction_loss_weight: weight of the reconstruction error.
      clip_norm: largest global norm of the gradients.
      global_loss: in the place of ArcFace; None for ArcFace (released).
      accumulate: parts in which a replica computes its part of the batch, one after the other, to need less memory;
        batch statistics are then those of a part.
    """

    batch_size: int
    image_size: int
    attention_loss_weight: float = ATTENTION_WEIGHT
    reconstruction_loss_weight: float = RECONSTRUCTION_WEIGHT
    clip_norm: float = 10.0
    global_loss: GlobalLoss | None = None
    accumulate: int = 1


@dataclass(frozen=True)
class Computation:
    """Everything between the images and the update.

    Attributes:
      means: loss, its parts and the accuracies by name; their sums over all parts of the global batch are the means
        over it.
      gradients: of ``means["loss"]``, one per variable that is trained, see :func:`trained`.
      maps: feature maps ``block0`` .. ``block4``.
      outputs: outputs of the model.
    """

    means: dict[str, Tensor]
    gradients: list[Tensor]
    maps: dict[str, Tensor]
    outputs: dict[str, Tensor]


def trained(model: Any, frozen: bool) -> list[Any]:
    """The variables that a step updates: all that are trainable, or those outside the backbone."""
    kept = {id(variable) for variable in model.backbone.trainable_variables} if frozen else set()
    return [variable for variable in model.trainable_variables if id(variable) not in kept]


def forward(
    model: Any, images: Tensor, training: bool, frozen: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Runs a :class:`delg.model.Delg` and keeps its feature maps.

    Args:
      model: the model.
      images: ``(B, S, S, 3)`` RGB in 0..255.
      training: batch statistics in the normalisation layers.
      frozen: the backbone is only used: moving statistics, no gradient.

    Returns:
      The feature maps ``block0`` .. ``block4`` and the outputs of ``model(...)``.
    """
    maps = model.backbone(model.normalize(images), training=training and not frozen)
    if frozen:
        maps = {name: ops.stop_gradient(value) for name, value in maps.items()}
    return maps, model.heads(maps, training=training)


def compute(
    model: Any,
    images: Tensor,
    labels: Tensor,
    config: StepConfig,
    *,
    frozen: bool = False,
    parts: int = 1,
    sample: tuple[Tensor, list[Tensor]] | None = None,
) -> Computation:
    """Forward and backward pass of one part of the global batch, without an update.

    Args:
      model: a :class:`delg.model.Delg` with classifiers.
      images: ``(B, S, S, 3)`` RGB in 0..255.
      labels: ``(B,)`` int64.
      config: batch size and weights.
      frozen: see :func:`forward`.
      parts: of the global batch, of which this is one.
      sample: classes and their rows from :meth:`training.sampled.SampledHead.choose`; the last gradients then are
        those of the rows.
    """
    chosen, rows = sample or (None, [])
    among = labels if chosen is None else tf.searchsorted(chosen, labels, out_type=tf.int64)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        maps, outputs = forward(model, images, training=True, frozen=frozen)
        values = delg_losses(model, outputs, labels, config.global_loss, Sample(among, rows) if rows else None)
        means: dict[str, Tensor] = {
            key: batch_mean(values[key], config.batch_size) for key in ("desc", "attn", "recon") if key in values
        }
        for absent in {"attn", "recon"} - means.keys():
            means[absent] = ops.zeros_like(means["desc"])
        means["loss"] = total_loss(
            **means,
            attention_weight=config.attention_loss_weight,
            reconstruction_weight=config.reconstruction_loss_weight,
        )
    weights = [*(variable.value for variable in trained(model, frozen)), *rows]
    gradients = tape.gradient(means["loss"], weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if config.global_loss is None:
        means["desc_accuracy"] = batch_mean(correct(values["desc_logits"], among), config.batch_size)
    else:
        hits, counted = nearest_is_same(labels, outputs["global_descriptor"])
        means["desc_accuracy"] = ops.sum(hits) / ops.maximum(ops.sum(counted), 1.0) / parts
    means["attn_accuracy"] = ops.zeros_like(means["desc"])
    if "attn_logits" in values:
        means["attn_accuracy"] = batch_mean(correct(values["attn_logits"], among), config.batch_size)
    return Computation(means, gradients, maps, outputs)

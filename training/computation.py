"""From images to losses and gradients: the part of a training step that knows neither update, devices nor backend."""

from dataclasses import dataclass
from typing import Any

from keras import ops

from training.gradients import gradients_of
from training.losses.delg import (
    ATTENTION_WEIGHT,
    RECONSTRUCTION_WEIGHT,
    SampledClasses,
    batch_mean,
    correct,
    delg_losses,
    total_loss,
)
from training.losses.global_descriptor import GlobalLoss
from training.losses.metric import nearest_is_same

Tensor = Any
METRICS = ("loss", "desc", "attn", "recon", "desc_accuracy", "attn_accuracy", "gradient_norm")


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
        batch statistics and pairs of ``global_loss`` are then those of a part.
    """

    batch_size: int
    image_size: int
    attention_loss_weight: float = ATTENTION_WEIGHT
    reconstruction_loss_weight: float = RECONSTRUCTION_WEIGHT
    clip_norm: float = 10.0
    global_loss: GlobalLoss | None = None
    accumulate: int = 1


@dataclass(frozen=True)
class StepResult:
    """The results of a step; tensors.

    Attributes:
      metrics: ``(7,)`` float32 in the order of :data:`METRICS`; accuracies of the logits with the margin. Where a
        sample of the classes is trained, losses and accuracies are over the sample. Where another loss takes the place
        of ArcFace, ``desc_accuracy`` is that of the nearest neighbour in the batch.
      attention: ``(B, h, w)`` float32; ``(B, 1, 1)`` of zeros where the model has no local head. On TensorFlow of the
        first replica and, where the batch is computed in parts, its last part.
      sparsity: ``(L,)`` float32, the part of zeros in each level of the backbone, of the same images; zeros unless
        requested.
    """

    metrics: Tensor
    attention: Tensor
    sparsity: Tensor


@dataclass(frozen=True)
class Computation:
    """Everything between the images and the update.

    Attributes:
      means: loss, its parts and the accuracies by name; their sums over all parts of the global batch are the means
        over it.
      gradients: of ``means["loss"]``, one per variable that is trained, see :func:`trained`.
      maps: what the backbone puts out, by name.
      outputs: outputs of the model.
      values: logits and losses, see :func:`training.losses.delg.delg_losses`.
      levels: names of the backbone's levels, which are among ``maps``.
    """

    means: dict[str, Tensor]
    gradients: list[Tensor]
    maps: dict[str, Tensor]
    outputs: dict[str, Tensor]
    values: dict[str, Tensor]
    levels: tuple[str, ...]

    def metrics(self) -> Tensor:
        """``(6,)`` float32: the means in the order of :data:`METRICS`, whose last one the gradients decide."""
        return ops.stack([ops.cast(self.means[name], "float32") for name in METRICS[:-1]])

    def attention(self) -> Tensor:
        """See :class:`StepResult`."""
        images = self.outputs["global_descriptor"].shape[0]
        return ops.cast(self.outputs.get("attention", ops.zeros((images, 1, 1), "float32")), "float32")

    def sparsity(self, requested: Tensor) -> Tensor:
        """See :class:`StepResult`; ``requested`` is a scalar bool."""
        maps = [self.maps[level] for level in self.levels]
        return ops.cond(
            requested,
            lambda: ops.stack([ops.mean(ops.cast(ops.equal(x, 0), "float32")) for x in maps]),
            lambda: ops.zeros((len(maps),), "float32"),
        )


def trained(model: Any, frozen: bool) -> list[Any]:
    """The variables that a step updates: all that are trainable, or those outside the backbone."""
    frozen_ids = {id(variable) for variable in model.backbone.trainable_variables} if frozen else set()
    return [variable for variable in model.trainable_variables if id(variable) not in frozen_ids]


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
      What the backbone puts out, and the outputs of ``model(...)``.
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
      labels: ``(B,)`` integers.
      config: batch size and weights.
      frozen: see :func:`forward`.
      parts: of the global batch, of which this is one.
      sample: classes and their rows from :meth:`training.sampled.SampledHead.choose`; the last gradients then are
        those of the rows.
    """
    classes, rows = sample or (None, [])
    sample_labels = labels if classes is None else ops.searchsorted(classes, labels)

    def loss(*rows: Tensor) -> tuple[Tensor, Any]:
        maps, outputs = forward(model, images, training=True, frozen=frozen)
        values = delg_losses(
            model, outputs, labels, config.global_loss, SampledClasses(sample_labels, rows) if rows else None
        )
        means = _means(values, config)
        return means["loss"], (maps, outputs, values, means)

    variables = trained(model, frozen)
    trained_ids = {id(variable) for variable in variables}
    rest = [variable for variable in model.weights if id(variable) not in trained_ids]
    (maps, outputs, values, means), gradients = gradients_of(loss, variables, rows, assigned=rest)
    if config.global_loss is None:
        means["desc_accuracy"] = batch_mean(correct(values["desc_logits"], sample_labels), config.batch_size)
    else:
        hits, counted = nearest_is_same(labels, outputs["global_descriptor"])
        means["desc_accuracy"] = ops.sum(hits) / ops.maximum(ops.sum(counted), 1.0) / parts
    means["attn_accuracy"] = ops.zeros_like(means["desc"])
    if "attn_logits" in values:
        means["attn_accuracy"] = batch_mean(correct(values["attn_logits"], sample_labels), config.batch_size)
    weights = [*variables, *rows]
    gradients = [ops.zeros_like(w) if gradient is None else gradient for w, gradient in zip(weights, gradients)]
    return Computation(means, gradients, maps, outputs, values, tuple(model.trunk.levels))


def judge(model: Any, images: Tensor, labels: Tensor, global_loss: GlobalLoss | None = None) -> Tensor:
    """Counts ``(2, 2)`` float32 of a validation batch: rows global and attention head; images right, and judged.

    In inference mode and without the margin. The attention head sees the autoencoder's reconstruction as in training
    (the released validation feeds it the feature map itself, on which it was never trained). With a loss that trains
    no classifier, an image is right where its nearest neighbour in the batch is of its class; one that is alone in its
    class there is not judged. Without a local head the second row is 0.

    Args:
      model: a :class:`delg.model.Delg` with classifiers.
      images: ``(B, S, S, 3)`` RGB in 0..255.
      labels: ``(B,)`` integers.
      global_loss: of the training.
    """
    _, outputs = forward(model, images, training=False)
    judged = ops.ones_like(labels, "float32")
    if global_loss is None:
        descriptor = (correct(model.arcface_logits(outputs["global_descriptor"]), labels), judged)
    else:
        descriptor = nearest_is_same(labels, outputs["global_descriptor"])
    attention = (ops.zeros_like(judged), ops.zeros_like(judged))
    if "attention_pooled" in outputs:
        attention = (correct(model.attention_logits(outputs["attention_pooled"]), labels), judged)
    return ops.sum(ops.stack([ops.stack(descriptor), ops.stack(attention)]), axis=-1)


def _means(values: dict[str, Tensor], config: StepConfig) -> dict[str, Tensor]:
    """The parts of the loss and their weighted sum ``loss``, zeros for what the model does not have."""
    parts = [key for key in ("desc", "attn", "recon") if key in values]
    means: dict[str, Tensor] = {key: batch_mean(values[key], config.batch_size) for key in parts}
    for absent in {"attn", "recon"} - means.keys():
        means[absent] = ops.zeros_like(means["desc"])
    means["loss"] = total_loss(
        **means,
        attention_weight=config.attention_loss_weight,
        reconstruction_weight=config.reconstruction_loss_weight,
    )
    return means

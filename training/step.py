"""The one training step: forward, three losses, gradients, clipping, update; and the validation step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import ops

from training.averaging import MovingAverage
from training.global_losses import GlobalLoss
from training.losses import ATTENTION_WEIGHT, RECONSTRUCTION_WEIGHT, batch_mean, correct, delg_losses, total_loss
from training.metric_losses import nearest_is_same
from training.optimizers import clip_by_global_norm

Tensor = Any
METRICS = ("loss", "desc", "attn", "recon", "desc_accuracy", "attn_accuracy", "gradient_norm")
BLOCKS = ("block0", "block1", "block2", "block3", "block4")


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
    """

    batch_size: int
    image_size: int
    attention_loss_weight: float = ATTENTION_WEIGHT
    reconstruction_loss_weight: float = RECONSTRUCTION_WEIGHT
    clip_norm: float = 10.0
    global_loss: GlobalLoss | None = None


@dataclass(frozen=True)
class StepResult:
    """What a step tells; tensors.

    Attributes:
      metrics: ``(7,)`` float32 in the order of :data:`METRICS`; accuracies of the logits with the margin. Where another
        loss takes the place of ArcFace, ``desc_accuracy`` is that of the nearest neighbour in the batch.
      attention: ``(B, h, w)``; ``(B, 1, 1)`` of zeros where the model has no local head.
      sparsity: ``(5,)`` float32, the part of zeros in each of :data:`BLOCKS`; zeros unless asked for.
    """

    metrics: Tensor
    attention: Tensor
    sparsity: Tensor


@dataclass(frozen=True)
class Computation:
    """Everything between the images and the update.

    Attributes:
      means: loss, its parts and the accuracies by name, means over the global batch.
      gradients: of ``means["loss"]``, one per trainable variable.
      maps: feature maps ``block0`` .. ``block4``.
      outputs: outputs of the model.
    """

    means: dict[str, Tensor]
    gradients: list[Tensor]
    maps: dict[str, Tensor]
    outputs: dict[str, Tensor]


def forward(model: Any, images: Tensor, training: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Runs a :class:`delg.model.Delg` and keeps its feature maps.

    Args:
      model: the model.
      images: ``(B, S, S, 3)`` RGB in 0..255.
      training: batch statistics in the normalisation layers.

    Returns:
      The feature maps ``block0`` .. ``block4`` and the outputs of ``model(...)``.
    """
    maps = model.backbone(model.normalize(images), training=training)
    return maps, model.heads(maps, training=training)


def compute(model: Any, images: Tensor, labels: Tensor, config: StepConfig) -> Computation:
    """Forward and backward pass, without an update.

    Args:
      model: a :class:`delg.model.Delg` with classifiers.
      images: ``(B, S, S, 3)`` RGB in 0..255.
      labels: ``(B,)`` int64.
      config: batch size and weights.
    """
    with tf.GradientTape() as tape:
        maps, outputs = forward(model, images, training=True)
        values = delg_losses(model, outputs, labels, config.global_loss)
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
    weights = [variable.value for variable in model.trainable_variables]
    gradients = tape.gradient(means["loss"], weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if config.global_loss is None:
        means["desc_accuracy"] = batch_mean(correct(values["desc_logits"], labels), config.batch_size)
    else:
        hits, counted = nearest_is_same(labels, outputs["global_descriptor"])
        means["desc_accuracy"] = ops.sum(hits) / ops.maximum(ops.sum(counted), 1.0)
    means["attn_accuracy"] = ops.zeros_like(means["desc"])
    if "attn_logits" in values:
        means["attn_accuracy"] = batch_mean(correct(values["attn_logits"], labels), config.batch_size)
    return Computation(means, gradients, maps, outputs)


class TrainStep:
    """Updates the weights once per call; one graph, traced once.

    Args:
      model: a :class:`delg.model.Delg` with classifiers.
      optimizer: a Keras optimizer built for the model's trainable variables.
      config: sizes, weights and clipping.
      average: moving average of the trainable variables, updated with them; or None.
    """

    def __init__(self, model: Any, optimizer: Any, config: StepConfig, average: MovingAverage | None = None) -> None:
        self._model, self._optimizer, self._config, self._average = model, optimizer, config, average
        side = config.image_size
        self._graph = tf.function(
            self._update,
            autograph=False,
            input_signature=(
                tf.TensorSpec((config.batch_size, side, side, 3), tf.float32),
                tf.TensorSpec((config.batch_size,), tf.int64),
                tf.TensorSpec((), tf.float32),
                tf.TensorSpec((), tf.bool),
            ),
        )

    def __call__(self, images: Tensor, labels: Tensor, rate: float, *, summarize: bool = False) -> StepResult:
        """Makes one step.

        Args:
          images: ``(B, S, S, 3)`` float32 in 0..255.
          labels: ``(B,)`` int64.
          rate: learning rate.
          summarize: whether the sparsities are wanted.

        Returns:
          The numbers of the step. Where the gradient norm is not finite, there was no update: the trained weights, the
          optimizer and the average are as before, so that the cause can still be found.
        """
        return StepResult(*self._graph(images, labels, tf.constant(rate, tf.float32), tf.constant(summarize)))

    def _update(self, images: Tensor, labels: Tensor, rate: Tensor, summarize: Tensor) -> tuple[Tensor, ...]:
        computed = compute(self._model, images, labels, self._config)
        gradients, norm = clip_by_global_norm(computed.gradients, self._config.clip_norm)
        self._optimizer.learning_rate.assign(rate)
        tf.cond(tf.math.is_finite(norm), lambda: self._apply(gradients), lambda: False)
        means = computed.means | {"gradient_norm": norm}
        maps = computed.maps
        sparsity = tf.cond(
            summarize,
            lambda: ops.stack([ops.mean(ops.cast(ops.equal(maps[block], 0), "float32")) for block in BLOCKS]),
            lambda: ops.zeros((len(BLOCKS),), "float32"),
        )
        metrics = ops.stack([ops.cast(means[name], "float32") for name in METRICS])
        attention = computed.outputs.get("attention", ops.zeros((self._config.batch_size, 1, 1)))
        return metrics, attention, sparsity

    def _apply(self, gradients: list[Tensor]) -> bool:
        """Updates the weights, and their average; returns True, a value as a branch of a graph must have."""
        earlier = tf.identity(self._optimizer.iterations.value)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        if self._average is not None:
            self._average.update(earlier)
        return True


def compile_validation_step(
    model: Any, image_size: int, global_loss: GlobalLoss | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """A graph from a batch of any size to counts ``(2, 2)``: rows global and attention head; images right, and judged.

    In inference mode and without the margin. The attention head sees the autoencoder's reconstruction as in training
    (the released validation feeds it the feature map itself, on which it was never trained). With a loss that trains
    no classifier, an image is right where its nearest neighbour in the batch is of its class; one that is alone in its
    class there is not judged. Without a local head the second row is 0.
    """
    signature = (tf.TensorSpec((None, image_size, image_size, 3), tf.float32), tf.TensorSpec((None,), tf.int64))

    @tf.function(input_signature=signature, autograph=False)
    def step(images: Tensor, labels: Tensor) -> Tensor:
        _, outputs = forward(model, images, training=False)
        judged = tf.ones_like(labels, tf.float32)
        if global_loss is None:
            descriptor = (correct(model.arcface_logits(outputs["global_descriptor"]), labels), judged)
        else:
            descriptor = nearest_is_same(labels, outputs["global_descriptor"])
        attention = (tf.zeros_like(judged), tf.zeros_like(judged))
        if "attention_pooled" in outputs:
            attention = (correct(model.attention_logits(outputs["attention_pooled"]), labels), judged)
        return tf.reduce_sum(tf.convert_to_tensor([descriptor, attention]), axis=-1)

    return step

"""The three losses of DELG (arXiv 2001.05027, section 3.3) as values per example, and their sum.

Another loss of the global descriptor can take the place of the first, see :mod:`training.losses.global_descriptor`.

``total = descriptor + attention_weight * attention + reconstruction_weight * reconstruction``, each a mean over the
global batch. The released code divides the reconstruction term by the batch of one replica only, which multiplies its
weight by the number of replicas; here the number of replicas does not change the result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from delg.numerics import float32_at_least

Tensor = Any
RECONSTRUCTION_WEIGHT = 10.0
ATTENTION_WEIGHT = 1.0


@dataclass(frozen=True)
class SampledClasses:
    """Some of the classes, of which alone logits are computed.

    Attributes:
      labels: ``(B,)`` the true classes, as places among these.
      rows: of the ``n`` classes: the class vectors ``(n, D)`` of the classifier, and with a local head the class
        vectors ``(n, C)`` and biases ``(n,)`` of the attention's.
    """

    labels: Tensor
    rows: Sequence[Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """``-log softmax(logits)[label]``, in float32 at least.

    Args:
      logits: ``(B, C)``, such as those of :meth:`delg.model.Delg.arcface_logits`.
      labels: ``(B,)`` integers in ``0 .. C-1``.

    Returns:
      ``(B,)`` losses.
    """
    return ops.sparse_categorical_crossentropy(labels, float32_at_least(logits), from_logits=True)


def reconstruction_error(target: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean squared error of a feature map per example, in float32 at least.

    Args:
      target: ``(B, h, w, C)``, without gradient.
      reconstruction: ``(B, h, w, C)``.

    Returns:
      ``(B,)``; its mean over the batch is the mean over all elements.
    """
    difference = float32_at_least(target) - float32_at_least(reconstruction)
    return ops.mean(ops.square(difference), axis=(1, 2, 3))


def batch_mean(values: Tensor, global_batch_size: int) -> Tensor:
    """``sum(values) / global_batch_size``: the sum of this over replicas is the mean over the global batch."""
    return ops.sum(values) / global_batch_size


def delg_losses(
    model: Any,
    outputs: Mapping[str, Tensor],
    labels: Tensor,
    global_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    sample: SampledClasses | None = None,
) -> dict[str, Tensor]:
    """The unweighted losses of a batch.

    Args:
      model: a :class:`delg.model.Delg` with classifiers.
      outputs: what the model gave for the batch.
      labels: ``(B,)`` integers.
      global_loss: of labels ``(B,)`` and global descriptors ``(B, D)`` to a scalar, which every example then bears;
        None for the cross entropy of the model's classifier (released).
      sample: the classes that take part; None for all.

    Returns:
      ``desc``, with a local head ``attn`` (cross entropies), with an autoencoder ``recon``; each ``(B,)``. Beside them
      the logits ``desc_logits`` (penalised; only of the classifier) and ``attn_logits``, ``(B, C)`` or ``(B, n)``.
    """
    losses: dict[str, Tensor] = {}
    vectors, of_attention = (sample.rows[:1], sample.rows[1:]) if sample else ((), ())
    among = sample.labels if sample else labels
    if global_loss is None:
        losses["desc_logits"] = model.arcface_logits(outputs["global_descriptor"], among, *vectors)
        losses["desc"] = cross_entropy(losses["desc_logits"], among)
    else:
        losses["desc"] = ops.broadcast_to(global_loss(labels, outputs["global_descriptor"]), ops.shape(labels))
    if "attention_pooled" in outputs:
        losses["attn_logits"] = model.attention_logits(outputs["attention_pooled"], *of_attention)
        losses["attn"] = cross_entropy(losses["attn_logits"], among)
    if "reconstruction" in outputs:
        losses["recon"] = reconstruction_error(outputs["local_target"], outputs["reconstruction"])
    return losses


def total_loss(
    desc: Tensor,
    attn: Tensor,
    recon: Tensor = 0.0,
    *,
    attention_weight: float = ATTENTION_WEIGHT,
    reconstruction_weight: float = RECONSTRUCTION_WEIGHT,
) -> Tensor:
    """The weighted sum that is minimised; of scalars or of values per example."""
    return desc + attention_weight * attn + reconstruction_weight * recon


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """1.0 where the largest logit is the label's, else 0.0; ``(B,)`` float32."""
    return ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, "int32")), "float32")

"""Losses on distances and similarities between the descriptors of a batch.

The numbers are those of tensorflow-addons (``tfa.losses``), where these are defined; where its sum is empty and it
gives NaN, the loss here is 0. Gradients are finite also at a distance of 0. All is computed in float32 at least.
"""

from typing import Any

from keras import ops

from delg.numerics import float32_at_least, l2_normalize

Tensor = Any
DISTANCES = ("L2", "squared-L2", "angular")


def pairwise_distances(x: Tensor, distance: str = "L2") -> Tensor:
    """Distances between all rows.

    Args:
      x: ``(B, D)``.
      distance: ``"L2"``, ``"squared-L2"``, or ``"angular"``: one less the cosine.

    Returns:
      ``(B, B)``, 0 or more, exactly 0 on the diagonal. The gradient of a distance of 0 is 0.
    """
    x = float32_at_least(x)
    if distance == "angular":
        unit = l2_normalize(x)
        return ops.maximum(1.0 - ops.matmul(unit, ops.transpose(unit)), 0.0) * _off_diagonal(x)
    norms = ops.sum(ops.square(x), axis=1)
    gram = ops.matmul(x, ops.transpose(x))
    squared = ops.maximum(norms[:, None] - 2.0 * gram + norms[None, :], 0.0) * _off_diagonal(x)
    return squared if distance == "squared-L2" else _safe_root(squared)


def triplet_semihard_loss(labels: Tensor, embeddings: Tensor, margin: float = 1.0, distance: str = "L2") -> Tensor:
    """Triplet loss with semi-hard negatives (arXiv 1503.03832, section 3.2; ``tfa.losses.triplet_semihard_loss``).

    For every pair of an anchor and another row of its class at distance ``d``, the negative is the nearest one farther
    than ``d``, or, where there is none, the farthest negative (distance 0 where the whole batch is of one class). The
    loss of the pair is ``max(0, margin + d - negative's distance)``.

    Args:
      labels: ``(B,)`` integers.
      embeddings: ``(B, D)``; usually L2-normalised.
      margin: wanted difference of the distances.
      distance: see :func:`pairwise_distances`.

    Returns:
      The mean over the pairs, a scalar; 0 where there are none.
    """
    d = pairwise_distances(embeddings, distance)
    same = _equal(labels)
    negative = ops.logical_not(same)
    usable = ops.logical_and(negative[:, None, :], d[:, None, :] > d[:, :, None])  # anchor, positive, negative
    nearest = ops.min(ops.where(usable, d[:, None, :], ops.max(d) + 1.0), axis=2)
    farthest = ops.max(ops.where(negative, d, ops.zeros_like(d)), axis=1, keepdims=True)
    negatives = ops.where(ops.any(usable, axis=2), nearest, farthest)
    positive = ops.cast(same, d.dtype) * _off_diagonal(d)
    losses = ops.maximum(margin + d - negatives, 0.0) * positive
    return ops.sum(losses) / ops.maximum(ops.sum(positive), 1.0)


def contrastive_loss(same: Tensor, distances: Tensor, margin: float = 1.0) -> Tensor:
    """``same * d^2 + (1 - same) * max(0, margin - d)^2`` (``tfa.losses.contrastive_loss``).

    Args:
      same: 1 for a pair of one class, else 0; of any shape.
      distances: of the same shape.
      margin: negatives farther than this cost nothing.

    Returns:
      A loss per pair.
    """
    d = float32_at_least(distances)
    same = ops.cast(same, d.dtype)
    return same * ops.square(d) + (1.0 - same) * ops.square(ops.maximum(margin - d, 0.0))


def all_pairs_contrastive_loss(labels: Tensor, embeddings: Tensor, margin: float = 1.0) -> Tensor:
    """The mean of :func:`contrastive_loss` over the ``B (B - 1) / 2`` pairs of a batch.

    Args:
      labels: ``(B,)`` integers.
      embeddings: ``(B, D)``; usually L2-normalised.
      margin: see there.
    """
    d = pairwise_distances(embeddings)
    losses = contrastive_loss(_equal(labels), d, margin) * _off_diagonal(d)
    size = ops.cast(ops.shape(d)[0], d.dtype)
    return ops.sum(losses) / ops.maximum(size * (size - 1.0), 1.0)


def npairs_loss(labels: Tensor, similarities: Tensor) -> Tensor:
    """Cross entropy of the rows' softmax against an equal share for each row of the same class (Sohn, NIPS 2016).

    Args:
      labels: ``(B,)`` integers.
      similarities: ``(B, B)`` of anchors (rows) and positives (columns), in the order of ``labels``.

    Returns:
      The mean over the rows, a scalar (``tfa.losses.npairs_loss``).
    """
    return _shared_cross_entropy(ops.cast(_equal(labels), "float32"), similarities)


def npairs_multilabel_loss(labels: Tensor, similarities: Tensor) -> Tensor:
    """:func:`npairs_loss` where a row has several labels; a column's share is the number of labels in common.

    Args:
      labels: ``(B, C)`` of 0 and 1.
      similarities: ``(B, B)``.

    Returns:
      The mean over the rows, a scalar (``tfa.losses.npairs_multilabel_loss``); a row without labels costs 0.
    """
    hot = ops.cast(labels, "float32")
    return _shared_cross_entropy(ops.matmul(hot, ops.transpose(hot)), similarities)


def nearest_is_same(labels: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the row with the largest cosine, other than itself, is of the same class.

    Args:
      labels: ``(B,)`` integers.
      embeddings: ``(B, D)``.

    Returns:
      Two ``(B,)`` float32: 1 where it is, and 1 where it can be, the batch holding another row of the class.
    """
    unit = l2_normalize(float32_at_least(embeddings))
    off = _off_diagonal(unit)
    cosines = ops.where(off > 0, ops.matmul(unit, ops.transpose(unit)), -2.0)
    same = ops.cast(_equal(labels), "float32") * ops.cast(off, "float32")
    hits = ops.take_along_axis(same, ops.argmax(cosines, axis=1)[:, None], axis=1)[:, 0]
    return hits, ops.max(same, axis=1)


def _shared_cross_entropy(weights: Tensor, similarities: Tensor) -> Tensor:
    logits = float32_at_least(similarities)
    weights = ops.cast(weights, logits.dtype)
    shares = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
    return ops.mean(-ops.sum(shares * ops.log_softmax(logits, axis=-1), axis=1))


def _equal(labels: Tensor) -> Tensor:
    """``(B, B)`` bool: rows of one class."""
    return ops.equal(labels[:, None], labels[None, :])


def _off_diagonal(x: Tensor) -> Tensor:
    """``(B, B)`` of 1, with 0 on the diagonal."""
    return 1.0 - ops.eye(ops.shape(x)[0], dtype=x.dtype)


def _safe_root(x: Tensor) -> Tensor:
    """The square root; where ``x`` is 0 it and its gradient are 0."""
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1.0)), 0.0)

"""A start for the whitening layer: the PCA whitening of the fresh network's pooled vectors.

The released training starts the layer at random. Pooled activations are positive, so all first descriptors then point
the same way and the first epochs go into undoing that; with few images it pays to start from zero mean and equal
variances. The same initialisation is used for GeM networks in arXiv 1711.02512, section 3.3.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from delg.common.errors import InputError

Agreed = Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float32]]]
DAMPING = 0.01  # of the largest variance, added to all, so that empty directions are not blown up


def whitening(pooled: NDArray[np.float32], dim: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel and bias that whiten a sample, in randomly turned axes.

    Args:
      pooled: ``(N, C)`` pooled activations.
      dim: length ``D`` of the descriptor.
      seed: of the turn.

    Returns:
      ``(C, D)`` kernel and ``(D,)`` bias: ``pooled @ kernel + bias`` has mean 0, and the variances that were not damped
      are equal in the ``min(C, D)`` leading axes before the turn.
    """
    mean = pooled.mean(axis=0)
    _, singular, axes = np.linalg.svd(pooled - mean, full_matrices=False)
    variance = np.square(singular) / len(pooled)
    rank = min(dim, len(variance))
    scaled = axes[:rank].T / np.sqrt(variance[:rank] + DAMPING * variance[0] + 1e-12)
    side = max(dim, rank)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(side, side)))[0][:rank, :dim]
    kernel = (scaled @ turn).astype(np.float32)
    return kernel, (-mean @ kernel).astype(np.float32)


def start_from_pca(model: Any, batches: Iterable[Any], seed: int, agreed: Agreed = list) -> None:
    """Sets the whitening layer of a fresh model from some batches, with the statistics of each batch as in training.

    Nothing else of the model changes; the moving averages of its normalisations are put back.

    Args:
      model: a :class:`delg.model.Delg`.
      batches: normalised images ``(B, S, S, 3)``; a few hundred images are enough.
      seed: of the turn of the axes.
      agreed: given the kernel and the bias of this process, gives those that all processes take. (The sign of an axis
        may turn on a machine's rounding, so that each of several machines would find another whitening.)

    Raises:
      InputError: the model has no whitening layer.
    """
    if model.embedding_layer is None:
        raise InputError("--whitening_init=pca expects a model with a whitening layer: --delg_embedding_layer_dim=512.")
    state = [(variable, np.array(variable)) for variable in model.backbone.non_trainable_variables]
    pooled = [ops.convert_to_numpy(model.pooled(model.backbone(x, training=True))) for x in batches]
    for variable, value in state:
        variable.assign(value)
    kernel, bias = agreed(whitening(np.concatenate(pooled), model.embedding_dim, seed))
    model.embedding_layer.kernel.assign(kernel)
    model.embedding_layer.bias.assign(bias)

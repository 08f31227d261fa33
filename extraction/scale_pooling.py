"""Pooling of the global descriptors of an image's scales into one, by name."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.spec import build

Vectors = NDArray[np.float64]
Join = Callable[[Vectors], Vectors]
EPS = 1e-12


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """L2-normalises along the last axis: ``x / sqrt(max(sum x^2, 1e-12))``, as ``tf.nn.l2_normalize``."""
    return vectors / np.sqrt(np.maximum((vectors**2).sum(-1, keepdims=True), EPS))


def sum_pooling() -> Join:
    """Sum of the normalised descriptors (released DELG; CVNet's mean of them has the same direction)."""
    return lambda vectors: unit(vectors).sum(axis=0)


def mean() -> Join:
    """Mean of the descriptors as they are (released SuperGlobal without Scale-GeM)."""
    return lambda vectors: vectors.mean(axis=0)


def scale_gem(p: float = math.inf) -> Join:
    """Scale-GeM (arXiv 2308.06954), the generalised mean over scales.

    At ``p`` infinite, the released choice, it is the largest value of each component, with its sign, over the
    normalised descriptors. At a finite ``p`` it is ``(mean_s (x_s - g)^p)^(1/p) + g`` over the descriptors as they
    are, with ``g`` the least component of all scales (in the released code, where nothing calls it, of a batch).

    Args:
      p: exponent, 1 or more; 1 is the mean.

    Raises:
      ValueError: ``p`` is below 1 or not a number.
    """
    if not isinstance(p, int | float) or isinstance(p, bool) or not p >= 1:
        raise ValueError(f"scale_gem expects p of 1 or more. Received: p={p!r}")
    if math.isinf(p):
        return lambda vectors: unit(vectors).max(axis=0)

    def join(vectors: Vectors) -> Vectors:
        above = vectors - vectors.min()
        largest = above.max(axis=0)  # factored out, so that no power overflows or vanishes
        share = np.divide(above, largest, out=np.zeros_like(above), where=largest > 0)
        return largest * np.power(np.power(share, p).mean(axis=0), 1.0 / p) + vectors.min()

    return join


SCALE_POOLINGS: dict[str, Callable[..., Join]] = {"mean": mean, "scale_gem": scale_gem, "sum": sum_pooling}


def build_scale_pooling(text: str) -> Join:
    """Builds a choice such as ``"sum"`` or ``"scale_gem(p=10)"``.

    Returns:
      A function of ``(S, D)`` float64 descriptors, not normalised, to ``(D,)``, not normalised either.

    Raises:
      InputError: an unknown name or a bad argument.
    """
    return build(text, SCALE_POOLINGS, "scale_pooling")

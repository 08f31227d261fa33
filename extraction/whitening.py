"""Whitening of local descriptors: learned from a sample of images, stored in a model's folder, applied on extraction.

Source: Jegou and Chum, "Negative evidences and co-occurrences in image retrieval: the benefit of PCA and whitening",
ECCV 2012. The values of whitened descriptors are uncorrelated and about as often above 0 as below, unlike those of an
autoencoder's code; so their signs carry more information.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from delg.common.errors import InputError
from delg.saving import LOCAL_WHITENING
from extraction.features import Floats
from extraction.learned import load_learned, save_learned
from extraction.pca import Pca
from extraction.scale_pooling import unit

SHRINKAGE = 1e-4  # share of the largest variance that is added to all
ARRAYS = ("mean", "projection", "variances")
ROWS_PER_VALUE = 10  # least number of descriptors for each of their values


def learn(descriptors: Iterable[Floats], dim: int | None = None) -> Pca:
    """Learns a whitening from one image after another.

    Args:
      descriptors: ``(N, d)`` of each image of a sample, of any norm; images without local features have no rows.
      dim: number of components, of the largest variances; None for all ``d``.

    Raises:
      InputError: there are fewer than ``10 d`` descriptors, or fewer than ``dim`` values.
    """
    count, total, products = 0, np.zeros(0), np.zeros((0, 0))
    for part in descriptors:
        if len(part):
            rows = unit(part.astype(np.float64))
            count += len(rows)
            total = rows.sum(axis=0) + (total if total.size else 0)
            products = rows.T @ rows + (products if products.size else 0)
    dimension = len(total)
    if count < max(1, ROWS_PER_VALUE * dimension):
        raise InputError(
            f"A whitening expects at least {ROWS_PER_VALUE} local features for each of their {dimension} values from "
            f"the sample; found {count}. Give more or larger images."
        )
    if dim is not None and not 1 <= dim <= dimension:
        raise InputError(f"local_dim expects 1 to {dimension}, the values of a local descriptor. Received: {dim}")
    mean = total / count
    variances, components = np.linalg.eigh(products / count - np.outer(mean, mean))
    order = np.argsort(-variances, kind="stable")[:dim]
    shrunk = np.maximum(variances[order], 0) + SHRINKAGE * variances.max()
    return Pca(mean.astype(np.float32), components.T[order].astype(np.float32), shrunk.astype(np.float32))


def save(whitening: Pca, folder: str | os.PathLike[str], weights: str) -> Path:
    """Writes a whitening into a model's folder, with the SHA-256 of the weights it belongs to; returns its file."""
    arrays = {name: np.asarray(getattr(whitening, name), np.float32) for name in ARRAYS}
    return save_learned(Path(folder, LOCAL_WHITENING), arrays, weights)


def load(folder: str | os.PathLike[str], weights: str) -> Pca | None:
    """The whitening in a model's folder, None where there is none.

    Args:
      folder: the model's.
      weights: SHA-256 of its weights.

    Raises:
      InputError: the file is damaged, or was learned with other weights.
    """
    again = "run delg-calibrate --local_whitening again, or remove the file"
    return load_learned(Path(folder, LOCAL_WHITENING), ARRAYS, weights, Pca, what="whitening", again=again)

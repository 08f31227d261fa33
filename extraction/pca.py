"""PCA of descriptors after extraction, from the files that the released programs use.

The released rule: a descriptor gets unit norm, loses the mean, is projected, divided by the standard deviations where
whitening is wanted, and gets unit norm again: ``y = unit((unit(x) - mean) P[:dim].T / sqrt(variances[:dim]))``.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.scale_pooling import unit
from protos.arrays import read_datum

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Pca:
    """One projection.

    Attributes:
      mean: ``(D,)``.
      projection: ``(d, D)``, a component a row, the first the most important.
      variances: ``(d,)`` of the components, for whitening; None for no whitening.
    """

    mean: Floats
    projection: Floats
    variances: Floats | None = None

    def __post_init__(self) -> None:
        d, size = self.projection.shape if self.projection.ndim == 2 else (0, -1)
        if self.mean.shape != (size,) or d < 1 or (self.variances is not None and self.variances.shape != (d,)):
            shapes = [str(part.shape) for part in (self.mean, self.projection, self.variances) if part is not None]
            raise InputError(
                f"PCA expects a mean (D,), a projection (d, D) and variances (d,). Received: {', '.join(shapes)}"
            )
        if self.variances is not None and not np.all(self.variances > 0):
            raise InputError(f"Whitening expects variances above 0. Received: {self.variances.min()}")

    def __call__(self, vectors: Floats) -> Floats:
        """Projects descriptors.

        Args:
          vectors: ``(..., D)``, of any norm.

        Returns:
          ``(..., d)`` of unit norm, of the vectors' dtype.

        Raises:
          InputError: the vectors have another dimension than the mean.
        """
        if vectors.shape[-1] != len(self.mean):
            raise InputError(
                f"The PCA is of descriptors with {len(self.mean)} values; the model's have {vectors.shape[-1]}."
            )
        projected = (unit(vectors) - self.mean) @ self.projection.T
        if self.variances is not None:
            projected = projected / np.sqrt(self.variances)
        return unit(projected).astype(vectors.dtype)

    def digest(self) -> str:
        """Hexadecimal SHA-256 of all arrays."""
        parts = (self.mean, self.projection, np.zeros(0) if self.variances is None else self.variances)
        return hashlib.sha256(b"|".join(np.ascontiguousarray(part, "<f4").tobytes() for part in parts)).hexdigest()


@dataclass(frozen=True, eq=False)
class Projections:
    """The projections of a model's descriptors; none by default.

    Attributes:
      of_global: to the global descriptor of each scale, before the scales are joined.
      of_local: to the local descriptors.
    """

    of_global: Pca | None = None
    of_local: Pca | None = None

    def reduce_global(self, vectors: Floats) -> Floats:
        """Global descriptors ``(..., D)``, projected where there is a projection."""
        return vectors if self.of_global is None else self.of_global(vectors)

    def reduce_local(self, vectors: Floats) -> Floats:
        """Local descriptors ``(N, d)``, projected where there is a projection; no rows stay no rows."""
        if self.of_local is None or not len(vectors):
            return vectors
        return self.of_local(vectors)

    @property
    def settings(self) -> dict[str, str]:
        """The projections by digest, for the settings; empty where nothing is projected."""
        parts = {"global_pca": self.of_global, "local_pca": self.of_local}
        return {name: f"{len(pca.projection)} {pca.digest()}" for name, pca in parts.items() if pca is not None}


NO_PCA = Projections()


def load_pca(mean: str, projection: str, dim: int, variances: str | None = None) -> Pca:
    """Reads a projection from datum files.

    Args:
      mean: file of ``(D,)`` float32.
      projection: file of ``(k, D)`` float32.
      dim: how many of its rows are used, 1 to k.
      variances: file of ``(k,)`` float32, for whitening; None for no whitening.

    Returns:
      The projection of ``dim`` rows.

    Raises:
      InputError: a file cannot be read, or the arrays do not fit together; names the projection's file.
    """
    rows = read_datum(projection)
    if rows.ndim != 2 or not 1 <= dim <= len(rows):
        raise InputError(f"pca_dim expects 1 to the rows of {projection}, which is {rows.shape}. Received: {dim}")
    scales = None if variances is None else read_datum(variances).ravel()[:dim].astype(np.float32)
    try:
        return Pca(read_datum(mean).ravel().astype(np.float32), rows[:dim].astype(np.float32), scales)
    except InputError as error:
        raise InputError(f"The PCA of {projection} does not fit together: {error}") from error

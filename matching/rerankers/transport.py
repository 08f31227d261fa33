"""Entropic optimal transport between the local features of two images, for many images at once (Sinkhorn, NumPy).

The plan of similarities S with dust bins is ``diag(u) K diag(v)`` with ``K = exp(S / 0.1)``. The iterations need K once
and products with K then, which is much quicker than logarithms of sums; similarities of unit vectors lie within
-1 .. 1, so that K fits float32.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.features import Floats

REGULARISATION = 0.1
ITERATIONS = 10

Counts = NDArray[np.int64]


def plans(
    similarities: Floats,
    lengths: Counts,
    row_bins: Any,
    column_bins: Any,
    corner: float,
    *,
    padded_rows: int = 0,
    padded_columns: Any = 0,
    padding_bins: Any = 0.0,
) -> Floats:
    """The transport plans between one image and each of several others, without the dust bins.

    Each feature has mass 1, the dust bin of a side as much as the other side has features. Ten iterations, rows first,
    so that columns sum to at most 1 and rows nearly so. The released ELViS computes the same in logarithms.

    A padded feature exchanges mass with the dust bin alone, so that padding changes the masses, and the plan a little;
    padding is counted here, not computed.

    Args:
      similarities: ``(B, m, N)`` float32 of the image's features and those of the others; overwritten.
      lengths: ``(B,)`` how many of the N columns are features of each image; the others are empty.
      row_bins: ``(m,)``, or a number, similarity of each of the first image's features to the dust bin.
      column_bins: ``(B, N)``, or a number, the same for the other images.
      corner: similarity of the two dust bins.
      padded_rows: how many features of the first image are padding, besides the m.
      padded_columns: ``(B,)``, or a number, the same for the other images, besides their lengths.
      padding_bins: similarity of a padded feature to the dust bin.

    Returns:
      ``(B, m, N)`` float32, the memory of ``similarities``; 0 in empty columns.
    """
    images, m, columns = similarities.shape
    present = (np.arange(columns) < lengths[:, None]).astype(np.float32)
    # The last row of the matrix may have any factor, since u undoes it; this one keeps a large corner in range.
    shift = max(corner, 0.0)
    rows_to_bin = _kernel(np.broadcast_to(row_bins, (m,)))
    bin_to_columns = _kernel(np.broadcast_to(column_bins, (images, columns)) - np.float32(shift))
    corner_kernel = _kernel(np.full(1, corner - shift, np.float32))[0]
    padded_columns = np.broadcast_to(np.asarray(padded_columns, np.float32), (images,))
    row_masses, column_masses = np.float32(m + padded_rows), lengths.astype(np.float32) + padded_columns

    kernel = np.multiply(similarities, np.float32(1 / REGULARISATION), out=similarities)
    np.exp(kernel, out=kernel)
    v, v_bin = present, np.ones(images, np.float32)
    padding = padded_columns * _kernel(np.full(1, padding_bins - shift, np.float32))  # bin row times v of the padding
    for _ in range(ITERATIONS):
        u = 1 / (np.matmul(kernel, v[:, :, None])[:, :, 0] + rows_to_bin * v_bin[:, None])
        u_bin = column_masses / (np.einsum("bn,bn->b", bin_to_columns, v) + corner_kernel * v_bin + padding)
        v = present / (np.matmul(u[:, None, :], kernel)[:, 0, :] + bin_to_columns * u_bin[:, None])
        v_bin = row_masses / (u @ rows_to_bin + corner_kernel * u_bin + padded_rows / v_bin)
        padding = np.divide(padded_columns, u_bin, out=np.zeros_like(u_bin), where=padded_columns > 0)
    kernel *= u[:, :, None]
    kernel *= v[:, None, :]
    return kernel


def _kernel(similarities: Floats) -> Floats:
    return np.exp(np.asarray(similarities, np.float32) * np.float32(1 / REGULARISATION))

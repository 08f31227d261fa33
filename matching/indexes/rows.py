"""A matrix of global descriptors in a file: written in blocks, read by blocks and by rows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matching.indexes.base import Descriptors, Floats, check_rows
from matching.indexes.halves import rows_in_cache, to_float32
from matching.ranking import Ranking
from matching.threads import available, single_threaded
from protos.errors import InputError
from protos.files import atomic_path
from protos.npy import map_array

MATRIX = "descriptors.npy"
BLOCK_BYTES = 1 << 26  # of float32 rows held at once
MAPPED_BYTES = 1 << 29  # of a file mapped for reading single rows; the pages count as resident memory
FAULT_BYTES = 1 << 18  # mapped by the first touch of a row: Linux maps the pages around it, too (0.2 MB measured)


def block_rows(dimension: int) -> int:
    """Rows of a block."""
    return max(1, BLOCK_BYTES // (4 * dimension))


def blocks(descriptors: Descriptors, step: int) -> Iterator[tuple[int, Floats]]:
    """The rows of a matrix as float32, block after block.

    Args:
      descriptors: ``(N, D)``, possibly memory-mapped. Rows that are not float32 are converted in parallel, into
        one buffer: a block is valid until the next is asked for.
      step: rows of a block.

    Yields:
      The number of the first row and ``(n, D)`` rows.
    """
    if descriptors.dtype == np.float32:
        for start in range(0, len(descriptors), step):
            yield start, np.ascontiguousarray(descriptors[start : start + step])
        return
    buffer = np.empty((min(step, len(descriptors)), descriptors.shape[1]), np.float32)
    parts = available()
    with ThreadPoolExecutor(parts) as pool:
        for start in range(0, len(descriptors), step):
            rows = descriptors[start : start + step]
            block = buffer[: len(rows)]
            list(pool.map(_convert, np.array_split(block, parts), np.array_split(rows, parts)))
            yield start, block


def _convert(out: Floats, rows: Descriptors) -> None:
    """A few rows at a time, which stay in a core's cache."""
    step = rows_in_cache(out.shape[1])
    for start in range(0, len(rows), step):
        to_float32(rows[start : start + step], out[start : start + step])


def check_matrix(descriptors: Descriptors, unit: bool) -> None:
    """Checks all rows of a matrix.

    Raises:
      InputError: a value is not finite or, where rows must have unit norm, a norm is not 1.
    """
    for start, block in blocks(descriptors, block_rows(descriptors.shape[1])):
        check_rows(block, start, "database row", unit)


def write_matrix(descriptors: Descriptors, path: Path, dtype: str, unit: bool) -> None:
    """Writes a matrix as float32 or float16, atomically; one that is there already is kept.

    Args:
      descriptors: ``(N, D)``, possibly memory-mapped.
      path: a ``.npy`` file.
      dtype: of the file.
      unit: whether rows must have unit norm.

    Raises:
      InputError: a value is not finite, or too large for the type, or a norm is not 1.
    """
    if path.is_file():
        return
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": descriptors.shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start, block in blocks(descriptors, block_rows(descriptors.shape[1])):
            check_rows(block, start, "database row", unit)
            with np.errstate(over="ignore"):
                rows = block.astype(dtype)
            if not np.isfinite(rows).all():
                raise InputError(
                    f"Database rows {start} to {start + len(rows) - 1} hold values too large for {dtype}; "
                    'expected global descriptors of unit norm, or dtype="float32".'
                )
            file.write(rows.data)


def open_matrix(path: Path, shape: tuple[int, int]) -> NDArray[Any]:
    """Maps a file of descriptors.

    Raises:
      ValueError: it is damaged, or of another shape.
    """
    matrix = map_array(path)
    if matrix.shape != shape:
        raise ValueError(f"{path.name} is of shape {matrix.shape}, expected {shape}")
    return matrix


def matrix_file(folder: Path, wanted: int, shape: tuple[int, int]) -> Path:
    """The file of descriptors that candidates are scored from.

    Raises:
      InputError: scores are ``wanted``, but the index was built without them.
      ValueError: the file is damaged.
    """
    if wanted and not (folder / MATRIX).is_file():
        raise InputError(f"The index {folder} was built with rescore=0 and holds no descriptors to score.")
    if wanted:
        open_matrix(folder / MATRIX, shape)
    return folder / MATRIX


def rescore(queries: Floats, path: Path, candidates: NDArray[np.int64], top_k: int) -> Ranking:
    """Orders candidates by their exact inner products with the queries.

    Only the candidates' rows are read, by all cores. The file is mapped anew every few queries, so the resident
    memory does not grow with their number.

    Args:
      queries: ``(Q, D)``.
      path: file of the ``(N, D)`` database.
      candidates: ``(Q, R)`` rows of the database, ``-1`` for none.
      top_k: how many to keep.

    Returns:
      ``(Q, top_k)``, ending in ``-1`` where there are fewer candidates; of equal scores the lower row comes first.

    Raises:
      InputError: there is no such row.
    """
    indices = np.full((len(queries), top_k), -1, np.int64)
    scores = np.full((len(queries), top_k), -np.inf, np.float32)
    piece = block_rows(queries.shape[1])

    def score(q: int, matrix: NDArray[np.floating[Any]]) -> None:
        rows = np.sort(candidates[q][candidates[q] >= 0])
        products = np.empty(len(rows), np.float32)
        for first in range(0, len(rows), piece):
            part = slice(first, first + piece)
            products[part] = matrix[rows[part]].astype(np.float32) @ queries[q]
        order = np.argsort(-products, kind="stable")[:top_k]
        indices[q, : len(order)], scores[q, : len(order)] = rows[order], products[order]

    step = max(1, MAPPED_BYTES // (FAULT_BYTES * max(candidates.shape[1], 1)))
    with single_threaded(), ThreadPoolExecutor(available()) as pool:
        for start in range(0, len(queries), step):
            batch = range(start, min(start + step, len(queries)))
            matrix = np.asarray(map_array(path))
            if candidates.size and candidates.max() >= len(matrix):
                raise InputError(f"The index {path.parent} is damaged; remove it and run delg-index again.")
            list(pool.map(score, batch, [matrix] * len(batch)))
            del matrix  # before it is mapped again
    return Ranking(indices, scores)

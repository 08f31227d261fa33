"""A matrix of global descriptors in a file: written in blocks, read by blocks and by rows."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import atomic_path
from delg.common.npy import map_array
from matching.indexes.base import Descriptors, Floats, check_rows
from matching.ranking import Ranking
from matching.threads import available, single_threaded

MATRIX = "descriptors.npy"
BLOCK_BYTES = 1 << 26  # of float32 rows in memory at once
READ_ROWS = 4096  # read before they are multiplied
INFINITE = np.uint16(0xF800)  # least code of a float16 that is not finite, its sign shifted out
FIELDS = np.uint32(0x8FFFE000).view(np.int32)  # sign, exponent and fraction of a float16, three bits of exponent apart
REBIAS = np.float32(2.0**112)  # the exponents' offsets are 15 and 127
PIECE_BYTES = 1 << 20  # of float32 rows that stay in a core's cache

Rows = NDArray[np.int64]


def block_rows(dimension: int) -> int:
    """Rows of a block."""
    return max(1, BLOCK_BYTES // (4 * dimension))


def blocks(descriptors: Descriptors, step: int) -> Iterator[tuple[int, Floats]]:
    """The rows of a matrix as float32, block after block.

    Args:
      descriptors: ``(N, D)``, possibly memory-mapped. Rows that are not float32 are converted in parallel, into
        one buffer: a block is valid until the next block is read.
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
    """Converts a few rows at a time, which stay in a core's cache."""
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
    """Writes a matrix as float32 or float16, atomically; an existing file stays.

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
      ValueError: the file is damaged, or of another shape.
    """
    matrix = map_array(path)
    if matrix.shape != shape:
        raise ValueError(f"{path.name} is of shape {matrix.shape}, expected {shape}")
    return matrix


def matrix_file(folder: Path, rescored: int, shape: tuple[int, int]) -> Path:
    """The file of descriptors for exact scores of candidates.

    Raises:
      InputError: the index was built without descriptors, and ``rescored`` is above 0.
      ValueError: the file is damaged.
    """
    if rescored and not (folder / MATRIX).is_file():
        raise InputError(f"The index {folder} was built with rescore=0 and holds no descriptors to score.")
    if rescored:
        open_matrix(folder / MATRIX, shape)
    return folder / MATRIX


def rescore(queries: Floats, path: Path, candidates: NDArray[np.int64], top_k: int) -> Ranking:
    """Orders candidates by their exact inner products with the queries.

    Reads a few thousand rows at a time from the file. Memory-mapping is slower, since each page is faulted in, and
    would count the read rows as resident memory.

    Args:
      queries: ``(Q, D)``.
      path: file of the ``(N, D)`` database.
      candidates: ``(Q, R)`` rows of the database, ``-1`` for none.
      top_k: number of results of each query.

    Returns:
      ``(Q, top_k)``, ending in ``-1`` where there are fewer candidates; of equal scores the lower row comes first.

    Raises:
      InputError: a row is outside the database.
    """
    indices = np.full((len(queries), top_k), -1, np.int64)
    scores = np.full((len(queries), top_k), -np.inf, np.float32)
    with single_threaded(), _reader(path) as read:
        for q, candidate_rows in enumerate(candidates):
            rows = np.sort(candidate_rows[candidate_rows >= 0])
            pieces = [rows[start : start + READ_ROWS] for start in range(0, len(rows), READ_ROWS)]
            products = np.concatenate(
                [np.zeros(0, np.float32), *(_products(read(piece), queries[q]) for piece in pieces)]
            )
            order = np.argsort(-products, kind="stable")[:top_k]
            indices[q, : len(order)], scores[q, : len(order)] = rows[order], products[order]
    return Ranking(indices, scores)


def _products(rows: Descriptors, query: Floats) -> Floats:
    """Inner products in float32 of a few thousand rows."""
    step = rows_in_cache(rows.shape[1])
    buffer = np.empty((min(step, len(rows)), rows.shape[1]), np.float32)
    products = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), step):
        piece = rows[start : start + step]
        to_float32(piece, buffer[: len(piece)])
        products[start : start + step] = buffer[: len(piece)] @ query
    return products


@contextmanager
def _reader(path: Path) -> Iterator[Callable[[Rows], Descriptors]]:
    """A function that reads rows of a matrix file.

    It announces all rows to the operating system first, so that a disk can read many rows at once.
    """
    matrix: Any = map_array(path)
    width, offset = matrix.shape[1] * matrix.itemsize, matrix.offset
    damaged = InputError(f"The index {path.parent} is damaged; remove it and run delg-index again.")
    with path.open("rb") as file:

        def read(rows: Rows) -> Descriptors:
            if len(rows) and rows.max() >= len(matrix):
                raise damaged
            out: Any = np.empty((len(rows), matrix.shape[1]), matrix.dtype)
            if not hasattr(os, "posix_fadvise"):
                return np.take(matrix, rows, axis=0, out=out)
            places = [offset + width * row for row in rows.tolist()]
            for place in places:
                os.posix_fadvise(file.fileno(), place, width, os.POSIX_FADV_WILLNEED)
            view = memoryview(out).cast("B")
            for i, place in enumerate(places):
                if os.preadv(file.fileno(), [view[i * width : (i + 1) * width]], place) != width:
                    raise damaged
            return out

        yield read


def rows_in_cache(dimension: int) -> int:
    """Number of float32 rows of a dimension that fit into a core's cache."""
    return max(1, PIECE_BYTES // (4 * max(dimension, 1)))


def to_float32(rows: NDArray[np.floating[Any]], out: Floats) -> None:
    """Writes rows as float32, exactly as NumPy would.

    The bits of a float16, shifted to their places in a float32, are the value times ``2^-112``, also for subnormal
    values; values that are not finite have other codes. NumPy converts rows with such values, and of other dtypes.

    Args:
      rows: ``(N, D)``, contiguous for the speed.
      out: ``(N, D)``; should fit into a core's cache, as four passes write it.
    """
    if rows.dtype != np.float16 or not rows.flags.c_contiguous or _largest(rows) >= INFINITE:
        np.copyto(out, rows, casting="same_kind")
        return
    bits = out.view(np.int32)
    np.copyto(bits, rows.view(np.int16))
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, FIELDS, out=bits)
    np.multiply(out, REBIAS, out=out)


def _largest(rows: NDArray[np.floating[Any]]) -> np.uint16:
    """The largest code of a float16, its sign shifted out."""
    return np.max(rows.view(np.uint16) << 1, initial=0)

"""Exact search: every row of the database, in blocks."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from matching.indexes.base import Descriptors, Floats, Index, check_rows, depth
from matching.indexes.rows import MATRIX, open_matrix, rows_in_cache, to_float32, write_matrix
from matching.ranking import Ranking
from matching.source import check_dimensions
from matching.threads import available, single_threaded

QUERY_ROWS = 256
BLOCK_BYTES = 1 << 26  # of database rows converted to float32, and of similarities, each
SCANNED_BYTES = 1 << 28  # of float16 rows in a block for a few queries
FEW = 6  # queries; for more, converting the rows once takes less time than reading them for each query
LANES = 8  # values that FAISS multiplies at once; for other dimensions FAISS takes one value at a time
DTYPES = ("float32", "float16")

Product = Callable[[Floats, Descriptors], Floats]
Scored = tuple[Floats, NDArray[np.int64]]


class Exact(Index):
    """All rows are compared with each query, in float32; the file holds float32 or float16.

    Many queries at once share the conversion of the rows. For a few, FAISS reads the float16 rows as they lie, and so
    is nearly as fast as the memory.
    """

    unit = False

    def __init__(self, dtype: str = "float16"):
        """Sets the dtype of the file: ``float32``, or ``float16`` of half the size (scores differ by about 1e-4).

        Raises:
          InputError: another dtype.
        """
        if dtype not in DTYPES:
            raise InputError(f"exact expects dtype {' or '.join(DTYPES)}. Received: {dtype!r}")
        self.dtype = dtype
        self._matrix: Descriptors = np.zeros((0, 0), np.float32)

    def build(self, descriptors: Descriptors, folder: Path) -> None:
        """Writes the descriptors."""
        write_matrix(descriptors, folder / MATRIX, self.dtype, self.unit)

    def open(self, folder: Path, shape: tuple[int, int]) -> None:
        """Maps the descriptors."""
        self._matrix = open_matrix(folder / MATRIX, shape)

    def search(self, queries: Floats, top_k: int) -> Ranking:
        """Searches the opened rows."""
        return search(queries, self._matrix, top_k)


def search(queries: Descriptors, database: Descriptors, top_k: int | None = None) -> Ranking:
    """Ranks database rows by inner product with each query, in float32.

    Exact. Queries and database are read in blocks: memory beyond the result does not grow with their numbers, and the
    database may be memory-mapped.

    Args:
      queries: ``(Q, D)``, rows of unit norm (the scores then are cosines); float16 or wider.
      database: ``(N, D)``, likewise.
      top_k: number of results of each query, at most N; None for N.

    Returns:
      ``(Q, min(top_k, N))``; of equal scores the lower row comes first.

    Raises:
      InputError: shapes do not fit, the database is empty, ``top_k`` is below 1, or a descriptor is zero or not finite.
    """
    check_dimensions(queries, database)
    if not len(database):
        raise InputError("The database holds no images.")
    k = depth(top_k, len(database))
    indices = np.zeros((len(queries), k), np.int64)
    scores = np.zeros((len(queries), k), np.float32)
    for start in range(0, len(queries), QUERY_ROWS):
        rows = slice(start, start + QUERY_ROWS)
        block = np.ascontiguousarray(queries[rows], np.float32)
        check_rows(block, start, "query", unit=False)
        if k == len(database):
            _rank_all(block, database, indices[rows], scores[rows])
        else:
            _rank_best(block, database, indices[rows], scores[rows])
    return Ranking(indices, scores)


def _rank_best(queries: Floats, database: Descriptors, indices: NDArray[np.int64], scores: Floats) -> None:
    """Writes the best ``k`` rows of a few queries, where ``k`` is the width of the two arrays."""
    best: list[Scored] = [(np.zeros(0, np.float32), np.zeros(0, np.int64))] * len(queries)
    for start, similarities in similar_blocks(queries, database):
        best = [merge(previous, row, start, indices.shape[1]) for previous, row in zip(best, similarities)]
    for q, (values, rows) in enumerate(best):
        scores[q], indices[q] = values, rows


def _rank_all(queries: Floats, database: Descriptors, indices: NDArray[np.int64], scores: Floats) -> None:
    """Writes all rows in order for a few queries."""
    for start, similarities in similar_blocks(queries, database):
        scores[:, start : start + similarities.shape[1]] = similarities
    for q in range(len(queries)):
        indices[q] = np.argsort(-scores[q], kind="stable")
        scores[q] = scores[q, indices[q]]


def similar_blocks(queries: Floats, database: Descriptors) -> Iterator[tuple[int, Floats]]:
    """The first row of each block of the database, and the ``(Q, n)`` inner products of the block."""
    dimension = database.shape[1]
    step = max(1, BLOCK_BYTES // (4 * max(dimension, len(queries))))
    with contextlib.ExitStack() as stack:
        if database.dtype == np.float32:
            product: Product = _plain
        elif database.dtype == np.float16 and len(queries) <= FEW and dimension % LANES == 0:
            step = max(1, SCANNED_BYTES // (2 * dimension))
            product = stack.enter_context(_in_parallel(_scan))
        else:
            product = stack.enter_context(_in_parallel(_convert))
        for start in range(0, len(database), step):
            rows = database[start : start + step]
            with np.errstate(over="ignore", invalid="ignore"):
                similarities = product(queries, rows)
            if not np.isfinite(similarities).all():
                row = start + int(np.argmin(np.isfinite(similarities).all(axis=0)))
                raise InputError(f"The global descriptor of database row {row} is not finite, or too large.")
            _check_zero(rows, similarities, start)
            yield start, similarities


def _check_zero(rows: Descriptors, similarities: Floats, start: int) -> None:
    """Looks for zero rows among the rows whose product with the first query is 0."""
    suspects = np.flatnonzero(similarities[0] == 0) if len(similarities) else np.zeros(0, np.int64)
    zero = suspects[~rows[suspects].any(axis=1)]
    if len(zero):
        raise InputError(f"The global descriptor of database row {start + int(zero[0])} is zero.")


def _plain(queries: Floats, rows: Descriptors) -> Floats:
    """Products with float32 rows."""
    return queries @ np.ascontiguousarray(rows, np.float32).T


@contextlib.contextmanager
def _in_parallel(part: Callable[[Floats, Floats, Descriptors], None]) -> Iterator[Product]:
    """A function for products with rows of another dtype; all cores compute a part each."""
    parts = available()
    with single_threaded(), ThreadPoolExecutor(parts) as pool:

        def product(queries: Floats, rows: Descriptors) -> Floats:
            out = np.empty((len(queries), len(rows)), np.float32)
            shares = np.array_split(out, parts, axis=1), np.array_split(rows, parts)
            list(pool.map(partial(part, queries), *shares))
            return out

        yield product


def _convert(queries: Floats, out: Floats, rows: Descriptors) -> None:
    """Converts a few rows at a time, so that the multiplication reads the core's cache."""
    step = rows_in_cache(rows.shape[1])
    buffer = np.empty((min(step, len(rows)), rows.shape[1]), np.float32)
    for start in range(0, len(rows), step):
        halves = rows[start : start + step]
        piece = buffer[: len(halves)]
        to_float32(halves, piece)
        out[:, start : start + step] = queries @ piece.T


def _scan(queries: Floats, out: Floats, rows: Descriptors) -> None:
    """Multiplies float16 rows as they lie, by FAISS' scanner of lists; a range search without limit gives all products.

    A range search leaves out products that are not numbers. NumPy then computes all of them, for the checks.
    """
    import faiss  # here, so that listing the indexes does not load FAISS

    n, dimension = rows.shape
    if not n:
        return
    quantizer = faiss.ScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16)
    scanner = quantizer.select_InvertedListScanner(faiss.METRIC_INNER_PRODUCT, None, False, None, False)
    codes, labels = np.ascontiguousarray(rows).view(np.uint8).reshape(-1), np.arange(n)
    for query, products in zip(queries, out):
        result = faiss.RangeSearchResult(1)
        partial_result = faiss.RangeSearchPartialResult(result)
        scanner.set_query(faiss.swig_ptr(query))
        scanner.set_list(0, 0.0)
        into = partial_result.new_result(0)
        scanner.scan_codes_range(n, faiss.swig_ptr(codes), faiss.swig_ptr(labels), -np.inf, into)
        partial_result.finalize()
        if faiss.rev_swig_ptr(result.lims, 2)[1] == n:
            products[:] = faiss.rev_swig_ptr(result.distances, n)
        else:
            _convert(query[None], products[None], rows)


def merge(previous: Scored, row: Floats, start: int, k: int) -> Scored:
    """The best ``k`` of previous scores and those of a block, best first, lower indices first among equals.

    Previous indices are all below the indices of the block, so that a stable sort keeps equal scores in index order.
    """
    scores, indices = previous
    if len(scores) == k:
        new = np.flatnonzero(row > scores[-1])  # equal scores keep the earlier row
    elif len(row) > k:
        new = np.flatnonzero(row >= np.partition(row, len(row) - k)[len(row) - k])
    else:
        new = np.arange(len(row))
    if not len(new):
        return previous
    scores, indices = np.concatenate([scores, row[new]]), np.concatenate([indices, new + start])
    order = np.argsort(-scores, kind="stable")[:k]
    return scores[order], indices[order]

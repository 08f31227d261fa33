"""Nearest neighbours of binary descriptors: Hamming distances by counting bits, 64 at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from extraction.features import Bits, Floats

Rows = NDArray[np.int64]
Words = NDArray[np.uint64]
BLOCK = 100_000  # words held at once, 800 kB: they should stay in a core's cache
WIDTH = 128  # bytes that argmin compares at a stroke
BUFFER = 512  # elements


def nearest(
    query: Bits, index: Bits, threshold: float = 1.0, ratio: float | None = None, mutual: bool = False
) -> tuple[Rows, Floats]:
    """For each query descriptor the nearest index descriptor, in blocks of bounded memory.

    The distance is the Euclidean one of the unit vectors that the bits tell of: where ``h`` of ``b`` signs differ, the
    angle is near ``pi h / b`` (exactly so on average over random rotations), and the distance ``2 sin(pi h / (2 b))``.
    So thresholds mean what they mean for floats; that of 1 is fewer than a third of the bits.

    Args:
      query: ``(N, b / 8)`` uint8, packed bits.
      index: ``(M, b / 8)`` uint8.
      threshold: a match must be nearer than this distance, strictly.
      ratio: a match must also be nearer than ``ratio`` times the second nearest, strictly; None for no such test.
      mutual: the query descriptor must in turn be the nearest to the index descriptor.

    Returns:
      ``(P, 2)`` rows ``(query, index)``, query rows increasing; ``(P,)`` their distances. Of equally near
      descriptors the one of lowest row is taken.
    """
    if not len(query) or not len(index):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    bits = 8 * query.shape[1]
    best, least, second = (np.zeros(len(query), np.int64) for _ in range(3))
    backward, lowest = np.zeros(len(index), np.int64), np.full(len(index), bits + 1)
    for start, padded in _blocks(_words(query), _words(index)):
        rows = slice(start, start + len(padded))
        found = padded.argmin(axis=1)  # of padded rows, which is faster
        counts = padded[:, : len(index)]
        own = np.arange(len(counts)), found
        best[rows], least[rows] = found, counts[own]
        if mutual:
            winner = counts.argmin(axis=0)
            value = counts[winner, np.arange(len(index))]
            backward = np.where(value < lowest, winner + start, backward)
            lowest = np.minimum(value, lowest)
        if ratio is not None:
            counts[own] = np.iinfo(counts.dtype).max
            second[rows] = counts.min(axis=1)
    distance = _distance(least, bits)
    keep = distance < threshold
    if ratio is not None and len(index) > 1:
        keep &= distance < ratio * _distance(second, bits)
    if mutual:
        keep &= backward[best] == np.arange(len(query))
    kept = np.flatnonzero(keep)
    return np.stack([kept, best[kept]], axis=1), distance[kept]


def _distance(counts: Rows, bits: int) -> Floats:
    return (2 * np.sin(np.pi * counts / (2 * bits))).astype(np.float32)


def _words(descriptors: Bits) -> Words:
    """``(W, N)``: the bits of ``(N, B)`` bytes as words, one row for the first word of each descriptor, and so on."""
    padded = np.pad(descriptors, ((0, 0), (0, -descriptors.shape[1] % 8)))
    return np.ascontiguousarray(padded.view(np.uint64).T)


def _blocks(query: Words, index: Words) -> Iterator[tuple[int, NDArray[np.unsignedinteger]]]:
    """Numbers of differing bits of some query rows and all index rows, after the number of the first query row.

    They are ``(n, M)``, with more columns after those, which hold the highest number there is. The array is used again
    for the next block.
    """
    rows, columns = query.shape[1], index.shape[1]
    step = min(rows, max(1, BLOCK // columns))
    dtype = np.uint8 if 64 * len(query) < 255 else np.uint16
    words, count = np.empty((step, columns), np.uint64), np.empty((step, columns), np.uint8)
    padded = np.full((step, columns + -columns % WIDTH), np.iinfo(dtype).max, dtype)
    with _unbuffered():
        for start in range(0, rows, step):
            n = min(step, rows - start)
            total = padded[:n, :columns]
            for word, (left, right) in enumerate(zip(query, index)):
                np.bitwise_xor(left[start : start + n, None], right, out=words[:n])
                _count(words[:n], count[:n] if word else total)
                if word:
                    np.add(total, count[:n], out=total)
            yield start, padded[:n]


@contextmanager
def _unbuffered() -> Iterator[None]:
    """Keeps NumPy from copying rows of a few thousand elements to a buffer first, which takes longer than the XOR."""
    size = np.setbufsize(BUFFER)
    try:
        yield
    finally:
        np.setbufsize(size)


def _count_by_table(words: Words, out: Bits) -> None:
    """``(n, M)`` numbers of set bits, 16 at once."""
    np.sum(_TABLE[words.view(np.uint16)].reshape(*words.shape, 4), axis=-1, out=out, dtype=np.uint8)


def _count_by_processor(words: Words, out: Bits) -> None:
    """``(n, M)`` numbers of set bits."""
    np.bitwise_count(words, out=out)


_TABLE = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16).sum(axis=1, dtype=np.uint8)
_count = _count_by_processor if hasattr(np, "bitwise_count") else _count_by_table

"""Rows of float16 as float32, at more than twice the speed of NumPy's cast."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

INFINITE = np.uint16(0xF800)  # least code of what is not finite, its sign shifted out
FIELDS = np.uint32(0x8FFFE000).view(np.int32)  # sign, exponent and fraction of a float16, three bits of exponent apart
REBIAS = np.float32(2.0**112)  # the exponents' offsets are 15 and 127
PIECE_BYTES = 1 << 20  # of float32 rows that stay in a core's cache


def rows_in_cache(dimension: int) -> int:
    """How many float32 rows of a dimension a thread should work on at once."""
    return max(1, PIECE_BYTES // (4 * max(dimension, 1)))


def to_float32(rows: NDArray[np.floating[Any]], out: Floats) -> None:
    """Writes rows as float32, exactly as NumPy would.

    The bits of a float16, moved to their places in a float32, are its value times ``2^-112``, also where it is
    subnormal; only what is not finite has another code. Such rows, and those of other types, are left to NumPy.

    Args:
      rows: ``(N, D)``, contiguous for the speed.
      out: ``(N, D)``; small enough for a core's cache, as it is passed over four times.
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

"""float16 to float32 by the bits: every code there is."""

import numpy as np
import pytest

from matching.indexes.rows import to_float32

CODES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(64, 1024)
FINITE = CODES[np.isfinite(CODES).all(axis=1)]


@pytest.mark.parametrize(
    "rows", [CODES, FINITE, FINITE[:, ::2], np.asfortranarray(FINITE), FINITE[:0], FINITE.astype(np.float32)]
)
def test_as_numpy_casts(rows):
    out = np.full(rows.shape, 7, np.float32)
    to_float32(rows, out)
    np.testing.assert_array_equal(out.view(np.uint32), rows.astype(np.float32).view(np.uint32))


def test_only_two_of_the_rows_are_left_to_numpy():
    assert len(FINITE) == 62


def test_wider_types_are_narrowed():
    out = np.empty((1, 2), np.float32)
    to_float32(np.array([[0.1, np.inf]]), out)
    assert out.tolist() == [[np.float32(0.1), np.inf]]

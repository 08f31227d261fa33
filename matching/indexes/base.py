"""What the kinds of indexes have in common: their interface and the checks of what they are given."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from matching.ranking import Ranking

Descriptors = NDArray[np.floating[Any]]
Floats = NDArray[np.float32]

MOST = 2**31 - 1  # of a setting
UNIT_TOLERANCE = 0.01  # how far a norm may be from 1


class Index(Protocol):
    """One kind of index. The constructor's keyword arguments are its settings; build, then open, then search.

    It is built straight into a folder, from which it is then opened memory-mapped: neither needs all descriptors in
    memory. What it is given has been checked by :class:`matching.indexes.saved.Searchable`.

    Attributes:
      unit: whether it expects rows and queries of unit norm; an approximate index does, since it looks for directions.
      tunable: the settings that may be changed on an open index.
    """

    unit: bool
    tunable: tuple[str, ...]

    def check(self, count: int, dimension: int) -> None:
        """Raises InputError if the settings do not fit ``count`` descriptors of this dimension."""
        ...

    def build(self, descriptors: Descriptors, folder: Path) -> None:
        """Writes the files of the index of ``(N, D)`` descriptors; stages that are done are not done again."""
        ...

    def open(self, folder: Path, shape: tuple[int, int]) -> None:
        """Opens the files that :meth:`build` wrote of ``(N, D)``. Raises OSError or ValueError if they are damaged."""
        ...

    def search(self, queries: Floats, top_k: int) -> Ranking:
        """The best ``top_k <= N`` rows for each of ``(Q, D)`` queries; ``-1`` where fewer are found."""
        ...


def depth(top_k: int | None, count: int) -> int:
    """How many rows a ranking has: ``top_k``, but at most ``count``, and all for None.

    Raises:
      InputError: ``top_k`` is not a whole number of at least 1.
    """
    if top_k is None:
        return count
    if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or top_k < 1:
        raise InputError(f"top_k expects 1 or more, or None for all. Received: {top_k!r}")
    return min(int(top_k), count)


def whole(name: str, value: object, least: int) -> int:
    """A setting that is a whole number.

    Raises:
      InputError: it is none, or below ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} expects a whole number of {least} or more. Received: {value!r}")
    if value > MOST:
        raise InputError(f"{name} expects a whole number of {MOST} or less. Received: {value!r}")
    return value


def check_rows(rows: Descriptors, start: int, what: str, unit: bool) -> None:
    """Checks the values of global descriptors.

    Args:
      rows: ``(n, D)``.
      start: number of the first row, for the message.
      what: whose they are, for the message.
      unit: whether the rows must have unit norm.

    Raises:
      InputError: names the first row that is zero or holds values which are not finite, or whose norm is not 1.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(np.asarray(rows, np.float32), axis=1)
    finite = np.isfinite(norms)
    if not finite.all():
        raise InputError(
            f"The global descriptor of {what} {start + int(np.argmin(finite))} is not finite, or too large."
        )
    if not norms.all():
        raise InputError(f"The global descriptor of {what} {start + int(np.argmin(norms))} is zero.")
    off = np.abs(norms - 1) > UNIT_TOLERANCE
    if unit and off.any():
        row = int(np.argmax(off))
        raise InputError(
            f"An approximate index expects global descriptors of unit norm; that of {what} {start + row} is "
            f"{norms[row]:.4g}. The index 'exact' takes any."
        )


def in_order(indices: NDArray[np.int64], scores: Floats) -> Ranking:
    """Puts each row in order: scores decreasing, of equal ones the lower index first, ``-1`` at the end.

    Args:
      indices: ``(Q, K)``, ``-1`` where nothing was found.
      scores: ``(Q, K)``; those of ``-1`` do not matter.
    """
    scores = np.where(indices < 0, np.float32(-np.inf), scores.astype(np.float32))
    order = np.lexsort((indices, -scores), axis=1)
    return Ranking(
        np.take_along_axis(indices.astype(np.int64), order, axis=1), np.take_along_axis(scores, order, axis=1)
    )

"""The base class of the kinds of indexes, and checks of descriptors."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from matching.ranking import Ranking

Descriptors = NDArray[np.floating[Any]]
Floats = NDArray[np.float32]

UNIT_TOLERANCE = 0.01  # how far a norm may be from 1


class Index(ABC):
    """One kind of index in a folder: built, then opened, then searched.

    The arguments of the constructor are its settings. Descriptors are read from the store and written to the folder in
    blocks, and the files are opened memory-mapped: the descriptors need not fit into memory. Queries have been checked
    by :class:`matching.indexes.saved.Searchable`.

    Attributes:
      unit: whether rows and queries must be of unit norm, as approximate indexes expect.
      tunable: the settings that may be changed on an open index.
    """

    unit: bool = True
    tunable: tuple[str, ...] = ()

    def check(self, count: int, dimension: int) -> None:  # noqa: B027  # a subclass may accept everything
        """Checks the settings before anything is written.

        Raises:
          InputError: the settings do not fit ``count`` descriptors of this dimension.
        """

    @abstractmethod
    def build(self, descriptors: Descriptors, folder: Path) -> None:
        """Writes the files of the index of ``(N, D)`` descriptors; stages that are done are not done again.

        Files of an index end in ``.npy`` or ``.faiss``.

        Raises:
          InputError: a descriptor is zero, not finite or not of unit norm.
        """

    @abstractmethod
    def open(self, folder: Path, shape: tuple[int, int]) -> None:
        """Opens the files that :meth:`build` wrote of ``(N, D)`` descriptors.

        Raises:
          InputError, OSError, ValueError: the files are damaged.
        """

    @abstractmethod
    def search(self, queries: Floats, top_k: int) -> Ranking:
        """Ranks the rows for a few queries.

        Args:
          queries: ``(Q, D)``.
          top_k: rows of each query; at most ``N``.

        Returns:
          ``(Q, top_k)`` by decreasing score; rows end in ``-1`` where fewer are found.
        """


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


def check_rows(rows: Descriptors, start: int, what: str, unit: bool) -> None:
    """Checks the values of global descriptors.

    Args:
      rows: ``(n, D)``.
      start: number of the first row, for the message.
      what: the owner of the descriptors, for the message.
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
      indices: ``(Q, K)`` rows of the database, ``-1`` for none.
      scores: ``(Q, K)``; those of ``-1`` do not matter.
    """
    scores = np.where(indices < 0, np.float32(-np.inf), scores.astype(np.float32))
    order = np.lexsort((indices, -scores), axis=1)
    return Ranking(
        np.take_along_axis(indices.astype(np.int64), order, axis=1), np.take_along_axis(scores, order, axis=1)
    )

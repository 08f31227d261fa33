"""The photos that a search sees: their names and global descriptors in memory, local features read when needed."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collection.state import Transaction
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from extraction.store.encoding import encoding

SPARE = 1.25  # rows of the matrix for each described photo, before rows of removed photos are given back


class Snapshot:
    """The searchable photos of one state. Nobody changes it; :meth:`updated` gives the next one.

    The matrix holds a row for each description that is or was in use, so that an update reads new descriptors only;
    where more than a fifth of the rows are of removed photos, they are given back.

    Attributes:
      changes: the number of the state, see :meth:`collection.state.Transaction.changes`.
      paths: of the photos, sorted.
      descriptions: ``(N,)`` int64, the description of each photo.
      rows: ``(N,)`` int64, the row of the matrix of each photo.
      facts: how photos are described.
    """

    def __init__(
        self,
        changes: int,
        facts: dict[str, Any],
        photos: Sequence[tuple[str, int]],
        matrix: Floats,
        row_of: dict[int, int],
    ):
        """Takes the photos of a state and a matrix that has a row for each of their descriptions."""
        self.changes, self.facts = changes, facts
        self.paths = [path for path, _ in photos]
        self.descriptions = np.array([description for _, description in photos], np.int64)
        self.rows = np.array([row_of[description] for _, description in photos], np.int64)
        self._matrix, self._row_of = matrix, row_of

    @classmethod
    def empty(cls) -> "Snapshot":
        """A snapshot of no state."""
        return cls(-1, {}, [], np.zeros((0, 0), np.float32), {})

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.paths)

    def updated(self, transaction: Transaction) -> "Snapshot":
        """The snapshot of the state that a transaction sees; this one, if nothing has changed."""
        changes = transaction.changes()
        if changes == self.changes:
            return self
        facts, photos = transaction.facts(), transaction.searchable()
        needed = dict.fromkeys(description for _, description in photos)
        matrix, row_of = self._matrix, self._row_of
        if len(row_of) + sum(description not in row_of for description in needed) > SPARE * len(needed) + 1:
            matrix, row_of = self._compacted(needed)
        new = [description for description in needed if description not in row_of]
        if new:
            added = transaction.vectors(new)
            row_of = row_of | dict(zip(new, itertools.count(len(matrix))))
            matrix = np.concatenate([matrix, added]) if len(matrix) else added
        return Snapshot(changes, facts, photos, matrix, row_of)

    def nearest(self, query: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
        """The most similar photos.

        Args:
          query: ``(D,)`` float32 of unit norm.
          count: of photos; no more than there are.

        Returns:
          Their places in :attr:`paths` and their cosine similarities, best first; of equal ones the path decides.
        """
        similarities = (self._matrix @ query)[self.rows]
        if count < len(similarities):
            least = np.partition(similarities, len(similarities) - count)[len(similarities) - count]
            places = np.flatnonzero(similarities >= least)
        else:
            places = np.arange(len(similarities))
        order = places[np.argsort(-similarities[places], kind="stable")][:count]
        return order, similarities[order]

    def vectors(self, places: NDArray[np.int64] | slice = slice(None)) -> Floats:
        """``(N, D)`` global descriptors of photos, by their places in :attr:`paths`."""
        return self._matrix[self.rows[places]]

    @property
    def dimension(self) -> int:
        """Values of a global descriptor."""
        return int(self._matrix.shape[1])

    def _compacted(self, needed: dict[int, Any]) -> tuple[Floats, dict[int, int]]:
        """The matrix and its rows without those that are not needed."""
        remaining = [description for description in self._row_of if description in needed]
        rows = [self._row_of[description] for description in remaining]
        return self._matrix[rows], dict(zip(remaining, itertools.count()))


class SnapshotSource(FeatureSource):
    """The photos of a snapshot as features for rerankers and exports, in the transaction that the snapshot is of.

    Attributes:
      extra: local features by description, which the state does not hold yet.
    """

    checked = False

    def __init__(self, folder: Path, snapshot: Snapshot, transaction: Transaction):
        """Takes the snapshot; ``folder`` stands in messages."""
        settings = snapshot.facts.get("settings", {})
        super().__init__(folder, snapshot.paths, settings, paths={path: path for path in snapshot.paths})
        self.local_dtype = str(snapshot.facts.get("local_dtype", "float32"))
        self.extra: dict[int, Features] = {}
        self._snapshot, self._transaction, self._encoding = snapshot, transaction, encoding(self.local_dtype)

    @cached_property
    def global_descriptors(self) -> Floats:
        """``(N, D)`` float32 global descriptors."""
        return self._snapshot.vectors()

    @cached_property
    def local_bytes(self) -> int:
        """Bytes of local features in the state."""
        return self._transaction.local_bytes()

    def read(self, i: int) -> Features:
        """All features of photo ``i``."""
        row = int(self._snapshot.descriptions[i])
        features = self._transaction.features(row, self.names[i], self._encoding)
        if local := self.extra.get(row):
            features = replace(local, name=features.name, global_descriptor=features.global_descriptor)
        return features

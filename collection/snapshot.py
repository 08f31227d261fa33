"""The photos that a search sees: their names and global descriptors in memory, local features read when needed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collection.neighbours import Neighbours, places_of
from collection.state import Transaction
from delg.common.errors import InputError
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from extraction.store.encoding import encoding


class Snapshot:
    """The searchable photos of one state. Nobody changes it; :meth:`updated` gives the next one.

    Attributes:
      changes: the number of the state, see :meth:`collection.state.Transaction.changes`.
      facts: how photos are described.
      paths: of the photos, sorted.
      descriptions: ``(N,)`` int64, the description of each photo.
      vectors: ``(N, D)`` float32, the global descriptor of each photo.
      neighbours: the index, which gives candidates; None where all photos are compared.
    """

    def __init__(
        self,
        changes: int,
        facts: dict[str, Any],
        photos: Sequence[tuple[str, int]],
        vectors: Floats,
        neighbours: Neighbours | None = None,
    ):
        """Takes the photos of a state: paths and descriptions."""
        self.changes, self.facts, self.vectors, self.neighbours = changes, facts, vectors, neighbours
        self.paths = [path for path, _ in photos]
        self.descriptions = np.array([description for _, description in photos], np.int64)

    @classmethod
    def empty(cls) -> "Snapshot":
        """A snapshot of no state."""
        return cls(-1, {}, [], np.zeros((0, 0), np.float32))

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.paths)

    def updated(self, folder: Path, transaction: Transaction) -> "Snapshot":
        """The snapshot of the state that a transaction sees; this one, if nothing has changed.

        Only descriptors that are new are read.

        Args:
          folder: of the state.
          transaction: of the state.
        """
        changes = transaction.changes()
        if changes == self.changes:
            return self
        photos = transaction.searchable()
        place_of = {int(description): place for place, description in enumerate(self.descriptions)}
        new = list(dict.fromkeys(description for _, description in photos if description not in place_of))
        place_of |= zip(new, range(len(self), len(self) + len(new)))
        vectors = np.concatenate([self.vectors, transaction.vectors(new)]) if len(self) and new else self.vectors
        vectors = vectors if len(self) else transaction.vectors(new)
        places = np.array([place_of[description] for _, description in photos], np.int64)
        facts, neighbours = transaction.facts(), self.neighbours
        record = facts.get("index")
        if record is None:
            neighbours = None
        elif neighbours is None or neighbours.record != record:
            try:
                neighbours = Neighbours(folder, record)
            except (InputError, OSError, ValueError):  # all photos are compared until it is built anew
                neighbours = None
        return Snapshot(changes, facts, photos, vectors[places] if len(photos) else vectors[:0], neighbours)

    def nearest(self, query: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
        """The most similar photos.

        Args:
          query: ``(D,)`` float32 of unit norm.
          count: of photos; no more than there are.

        Returns:
          Their places in :attr:`paths` and their cosine similarities, best first; of equal ones the path decides.
        """
        places = self._candidates(query, count)
        similarities = (self.vectors if len(places) == len(self) else self.vectors[places]) @ query
        if count < len(similarities):
            least = np.partition(similarities, len(similarities) - count)[len(similarities) - count]
            best = np.flatnonzero(similarities >= least)
            places, similarities = places[best], similarities[best]
        order = np.argsort(-similarities, kind="stable")[:count]
        return places[order], similarities[order]

    @cached_property
    def _by_description(self) -> NDArray[np.int64]:
        """Places of photos, sorted by description."""
        return np.argsort(self.descriptions, kind="stable")

    @cached_property
    def _newer(self) -> NDArray[np.int64]:
        """Places of photos that the index does not hold."""
        assert self.neighbours is not None
        return np.flatnonzero(~np.isin(self.descriptions, self.neighbours.descriptions))

    def _candidates(self, query: Floats, count: int) -> NDArray[np.int64]:
        """Places of photos that may be among the most similar ones, sorted; all without an index that answers."""
        everything, asked = np.arange(len(self)), 2 * count
        if self.neighbours is None:
            return everything
        while True:
            try:
                descriptions = self.neighbours.candidates(query, asked)
            except InputError:
                return everything
            places = places_of(self.descriptions, descriptions, self._by_description)
            if len(places) + len(self._newer) >= count or len(descriptions) < asked:
                return np.union1d(places, self._newer)
            asked *= 2


class SnapshotSource(FeatureSource):
    """The photos of a snapshot as features for rerankers and exports, in the transaction that the snapshot is of.

    Attributes:
      extra: local features by description, which the state does not hold yet.
      snapshot: the photos.
      transaction: of the state.
    """

    checked = False

    def __init__(self, folder: Path, snapshot: Snapshot, transaction: Transaction):
        """Takes the snapshot; ``folder`` stands in messages."""
        settings = snapshot.facts.get("settings", {})
        super().__init__(folder, snapshot.paths, settings, paths={path: path for path in snapshot.paths})
        self.local_dtype = str(snapshot.facts.get("local_dtype", "float32"))
        self.extra: dict[int, Features] = {}
        self.global_descriptors = snapshot.vectors
        self.snapshot, self.transaction, self._encoding = snapshot, transaction, encoding(self.local_dtype)

    @cached_property
    def local_bytes(self) -> int:
        """Bytes of local features in the state."""
        return self.transaction.local_bytes()

    def read(self, i: int) -> Features:
        """All features of photo ``i``."""
        row = int(self.snapshot.descriptions[i])
        features = self.transaction.features(row, self.names[i], self._encoding)
        if local := self.extra.get(row):
            features = replace(local, name=features.name, global_descriptor=features.global_descriptor)
        return features

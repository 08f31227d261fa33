"""An index over the descriptions of a large collection, which gives candidates for an exact comparison.

The index holds the descriptions of one moment. Photos that are newer are compared one by one, descriptions that are no
longer in use are passed over, and where both together are more than a tenth of the index it is built anew.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common import spec
from delg.common.errors import InputError
from delg.common.files import atomic_path
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from matching.indexes import milvus
from matching.indexes.base import Index
from matching.indexes.saved import Searchable
from matching.indexes.table import INDEXES, build_index, open_index

EXACT = "exact"
LARGE = "ivf_sq"  # the kind of index above MOST photos, unless another one is chosen
MOST = 100_000  # photos that are compared one by one: 0.5 GB of descriptors of 1280 values, 50 ms
STALE = 0.1
Rows = NDArray[np.int64]


class Neighbours:
    """An open index.

    Attributes:
      record: what the state records of it.
      descriptions: ``(N,)`` int64, sorted, those that it holds.
    """

    def __init__(self, folder: Path, record: dict[str, Any]):
        """Opens an index that :func:`built` made.

        Args:
          folder: of the state.
          record: see :func:`built`.

        Raises:
          InputError: the index is damaged, or Milvus cannot be reached.
        """
        self.record = record
        self.descriptions: Rows = np.load(folder / f"{record['name']}.npy")
        self._index: Searchable = open_index(record["place"] or os.fspath(folder / record["name"]))

    def candidates(self, query: Floats, count: int) -> Rows:
        """About ``count`` descriptions that are most similar to a query ``(D,)``."""
        most = min(count, len(self.descriptions), self._index.most or count)
        rows = self._index.search(query[None], most).row(0)
        return self.descriptions[rows]


def kind_of(text: str | None, photos: int) -> str:
    """The kind of index of a collection: the chosen one, or the usual one for so many photos."""
    return text or (LARGE if photos > MOST else EXACT)


def check_kind(text: str | None) -> None:
    """Checks a kind of index, before long work starts.

    Raises:
      InputError: there is no such kind, or an argument does not fit.
    """
    if text and not milvus.is_address(text):
        spec.build(text, INDEXES, "index", base=Index)


def is_stale(descriptions: Rows, neighbours: Neighbours) -> bool:
    """Whether too many descriptions are new or no longer in use."""
    different = np.setxor1d(np.unique(descriptions), neighbours.descriptions)
    return len(different) > STALE * len(neighbours.descriptions)


def built(folder: Path, changes: int, text: str, descriptions: Rows, vectors: Floats) -> dict[str, Any]:
    """Builds an index.

    Args:
      folder: of the state.
      changes: the number of the state, which names the index.
      text: a kind, see :data:`matching.indexes.table.INDEXES`, or Milvus, see
        :func:`matching.indexes.milvus.is_address`.
      descriptions: of the photos.
      vectors: ``(N, D)``, their global descriptors.

    Returns:
      What the state records: ``kind``, ``name`` of the files, ``place`` in Milvus or empty.

    Raises:
      InputError: the kind is unknown or does not fit, or Milvus cannot be reached.
    """
    name = f"index-{changes}"
    unique, first = np.unique(descriptions, return_index=True)
    source = _Vectors(folder, unique, vectors[first])
    place = ""
    if milvus.is_address(text):
        address, _, collection = text.partition("#")
        place = f"{address}#{collection or milvus.COLLECTION}_{changes}"
    build_index(source, place or folder / name, None if place else text)
    with atomic_path(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, unique)
    return {"kind": text, "name": name, "place": place}


def removed(folder: Path, record: dict[str, Any]) -> None:
    """Deletes an index that is no longer used; one in Milvus stays where Milvus cannot be reached."""
    (folder / f"{record['name']}.npy").unlink(missing_ok=True)
    shutil.rmtree(folder / record["name"], ignore_errors=True)
    if record["place"]:
        with suppress(InputError):  # or a server that is gone would stop every synchronisation
            milvus.drop(record["place"])


def remove_unknown(folder: Path, records: Sequence[dict[str, Any]]) -> None:
    """Deletes the files of indexes whose build was stopped."""
    names = {record["name"] for record in records}
    for place in folder.glob("index-*"):
        if place.name.removesuffix(".npy") not in names:
            shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)


class _Vectors(FeatureSource):
    """Global descriptors, as the features of images that are named by numbers."""

    checked = False

    def __init__(self, folder: Path, descriptions: Rows, vectors: Floats):
        super().__init__(folder, [str(row) for row in descriptions], {"extractor": "collection"})
        self.global_descriptors = vectors

    def read(self, i: int) -> Features:
        """The global descriptor of row ``i``."""
        return Features(self.names[i], (1, 1), self.global_descriptors[i])


def places_of(descriptions: Rows, wanted: Sequence[int] | Rows, order: Rows) -> Rows:
    """The places of photos that have one of some descriptions.

    Args:
      descriptions: of the photos.
      wanted: descriptions.
      order: of the photos by description.
    """
    ordered = descriptions[order]
    starts, ends = (np.searchsorted(ordered, wanted, side=side) for side in ("left", "right"))
    spans = [order[start:end] for start, end in zip(starts, ends)]
    return np.concatenate(spans) if spans else np.zeros(0, np.int64)

"""An index in a folder: built from a feature store, opened, searched.

Layout (format version 1)::

    plan.json           written first: the kind of index, its settings, and the fingerprint of the feature store
    names.npy           UTF-8 bytes of all names, one after the other
    name_ends.npy       (N + 1,) int64: name i is the bytes name_ends[i]:name_ends[i + 1]
    paths.npy, path_ends.npy    the same for the paths of the images; empty where the feature store has none
    descriptors.npy, index.faiss, bits.npy      as the kind of index needs
    manifest.json       written last: the plan, sizes and digests of the files, and the time it took
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import atomic_path, check_writable, read_json, remove_leftovers, sampled_sha256, write_json
from delg.common.npy import map_array
from delg.common.sources import source_sha256
from extraction.formats.base import FeatureSource
from extraction.formats.checks import check_settings
from matching.indexes.base import Descriptors, Floats, Index, check_rows, depth
from matching.indexes.manifest import Manifest, fingerprint
from matching.ranking import Ranking
from matching.source import matrix

PLAN, MANIFEST, NAMES, ENDS = "plan.json", "manifest.json", "names.npy", "name_ends.npy"
PATHS, PATH_ENDS = "paths.npy", "path_ends.npy"
QUERY_ROWS = 256


class Searchable(ABC):
    """An open index, in a folder or in Milvus: checks the queries and the results of a search.

    Attributes:
      place: the folder, or the address in Milvus.
      manifest: the record of the index.
      unit: whether queries must be of unit norm.
      most: largest ``top_k`` of a search; 0 for no limit.
    """

    unit = True
    most = 0

    def __init__(self, place: str, manifest: Manifest):
        self.place = place
        self.manifest = manifest

    def __len__(self) -> int:
        """Number of images."""
        return self.manifest.count

    def search(self, queries: Descriptors, top_k: int | None = None) -> Ranking:
        """Ranks the images of the index for each query.

        Args:
          queries: ``(Q, D)``, rows of unit norm; float16 or wider.
          top_k: how many to keep for each query; None for all, as are more than N.

        Returns:
          ``(Q, min(top_k, N))`` by inner product; rows end in ``-1`` where an approximate index finds fewer.

        Raises:
          InputError: ``queries`` do not fit the index or are not finite or, for an approximate index, not of unit
            norm; or ``top_k`` is below 1 or more than the index can give.
        """
        dimension = matrix(queries, "query").shape[1]
        if dimension != self.manifest.dimension:
            raise InputError(
                f"Query and database global descriptors differ in dimension: {dimension} and {self.manifest.dimension}"
                f" (of the index {self.place})."
            )
        k = depth(top_k, len(self))
        if self.most and k > self.most:
            raise InputError(f"The index {self.place} gives at most {self.most} images. Received: top_k={top_k}")
        indices, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        for start in range(0, len(queries), QUERY_ROWS):
            block = np.ascontiguousarray(queries[start : start + QUERY_ROWS], np.float32)
            check_rows(block, start, "query", self.unit)
            results = self._search(block, k)
            self._check_results(results)
            indices[start : start + len(block)], scores[start : start + len(block)] = results.indices, results.scores
        return Ranking(indices, scores)

    def _check_results(self, results: Ranking) -> None:
        """Checks that results are valid rows with finite scores."""
        present = results.indices >= 0
        if present.any() and (results.indices.max() >= len(self) or not np.isfinite(results.scores[present]).all()):
            raise InputError(f"The index {self.place} is damaged; remove it and run delg-index again.")

    @abstractmethod
    def names_of(self, rows: Sequence[int]) -> list[str]:
        """Names of images by their rows."""

    @abstractmethod
    def paths_of(self, rows: Sequence[int]) -> list[str]:
        """Paths of images by their rows, below the folder of the images; empty where the store had none."""

    @abstractmethod
    def _search(self, queries: Floats, top_k: int) -> Ranking:
        """Ranks the images for a few queries that have been checked."""

    def check_queries(self, settings: dict[str, Any], what: str) -> None:
        """Checks that queries were described with the settings of the index; the crop may differ.

        Raises:
          InputError: names each setting that differs.
        """
        check_settings(settings, self.manifest.settings, f"{what} and those of the index {self.place}")

    def check_store(self, store: FeatureSource, what: str) -> None:
        """Checks that the index was made from a feature store: the rows of both are then the same.

        Raises:
          InputError: the index was made from another store.
        """
        if self.manifest.store != fingerprint(store):
            raise InputError(f"The index {self.place} was not made from {what}; run delg-index again.")


class FolderIndex(Searchable):
    """An index in a folder.

    Attributes:
      index: the index of its kind.
    """

    def __init__(self, folder: Path, manifest: Manifest, index: Index):
        """Opens the files.

        Raises:
          InputError: they are damaged.
        """
        super().__init__(str(folder), manifest)
        self.index, self.unit = index, index.unit
        for name, size in manifest.files.items():
            bytes_now = (folder / name).stat().st_size if (folder / name).is_file() else "absent"
            if bytes_now != size:
                raise InputError(f"The index {folder} is damaged: {name} is {bytes_now}, expected {size} bytes.")
        for name, digest in manifest.digests.items():
            if sampled_sha256(folder / name) != digest:
                raise InputError(f"The index {folder} is damaged: {name} has changed; run delg-index again elsewhere.")
        try:
            index.open(folder, (manifest.count, manifest.dimension))
            self._names = _Texts(folder, NAMES, ENDS, manifest.count)
            self._paths = _Texts(folder, PATHS, PATH_ENDS, manifest.count)
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise InputError(f"The index {folder} is damaged ({error}); remove it and run delg-index again.") from error

    def names_of(self, rows: Sequence[int]) -> list[str]:
        """Names of images by their rows."""
        return self._names[rows]

    def paths_of(self, rows: Sequence[int]) -> list[str]:
        """Paths of images by their rows; empty where the store had none."""
        return self._paths[rows]

    def _search(self, queries: Floats, top_k: int) -> Ranking:
        return self.index.search(queries, top_k)


def plan(store: FeatureSource, text: str, index: Any) -> Manifest:
    """The record of an index that is to be built.

    Args:
      store: the features.
      text: kind and settings.
      index: the index or its options; their source is recorded.

    Raises:
      InputError: the store is empty or without global descriptors.
    """
    descriptors = matrix(store.global_descriptors, "database")
    if not len(descriptors):
        raise InputError("The database holds no images.")
    count, dimension = descriptors.shape
    source = source_sha256(index, "matching.indexes.saved")
    return Manifest(text, count, dimension, fingerprint(store), store.settings, {}, source_sha256=source)


def build_folder(store: FeatureSource, folder: str | os.PathLike[str], text: str, index: Index) -> None:
    """Builds an index in a folder; continues a build that was stopped, and leaves a complete index as it is.

    Args:
      store: the features.
      folder: is made if absent.
      text: kind and settings of the index.
      index: an index of this kind.

    Raises:
      InputError: the folder holds something else, or the index does not fit the features.
    """
    place, wanted = Path(folder), plan(store, text, index)
    index.check(wanted.count, wanted.dimension)
    for name in (MANIFEST, PLAN):
        if (place / name).is_file():
            Manifest.from_json(read_json(place / name), str(place)).check_same(wanted, str(place))
            break
    else:
        if place.is_dir() and any(not entry.name.startswith(".") for entry in place.iterdir()):
            raise InputError(f"The folder {place} holds something else than an index; choose an empty or a new one.")
    if (place / MANIFEST).is_file():
        return
    check_writable(place)
    remove_leftovers(place, "*")
    start = time.perf_counter()
    write_json(place / PLAN, wanted.to_json())
    try:
        index.build(store.global_descriptors, place)
    except InputError:
        for file in _files(place):  # nothing to continue: the features must be corrected first
            file.unlink()
        (place / PLAN).unlink()
        raise
    write_texts(store.names, place, NAMES, ENDS)
    write_texts([store.path_of(i) for i in range(len(store.names))], place, PATHS, PATH_ENDS)
    files = {file.name: file.stat().st_size for file in _files(place)}
    digests = {name: sampled_sha256(place / name) for name in files}
    seconds = time.perf_counter() - start
    write_json(place / MANIFEST, replace(wanted, files=files, digests=digests, seconds=seconds).to_json())


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """The record of the index in a folder.

    Raises:
      InputError: there is no index, or it is unfinished, or of another format.
    """
    place = Path(folder)
    if not (place / MANIFEST).is_file():
        if (place / PLAN).is_file():
            Manifest.from_json(read_json(place / PLAN), str(place))
            raise InputError(f"The index {place} is not finished; run its delg-index command again.")
        raise InputError(f"{place} is not an index (it holds no {MANIFEST}); delg-index makes one.")
    return Manifest.from_json(read_json(place / MANIFEST), str(place))


def _files(folder: Path) -> list[Path]:
    """The files of an index without its plan and manifest."""
    return [file for file in sorted(folder.iterdir()) if file.suffix in (".npy", ".faiss")]


class _Texts:
    """A text for each image of an index, memory-mapped."""

    def __init__(self, folder: Path, texts: str, ends: str, count: int):
        """Opens the two files; raises ValueError where they are of another number of images."""
        self._bytes, self._ends = map_array(folder / texts), map_array(folder / ends)
        if len(self._ends) != count + 1:
            raise ValueError(f"{texts} holds {len(self._ends) - 1} texts of {count} images")

    def __getitem__(self, rows: Sequence[int]) -> list[str]:
        """The texts of some rows."""
        parts = (self._bytes[self._ends[row] : self._ends[row + 1]] for row in rows)
        return [part.tobytes().decode("utf-8", "surrogateescape") for part in parts]


def write_texts(texts: Sequence[str], folder: Path, name: str, name_of_ends: str) -> None:
    """Writes the bytes of texts, one after the other, and where each ends; :class:`_Texts` reads them."""
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    for file_name, array in ((name, np.frombuffer(b"".join(encoded), np.uint8)), (name_of_ends, ends)):
        with atomic_path(folder / file_name) as temporary, temporary.open("wb") as file:
            np.save(file, array)

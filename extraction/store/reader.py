"""The feature store: features of many images in one folder, opened memory-mapped and read lazily.

Layout (format version 1)::

    plan.json           written first: settings, storage, and the fingerprint of the image list
    shard-00000/        one fixed range of the image list; written whole or not at all
      index.json        names, paths and sizes of its images, the images that were skipped, with reasons, and the
                        sha256 of each array's file, which delg-features verify compares
      global.npy        (n, D) float32 global descriptors of unit norm
      offsets.npy       (n + 1,) int64: local features of image i are the rows offsets[i]:offsets[i + 1] of
      keypoints.npy     (m, 2) float32 (x, y) in pixels of the whole photo
      descriptors.npy   (m, d) float32, float16 or uint8, unit norm when read
      scores.npy        (m,) float32, decreasing within an image
      scales.npy        (m,) float32
    global.npy          (N, D) float32: the global descriptors of all shards
    manifest.json       written last: format, settings, storage, names, shards, skipped, counts, global_sha256 (of
                        samples of global.npy, see delg.common.files.sampled_sha256)

With ``local_dtype`` binary, the local features are encoded as in :class:`extraction.store.encoding.Binary` instead.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError, first_line
from delg.common.files import read_json, recorded_sha256, sampled_sha256
from delg.common.npy import map_array
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from extraction.store.encoding import encoding

FORMAT = "delg feature store"
VERSION = 1
PLAN, MANIFEST, GLOBAL, INDEX = "plan.json", "manifest.json", "global.npy", "index.json"
OPEN_SHARDS = 32
UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError)  # what damaged files end in


class Shard(NamedTuple):
    """One shard, its arrays memory-mapped."""

    names: list[str]
    paths: list[str]
    sizes: list[list[int]]
    offsets: NDArray[np.int64]
    local: dict[str, NDArray[Any]]


def shard_name(number: int) -> str:
    """Folder of a shard: ``shard-00007``."""
    return f"shard-{number:05d}"


class FeatureStore(FeatureSource):
    """Features of many images, read from disk as they are needed.

    Attributes:
      local_dtype: how the local features are stored, one of :data:`extraction.store.encoding.LOCAL_DTYPES`.
    """

    checked = False

    def __init__(self, folder: Path, manifest: dict[str, Any], global_descriptors: Floats):
        super().__init__(
            folder,
            _checked(manifest["names"], list, str),
            _checked(manifest["settings"], dict, str),
            _checked(manifest["skipped"], list, dict),
        )
        self.global_descriptors = global_descriptors
        self.local_dtype = manifest["storage"]["local_dtype"]
        self._encoding = encoding(self.local_dtype)
        self.local_bytes = int(manifest["counts"]["local_bytes"])
        self._starts = np.cumsum([0, *_checked(manifest["shards"], list, int)])
        self._shard = lru_cache(maxsize=OPEN_SHARDS)(self._open_shard)

    @classmethod
    def recognizes(cls, place: Path) -> bool:
        """Whether a folder holds a store, finished or not."""
        return (place / MANIFEST).is_file() or (place / PLAN).is_file()

    @classmethod
    def open(cls, path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Self:
        """Opens a finished store.

        Raises:
          InputError: there is none, it is unfinished, of another format version, or damaged.
        """
        place = Path(path)
        if not (place / MANIFEST).is_file():
            if (place / PLAN).is_file():
                raise InputError(f"The extraction into {place} is not finished; run its delg-extract command again.")
            raise InputError(f"{place} is not a feature store (it holds no {MANIFEST}); delg-extract makes one.")
        manifest = read_json(place / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise InputError(f"{place / MANIFEST} is not the manifest of a feature store.")
        if manifest.get("version") != VERSION:
            raise InputError(
                f"The feature store {place} has format version {manifest.get('version')}; expected {VERSION}."
            )
        try:
            if manifest["global_sha256"] != sampled_sha256(place / GLOBAL):
                raise ValueError(f"{GLOBAL} has changed")
            matrix = map_array(place / GLOBAL)
            store = cls(place, manifest, matrix)
            expected = len(store.names), int(store._starts[-1])
        except UNREADABLE as error:
            raise _damaged(place, error) from error
        if matrix.ndim != 2 or matrix.dtype != np.float32 or expected != (len(matrix), len(matrix)):
            raise _damaged(place, f"{matrix.shape} global descriptors of {matrix.dtype} for {expected[0]} names")
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same folder."""
        return type(self).open, (self.folder,)

    def read(self, i: int) -> Features:
        """All features of image ``i``; the arrays are read from disk now."""
        number, row = self._place(i)
        shard = self._shard(number)
        rows = slice(int(shard.offsets[row]), int(shard.offsets[row + 1]))
        try:
            width, height = shard.sizes[row]
            return Features(
                name=shard.names[row],
                image_size=(width, height),
                global_descriptor=np.array(self.global_descriptors[i], np.float32),
                **self._encoding.decode(shard.local, rows, row),
            )
        except UNREADABLE as error:
            raise _damaged(self.folder / shard_name(number), error) from error

    def path_of(self, i: int) -> str:
        """Path of image ``i`` below the folder that the names start in; empty where the store does not record it."""
        number, row = self._place(i)
        return self._shard(number).paths[row]

    def names_of_shards(self) -> list[list[str]]:
        """Names of the images of each shard."""
        return [self.names[start:end] for start, end in pairwise(self._starts.tolist())]

    def _place(self, i: int) -> tuple[int, int]:
        """The shard of an image, and its row there."""
        number = int(np.searchsorted(self._starts, i, side="right")) - 1
        return number, i - int(self._starts[number])

    def feature_hashes(self) -> list[Any]:
        """Hashes of the global descriptors, and of the files of each shard."""
        places = [self.folder / shard_name(number) for number in range(len(self._starts) - 1)]
        try:
            known = sampled_sha256(whole := self.folder / GLOBAL)
            return [known, recorded_sha256(whole, self.folder / MANIFEST, known), *map(_shard_hashes, places)]
        except UNREADABLE as error:
            raise _damaged(self.folder, error) from error

    def _open_shard(self, number: int) -> Shard:
        place = self.folder / shard_name(number)
        try:
            index = read_json(place / INDEX)
            keys = (*self._encoding.rows, *self._encoding.images)
            offsets, *arrays = (map_array(place / f"{key}.npy") for key in ("offsets", *keys))
            names = _checked(index["names"], list, str)
            shard = Shard(
                names,
                _checked(index["paths"], list, str),
                _checked(index["sizes"], list, list),
                offsets,
                dict(zip(keys, arrays)),
            )
            ends = {int(offsets[-1])} if offsets.dtype == np.int64 and offsets.ndim == 1 else set()
            images = int(self._starts[number + 1] - self._starts[number])
            rows = {len(shard.local[key]) for key in self._encoding.rows}
            per_image = {len(shard.names), len(shard.paths), *(len(shard.local[key]) for key in self._encoding.images)}
        except UNREADABLE as error:
            raise _damaged(place, error) from error
        fit = (per_image, len(offsets), rows) == ({images}, images + 1, ends)
        if not fit or offsets[0] or (np.diff(offsets) < 0).any() or len(shard.sizes) != images:
            raise _damaged(place, "its arrays do not fit together")
        return shard


def _checked(value: Any, kind: Any, of: type) -> Any:
    """A part of a manifest: a list or a mapping. Raises TypeError for another kind or for entries of another type."""
    if not isinstance(value, kind) or not all(isinstance(entry, of) for entry in value):
        raise TypeError(f"expected a {kind.__name__} of {of.__name__}, received {str(value)[:40]!r}")
    return value


def _shard_hashes(place: Path) -> dict[str, str]:
    """Of each array of a shard, see :func:`delg.common.files.recorded_sha256`."""
    known = _checked(_checked(read_json(place / INDEX), dict, str)["sha256"], dict, str)
    arrays = sorted(place.glob("*.npy"))
    return known | {path.stem: recorded_sha256(path, place / INDEX, known.get(path.stem)) for path in arrays}


def _damaged(place: Path, why: object) -> InputError:
    reason = first_line(why) if isinstance(why, Exception) else why
    return InputError(f"The feature store part {place} is damaged ({reason}); remove the store and extract again.")

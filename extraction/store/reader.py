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
                        samples of global.npy, see :func:`delg.common.files.sampled_sha256`)

With ``local_dtype`` binary, the local features have the form of :class:`extraction.store.encoding.Binary` instead.
"""

import os
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError, first_line
from delg.common.files import json_sha256, read_json, recorded_sha256, sampled_sha256
from delg.common.npy import map_array
from extraction.earlier import WHEN_ABSENT, as_now
from extraction.features import Features, Floats
from extraction.store.encoding import form

FORMAT = "delg feature store"
VERSION = 1
PLAN, MANIFEST, GLOBAL, INDEX = "plan.json", "manifest.json", "global.npy", "index.json"
# settings that need not agree between queries and database
MAY_DIFFER = frozenset({"crop", "crop_border", "runtime", "truncated", "use_local_features"})
VERSIONS = ("package_version", "source_sha256", "opencv", "decoder")  # nor these; of the decoder its name has to
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


def differing(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """What differs between two settings, each as ``key (left and right)``; what is not recorded is as it once was."""
    left, right = as_now(left), as_now(right)
    pairs = {
        key: tuple(settings.get(key, WHEN_ABSENT.get(key, "absent")) for settings in (left, right))
        for key in sorted(left.keys() | right.keys())
    }
    return [f"{key} ({one!r} and {other!r})" for key, (one, other) in pairs.items() if one != other]


def differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """What keeps features of two settings from being compared, each as ``key (left and right)``.

    The crop, the runtime and versions of packages may differ; of different extractors only the kinds are told.
    """
    left, right = _binding(as_now(left)), _binding(as_now(right))
    if left.get("extractor") != right.get("extractor"):
        left, right = ({"extractor": settings.get("extractor")} for settings in (left, right))
    return differing(left, right)


def version_differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Versions of packages that differ between two settings, each as ``key (left and right)``; both have to have it."""
    shared = [key for key in VERSIONS if key in left and key in right]
    return differing(*({key: settings[key] for key in shared} for settings in (left, right)))


def _binding(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that have to agree; of the decoder the name without its version."""
    kept = {key: value for key, value in settings.items() if key not in {*MAY_DIFFER, *VERSIONS}}
    return kept | ({"decoder": str(settings["decoder"]).partition(" ")[0]} if "decoder" in settings else {})


def check_settings(left: dict[str, Any], right: dict[str, Any], what: str) -> None:
    """Proves that features of two settings may be compared, see :func:`differences`.

    Args:
      left: settings of an extractor or a store.
      right: the same.
      what: the two in words, which the message starts with.

    Raises:
      InputError: names each setting that differs; of different extractors, the kinds.
    """
    found = differences(left, right)
    if found:
        raise InputError(f"{what} were made with different settings and cannot be compared: {'; '.join(found)}.")


class FeatureStore:
    """Features of many images, read from disk as they are needed.

    Attributes:
      folder: where it lies.
      names: of the images, in the order of the image list; row ``i`` everywhere belongs to ``names[i]``.
      global_descriptors: ``(N, D)`` float32, unit norm, memory-mapped.
      settings: how the features were made (extractor, weights hash, scales, resize rule, decoder, crop, ...).
      skipped: ``{"name", "reason"}`` of each image that could not be used.
      local_dtype: how the local features are stored, one of :data:`extraction.store.encoding.LOCAL_DTYPES`.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], global_descriptors: Floats):
        self.folder = folder
        self.names: list[str] = _checked(manifest["names"], list, str)
        self.settings: dict[str, Any] = _checked(manifest["settings"], dict, str)
        self.skipped: list[dict[str, str]] = _checked(manifest["skipped"], list, dict)
        self.global_descriptors = global_descriptors
        self.local_dtype: str = manifest["storage"]["local_dtype"]
        self._form = form(self.local_dtype)
        self._counts: dict[str, int] = {"local_bytes": int(manifest["counts"]["local_bytes"])}
        self._starts = np.cumsum([0, *_checked(manifest["shards"], list, int)])
        self._shard = lru_cache(maxsize=OPEN_SHARDS)(self._open_shard)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """Opens a finished store.

        Raises:
          InputError: there is none, it is unfinished, of another format version, or damaged.
        """
        place = Path(folder)
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
            digest = manifest.get("global_sha256")
            if digest is not None and digest != sampled_sha256(place / GLOBAL):
                raise ValueError(f"{GLOBAL} has changed")
            matrix = map_array(place / GLOBAL)
            store = cls(place, manifest, matrix)
            expected = len(store.names), int(store._starts[-1])
        except UNREADABLE as error:
            raise _damaged(place, error) from error
        if matrix.ndim != 2 or matrix.dtype != np.float32 or expected != (len(matrix), len(matrix)):
            raise _damaged(place, f"{matrix.shape} global descriptors of {matrix.dtype} for {expected[0]} names")
        return store

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same folder."""
        return type(self).open, (self.folder,)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Rows by name, made when one is asked for: of a million names it takes longer than all else of opening."""
        return {name: i for i, name in enumerate(self.names)}

    def index_of(self, name: str) -> int:
        """Row of an image.

        Raises:
          InputError: the store has no image of that name.
        """
        if name not in self._rows:
            raise InputError(f"The feature store {self.folder} has no image {name!r} (of its {len(self)} images).")
        return self._rows[name]

    def features(self, i: int) -> Features:
        """All features of image ``i``; the arrays are read from disk now.

        Raises:
          IndexError: ``i`` is outside ``0 .. len(self) - 1``.
          InputError: the shard is damaged.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"Image {i} of a feature store with {len(self)} images.")
        number, row = self._place(i)
        shard = self._shard(number)
        rows = slice(int(shard.offsets[row]), int(shard.offsets[row + 1]))
        try:
            width, height = shard.sizes[row]
            return Features(
                name=shard.names[row],
                image_size=(width, height),
                global_descriptor=np.array(self.global_descriptors[i], np.float32),
                **self._form.decode(shard.local, rows, row),
            )
        except UNREADABLE as error:
            raise _damaged(self.folder / shard_name(number), error) from error

    def path_of(self, i: int) -> str:
        """Where image ``i`` lay below the folder that the names start in; empty where the store does not tell.

        Raises:
          InputError: the shard is damaged.
        """
        number, row = self._place(i)
        return self._shard(number).paths[row]

    def _place(self, i: int) -> tuple[int, int]:
        """The shard of an image, and its row there."""
        number = int(np.searchsorted(self._starts, i, side="right")) - 1
        return number, i - int(self._starts[number])

    def bytes_per_image(self) -> dict[str, float]:
        """Mean bytes of the arrays of one image: ``global`` descriptor, and ``local`` features with their geometry."""
        images = max(len(self), 1)
        return {"global": self.global_descriptors.nbytes / images, "local": self._counts["local_bytes"] / images}

    def identity(self) -> str:
        """Hexadecimal SHA-256 that is another one when settings, names or features are others.

        Raises:
          InputError: a shard is damaged.
        """
        return json_sha256([self.settings, self.names, self._feature_hashes()])

    def _feature_hashes(self) -> list[Any]:
        """Of the global descriptors, and of the files of each shard."""
        places = [self.folder / shard_name(number) for number in range(len(self._starts) - 1)]
        try:
            known = sampled_sha256(whole := self.folder / GLOBAL)
            return [known, recorded_sha256(whole, self.folder / MANIFEST, known), *map(_shard_hashes, places)]
        except UNREADABLE as error:
            raise _damaged(self.folder, error) from error

    def check_compatible(self, other: "FeatureStore") -> None:
        """Proves that the two stores were made alike, see :func:`differences`, so that their features may be compared.

        Raises:
          InputError: names each setting that differs, or see :meth:`check_shapes`.
        """
        check_settings(self.settings, other.settings, f"The feature stores {self.folder} and {other.folder}")
        self.check_shapes(other)

    def check_shapes(self, other: "FeatureStore") -> None:
        """Proves that arithmetic between the features of two stores is possible, whatever they were made by.

        Raises:
          InputError: global descriptors differ in length, or one store holds binary local descriptors and the other
            not.
        """
        stores = f"The feature stores {self.folder} and {other.folder} cannot be compared"
        lengths = [store.global_descriptors.shape[1] for store in (self, other)]
        if lengths[0] != lengths[1] and len(self) and len(other):
            raise InputError(f"{stores}: their global descriptors have {lengths[0]} and {lengths[1]} values.")
        kinds = self.local_dtype, other.local_dtype
        if kinds.count("binary") == 1 and self._counts["local_bytes"] and other._counts["local_bytes"]:
            raise InputError(
                f"{stores}: their local descriptors are {' and '.join(kinds)}; extract both with the same "
                "--local_dtype."
            )

    def _open_shard(self, number: int) -> Shard:
        place = self.folder / shard_name(number)
        try:
            index = read_json(place / INDEX)
            keys = (*self._form.rows, *self._form.images)
            offsets, *arrays = (map_array(place / f"{key}.npy") for key in ("offsets", *keys))
            names = _checked(index["names"], list, str)
            shard = Shard(
                names,
                _checked(index.get("paths", [""] * len(names)), list, str),  # older stores have none
                _checked(index["sizes"], list, list),
                offsets,
                dict(zip(keys, arrays)),
            )
            ends = {int(offsets[-1])} if offsets.dtype == np.int64 and offsets.ndim == 1 else set()
            images = int(self._starts[number + 1] - self._starts[number])
            rows = {len(shard.local[key]) for key in self._form.rows}
            per_image = {len(shard.names), len(shard.paths), *(len(shard.local[key]) for key in self._form.images)}
        except UNREADABLE as error:
            raise _damaged(place, error) from error
        fit = (per_image, len(offsets), rows) == ({images}, images + 1, ends)
        if not fit or offsets[0] or (np.diff(offsets) < 0).any() or len(shard.sizes) != images:
            raise _damaged(place, "its arrays do not fit together")
        return shard


def _checked(value: Any, kind: Any, of: type) -> Any:
    """A part of a manifest. Raises TypeError if it is not a list, or a mapping by names, of what it should be."""
    if not isinstance(value, kind) or not all(isinstance(entry, of) for entry in value):
        raise TypeError(f"expected a {kind.__name__} of {of.__name__}, received {str(value)[:40]!r}")
    return value


def _shard_hashes(place: Path) -> dict[str, str]:
    """Of each array of a shard, see :func:`delg.common.files.recorded_sha256`."""
    known = _checked(_checked(read_json(place / INDEX), dict, str).get("sha256", {}), dict, str)
    arrays = sorted(place.glob("*.npy"))
    return known | {path.stem: recorded_sha256(path, place / INDEX, known.get(path.stem)) for path in arrays}


def _damaged(place: Path, why: object) -> InputError:
    reason = first_line(why) if isinstance(why, Exception) else why
    return InputError(f"The feature store part {place} is damaged ({reason}); remove the store and extract again.")

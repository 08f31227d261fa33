"""Writes a feature store shard by shard, so that a killed run continues with the missing shards."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import (
    atomic_path,
    check_writable,
    read_json,
    remove_leftovers,
    sampled_sha256,
    sha256,
    write_json,
)
from delg.common.npy import map_array
from delg.common.progress import progress_bar
from extraction.features import Features
from extraction.formats.base import FeatureSink, FeatureSource
from extraction.formats.checks import differing, other_features
from extraction.formats.official import OfficialFiles
from extraction.images import ImageRef, relative_path
from extraction.store.encoding import LOCAL_DTYPES, encoding
from extraction.store.image_lists import contents_of, image_lists, shards_of, well_formed, with_list
from extraction.store.reader import FORMAT, GLOBAL, INDEX, MANIFEST, PLAN, VERSION, FeatureStore, shard_name

SHARD_SIZE = 64


class StoreWriter:
    """The writer of one store: ``missing`` -> ``write`` for each -> ``finish``.

    Shard ``s`` holds the images ``s * shard_size`` to ``(s + 1) * shard_size`` of the list. A writer with the same
    arguments continues; one with other arguments refuses. Appended images begin a new shard.

    Attributes:
      folder: the store.
      images: the images that this writer adds.
      plan: the record that is written before the work.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: dict[str, Any],
        images: Sequence[ImageRef],
        *,
        local_dtype: str = LOCAL_DTYPES[0],
        shard_size: int = SHARD_SIZE,
        append: bool = False,
        paths: Mapping[str, str] | None = None,
    ):
        """Writes the plan, or compares it with the plan of an earlier run.

        Args:
          folder: the store.
          settings: recorded in it; JSON values.
          images: the image list.
          local_dtype: how local features are stored, one of :data:`extraction.store.encoding.LOCAL_DTYPES`.
          shard_size: images of a shard.
          append: add the images whose names and paths the store does not hold yet.
          paths: of the images by name; None takes :func:`extraction.images.relative_path` of their files.

        Raises:
          InputError: the folder cannot be written, or holds a store of other settings or images.
        """
        if shard_size < 1:
            raise InputError(f"Expected a shard_size of at least 1. Received: {shard_size}")
        self._encoding, self._paths = encoding(local_dtype), paths
        self.folder, self.images, self.shard_size = Path(folder), list(images), shard_size
        storage = {"local_dtype": local_dtype, "shard_size": shard_size}
        contents, self._first = contents_of(self.images), 0
        plan = {"format": FORMAT, "version": VERSION, "settings": settings, "storage": storage, "contents": contents}
        self.plan: dict[str, Any] = json.loads(json.dumps(plan))
        if append and (self.folder / PLAN).is_file():
            self._append()
        else:
            self._write_plan()

    @classmethod
    def reopened(cls, folder: str | os.PathLike[str]) -> Self:
        """The writer of a store whose shards are complete, without its image list."""
        writer = cls.__new__(cls)
        writer.folder, writer.images, writer._first = Path(folder), [], 0
        writer.plan = read_json(writer.folder / PLAN)
        writer.shard_size = writer.plan["storage"]["shard_size"]
        writer._encoding = encoding(writer.plan["storage"]["local_dtype"])
        return writer

    @property
    def complete(self) -> bool:
        """Whether the manifest is written, for these images."""
        path = self.folder / MANIFEST
        manifest = read_json(path) if path.is_file() else None
        return isinstance(manifest, dict) and manifest.get("contents") == self.plan["contents"]

    def missing(self) -> list[int]:
        """Numbers of the missing shards."""
        shards = range(self._first, self._number_of_shards())
        return [s for s in shards if not (self.folder / shard_name(s) / INDEX).is_file()]

    def shard_images(self, shard: int) -> list[ImageRef]:
        """The images of one shard."""
        start = (shard - self._first) * self.shard_size
        return self.images[start : start + self.shard_size]

    def write(self, shard: int, features: Sequence[Features], skipped: Sequence[dict[str, str]]) -> None:
        """Writes one shard atomically.

        Args:
          shard: its number.
          features: of its good images, in the order of the list.
          skipped: ``{"name", "reason"}`` of the other images.

        Raises:
          InputError: the disk is full or cannot be written; finished shards remain.
        """
        counts = [len(f) for f in features]
        paths = self._paths or {ref.name: relative_path(ref) for ref in self.shard_images(shard)}
        index = {
            "names": [f.name for f in features],
            "paths": [paths.get(f.name, "") for f in features],
            "sizes": [[int(side) for side in f.image_size] for f in features],
            "skipped": list(skipped),
        }
        arrays: dict[str, NDArray[Any]] = {
            "global": np.array([f.global_descriptor for f in features], np.float32).reshape(
                len(features), -1 if features else 0
            ),
            "offsets": np.cumsum([0, *counts], dtype=np.int64),
            **self._encoding.encode(features),
        }
        with self._disk_errors(), atomic_path(self.folder / shard_name(shard)) as place:
            place.mkdir()
            for name, array in arrays.items():
                np.save(place / f"{name}.npy", array)
            write_json(place / INDEX, index | {"sha256": {name: sha256(place / f"{name}.npy") for name in arrays}})

    def finish(self, *, alone: bool = True) -> FeatureStore:
        """Joins the global descriptors, writes the manifest, and opens the store.

        Args:
          alone: whether no other process may finish the store at the same time.

        Raises:
          InputError: no image was good (the store is then removed), or the disk is full.
        """
        indices = self._indices(self._number_of_shards())
        skipped = [entry for index in indices for entry in index["skipped"]]
        names = [name for index in indices for name in index["names"]]
        if not names:
            self._discard()
            first = f"{skipped[0]['name']} ({skipped[0]['reason']})" if skipped else "the image list is empty"
            raise InputError(f"None of the {len(skipped)} images could be read, so no features were made: {first}.")
        with self._disk_errors():
            local_bytes = self._join(len(names))
            manifest = self.plan | {
                "names": names,
                "shards": [len(index["names"]) for index in indices],
                "skipped": skipped,
                "counts": {"images": len(names), "skipped": len(skipped), **local_bytes},
                "global_sha256": sampled_sha256(self.folder / GLOBAL),
            }
            for name in ("shard-*", GLOBAL, PLAN, MANIFEST) if alone else ():
                remove_leftovers(self.folder, name)
            write_json(self.folder / MANIFEST, manifest)
        return FeatureStore.open(self.folder)

    def _number_of_shards(self) -> int:
        return sum(shards_of(one["images"], self.shard_size) for one in image_lists(self.plan["contents"]))

    def _indices(self, shards: int) -> list[dict[str, Any]]:
        return [read_json(self.folder / shard_name(s) / INDEX) for s in range(shards)]

    def _append(self) -> None:
        """Takes the new images as a further list, or as the last list where that is not finished."""
        recorded = self._recorded_plan()
        self._check_same(self.plan | {"contents": None}, recorded | {"contents": None})
        check_writable(self.folder)
        self.plan["contents"] = contents = recorded["contents"]
        *earlier, last = image_lists(contents)
        unfinished = not self.complete
        finished = earlier if unfinished else [*earlier, last]
        self._first = sum(shards_of(one["images"], self.shard_size) for one in finished)
        indices = self._indices(self._first)
        names = {name for index in indices for name in index["names"]}
        names |= {entry["name"] for index in indices for entry in index["skipped"]}
        paths = {path for index in indices for path in index["paths"] if path}
        self.images = [ref for ref in self.images if ref.name not in names and relative_path(ref) not in paths]
        further = contents_of(self.images)
        if unfinished and further != last:
            raise InputError(
                f"An extraction into {self.folder} is not finished; run its command again before adding other images."
            )
        if not unfinished and self.images:
            self.plan["contents"] = with_list(contents, further)
            with self._disk_errors():
                write_json(self.folder / PLAN, self.plan)

    def _write_plan(self) -> None:
        place = self.folder / PLAN
        if not place.exists():
            if OfficialFiles.recognizes(self.folder):
                raise InputError(f"{self.folder} holds official files; choose another folder for the feature store.")
            check_writable(self.folder)
            with self._disk_errors():
                write_json(place, self.plan)
            return
        recorded = self._recorded_plan()
        contents = recorded["contents"]
        if contents != self.plan["contents"] and image_lists(contents)[0] == self.plan["contents"]:
            self.plan["contents"] = contents  # images were appended since
            if not self.complete:
                raise InputError(f"Images are being added to {self.folder}; finish that first: run its command again.")
        if recorded != self.plan and not self._has_features():
            check_writable(self.folder)
            with self._disk_errors():
                write_json(place, self.plan)
        else:
            self._check_same(self.plan, recorded)
        if not self.complete:
            check_writable(self.folder)

    def _recorded_plan(self) -> dict[str, Any]:
        """The plan of an earlier run."""
        place = self.folder / PLAN
        plan: dict[str, Any] = read_json(place)
        parts = [plan.get(part) for part in self.plan] if isinstance(plan, dict) else []
        formed = bool(parts) and all(isinstance(part, dict) for part in parts[2:]) and well_formed(parts[-1])
        if parts[:2] != [FORMAT, VERSION] or not formed:
            raise InputError(f"{place} is not the plan of a feature store of version {VERSION}; choose another folder.")
        return plan

    def _check_same(self, plan: dict[str, Any], recorded: dict[str, Any]) -> None:
        """Raises InputError where two plans differ."""
        parts = ("settings", "storage", "contents")
        lines = [line for part in parts for line in differing(recorded[part] or {}, plan[part] or {})]
        before, now = ((contents["contents"] or {}).get("images", 0) for contents in (recorded, plan))
        if before != now:
            lines = [line for line in lines if not line.startswith(("fingerprint ", "images "))]
            lines.append(f"images ({before} and {now}), {abs(now - before)} {'more' if now > before else 'fewer'}")
        if lines:
            raise other_features(self.folder, lines)

    def _has_features(self) -> bool:
        """Whether an earlier run wrote features."""
        return (self.folder / MANIFEST).is_file() or any(self.folder.glob("shard-*"))

    def _join(self, images: int) -> dict[str, int]:
        """Writes the global descriptors of all shards as one matrix; counts local features and their bytes."""
        local = local_bytes = 0
        with atomic_path(self.folder / GLOBAL) as place, place.open("wb") as file:
            for s in range(self._number_of_shards()):
                folder = self.folder / shard_name(s)
                part = map_array(folder / "global.npy")
                if len(part):
                    if file.tell() == 0:
                        header = {"descr": "<f4", "fortran_order": False, "shape": (images, part.shape[1])}
                        np.lib.format.write_array_header_1_0(file, header)
                    file.write(np.ascontiguousarray(part, "<f4").tobytes())
                names = (*self._encoding.rows, *self._encoding.images)
                arrays = [map_array(folder / f"{name}.npy") for name in names]
                local += len(arrays[0])
                local_bytes += sum(array.nbytes for array in arrays)
        return {"local_features": local, "local_bytes": local_bytes if local else 0}

    def _discard(self) -> None:
        for s in range(self._number_of_shards()):
            shutil.rmtree(self.folder / shard_name(s), ignore_errors=True)
        (self.folder / PLAN).unlink(missing_ok=True)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"The feature store {self.folder} cannot be written: {error.strerror or 'disk full'}; finished shards "
                "remain, and the same command continues when there is room."
            ) from error


class StoreSink(FeatureSink):
    """Writes features into a store; continues where an earlier run stopped."""

    binary = continues = True

    def __init__(self, local_dtype: str | None = None):
        """Takes how local features are stored, one of :data:`extraction.store.encoding.LOCAL_DTYPES`.

        None stands for the way of the source.
        """
        self._local_dtype = local_dtype

    def write(self, source: FeatureSource, folder: Path) -> None:
        """Writes the shards that are missing, and finishes the store.

        Raises:
          InputError: the source holds the signs of local descriptors alone, and their values are to be stored; or the
            signs are to be stored, and no entry of its first image with local features is negative.
        """
        dtype = self._local_dtype or source.local_dtype
        if source.local_dtype == "binary" and dtype != "binary":
            raise InputError(f"{source.folder} holds the signs of local descriptors alone; {dtype} needs their values.")
        if source.local_dtype != "binary" and dtype == "binary":
            described = (features for i in range(len(source.names)) if len(features := source.features(i)))
            first = next(described, None)
            if first is not None and first.descriptors.min() >= 0:
                raise InputError(
                    f"local_dtype binary keeps the signs of local descriptors; those in {source.folder} are never "
                    "negative."
                )
        refs, paths = [ImageRef(name, "") for name in source.names], source.record()["paths"]
        writer = StoreWriter(folder, source.settings, refs, local_dtype=dtype, paths=paths)
        for shard in progress_bar(writer.missing(), desc=folder.name, unit="shard"):
            images = [source.features(source.index_of(ref.name)) for ref in writer.shard_images(shard)]
            writer.write(shard, images, [])
        if not writer.complete:
            writer.finish()

"""Writes a feature store shard by shard, so that a run that was killed continues with the shards that are missing."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features
from extraction.images import ImageRef
from extraction.official import holds_official_files
from extraction.storage import LOCAL_DTYPES, form
from extraction.store import FORMAT, GLOBAL, INDEX, MANIFEST, PLAN, VERSION, FeatureStore, differing, shard_name
from protos.errors import InputError
from protos.files import atomic_path, check_writable, read_json, remove_leftovers, sampled_sha256, write_json
from protos.npy import map_array

SHARD_SIZE = 64


def fingerprint(images: Sequence[ImageRef]) -> str:
    """SHA-256 over names, crops and file sizes: changes when the image list is another one."""
    digest = hashlib.sha256()
    for ref in images:
        try:
            size = Path(ref.path).stat().st_size
        except OSError:
            size = -1
        crop = None if ref.crop is None else [float(side) for side in ref.crop]
        digest.update(json.dumps([ref.name, crop, size]).encode() + b"\n")
    return digest.hexdigest()


class StoreWriter:
    """One store while it is made: ``missing`` -> ``write`` for each -> ``finish``.

    Shard ``s`` holds the images ``s * shard_size`` to ``(s + 1) * shard_size`` of the list. Made again with the same
    arguments it continues; with others it refuses.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: dict[str, Any],
        images: Sequence[ImageRef],
        *,
        local_dtype: str = "float32",
        shard_size: int = SHARD_SIZE,
    ):
        """Writes the plan, or compares it with the one that is there.

        Args:
          folder: the store.
          settings: recorded in it; JSON values.
          images: the image list.
          local_dtype: how local features lie on disk, one of :data:`extraction.storage.LOCAL_DTYPES`.
          shard_size: images a shard.

        Raises:
          InputError: the folder cannot be written, or holds a store of other settings or images.
        """
        if local_dtype not in LOCAL_DTYPES:
            raise InputError(f"Unknown local_dtype {local_dtype!r}; the choices are {', '.join(LOCAL_DTYPES)}.")
        if shard_size < 1:
            raise InputError(f"Expected a shard_size of at least 1. Received: {shard_size}")
        self._form = form(local_dtype)
        self.folder, self.images, self.shard_size = Path(folder), list(images), shard_size
        storage = {"local_dtype": local_dtype, "shard_size": shard_size}
        contents = {"images": len(self.images), "fingerprint": fingerprint(self.images)}
        plan = {"format": FORMAT, "version": VERSION, "settings": settings, "storage": storage, "contents": contents}
        self.plan: dict[str, Any] = json.loads(json.dumps(plan))
        self._keep_plan()

    @property
    def complete(self) -> bool:
        """True when the manifest is written."""
        return (self.folder / MANIFEST).is_file()

    def missing(self) -> list[int]:
        """Numbers of the shards that are still to be written."""
        return [s for s in range(self._number_of_shards()) if not (self.folder / shard_name(s) / INDEX).is_file()]

    def shard_images(self, shard: int) -> list[ImageRef]:
        """The images of one shard."""
        return self.images[shard * self.shard_size : (shard + 1) * self.shard_size]

    def write(self, shard: int, features: Sequence[Features], skipped: Sequence[dict[str, str]]) -> None:
        """Writes one shard whole.

        Args:
          shard: its number.
          features: of its good images, in the order of the list.
          skipped: ``{"name", "reason"}`` of the others.

        Raises:
          InputError: the disk is full or cannot be written; the shards that are there stay.
        """
        counts = [len(f) for f in features]
        index = {
            "names": [f.name for f in features],
            "sizes": [[int(side) for side in f.image_size] for f in features],
            "skipped": list(skipped),
        }
        arrays: dict[str, NDArray[Any]] = {
            "global": np.array([f.global_descriptor for f in features], np.float32).reshape(
                len(features), -1 if features else 0
            ),
            "offsets": np.cumsum([0, *counts], dtype=np.int64),
            **self._form.encode(features),
        }
        with self._disk_errors(), atomic_path(self.folder / shard_name(shard)) as place:
            place.mkdir()
            for name, array in arrays.items():
                np.save(place / f"{name}.npy", array)
            write_json(place / INDEX, index)

    def finish(self) -> FeatureStore:
        """Joins the global descriptors, writes the manifest, and opens the store.

        Raises:
          InputError: not one image was good (nothing is kept then), or the disk is full.
        """
        indices = [read_json(self.folder / shard_name(s) / INDEX) for s in range(self._number_of_shards())]
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
            remove_leftovers(self.folder, "shard-*")
            for name in (GLOBAL, PLAN, MANIFEST):
                remove_leftovers(self.folder, name)
            write_json(self.folder / MANIFEST, manifest)
        return FeatureStore.open(self.folder)

    def _number_of_shards(self) -> int:
        return -(-len(self.images) // self.shard_size)

    def _keep_plan(self) -> None:
        place = self.folder / PLAN
        if not place.exists():
            if holds_official_files(self.folder):
                raise InputError(f"{self.folder} holds official files; choose another folder for the feature store.")
            check_writable(self.folder)
            with self._disk_errors():
                write_json(place, self.plan)
            return
        there = read_json(place)
        parts = [there.get(part) for part in self.plan] if isinstance(there, dict) else []
        if parts[:2] != [FORMAT, VERSION] or not all(isinstance(part, dict) for part in parts[2:]):
            raise InputError(f"{place} is not the plan of a feature store of version {VERSION}; choose another folder.")
        differences = [
            difference
            for part in ("settings", "storage", "contents")
            for difference in differing(there[part], self.plan[part])
        ]
        if differences and not self._begun():
            check_writable(self.folder)
            with self._disk_errors():
                write_json(place, self.plan)
        elif differences:
            raise InputError(
                f"{self.folder} holds features of other settings or images, there and asked for: "
                f"{'; '.join(differences)}; choose another folder or remove that one."
            )
        if not self.complete:
            check_writable(self.folder)

    def _begun(self) -> bool:
        """Whether a run got as far as features."""
        return self.complete or any(self.folder.glob("shard-*"))

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
                names = (*self._form.rows, *self._form.images)
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
                f"The feature store {self.folder} cannot be written: {error.strerror or 'disk full'}; what is finished "
                "is kept, and the same command continues when there is room."
            ) from error

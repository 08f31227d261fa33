"""Writes features as official files, which the released programs read: ``name.delg_global``, ``name.delg_local``."""

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extraction.features import Features
from extraction.images import BadImageError, ImageRef, load_image
from extraction.official import GLOBAL, LOCAL, RECORD
from extraction.pipeline import Extractor
from extraction.store import FeatureStore, differing
from extraction.store_writer import fingerprint
from protos.arrays import write_global
from protos.errors import InputError
from protos.files import check_writable, files_below, read_json, remove_leftovers, write_json
from protos.local_features import write_local
from protos.progress import progress_bar


@dataclass(frozen=True)
class Kinds:
    """Which files are written.

    Attributes:
      local: ``name.delg_local``.
      global_: ``name.delg_global``.
    """

    local: bool = True
    global_: bool = True

    @property
    def last(self) -> str:
        """Suffix of the file that is written last; where it is there, the image is finished."""
        return GLOBAL if self.global_ else LOCAL[0]


BOTH = Kinds()


def write_features(folder: str | os.PathLike[str], features: Features, kinds: Kinds = BOTH) -> None:
    """Writes the files of one image, each atomically.

    Args:
      folder: where they go; a name with ``/`` goes below it.
      features: of the image; keypoints ``(x, y)`` are written as locations ``(y, x)``, orientations as 0.
      kinds: which files.
    """
    if kinds.local:
        write_local(
            Path(folder) / f"{features.name}{LOCAL[0]}",
            features.keypoints[:, ::-1],
            features.scales,
            features.descriptors,
            features.scores,
        )
    if kinds.global_:
        write_global(Path(folder) / f"{features.name}{GLOBAL}", features.global_descriptor)


def write_store(store: FeatureStore, folder: str | os.PathLike[str]) -> None:
    """Writes a feature store as official files, with its settings beside them.

    Args:
      store: the features. Keypoints stay in pixels of the whole photo.
      folder: where the files go.

    Raises:
      InputError: the folder cannot be written, or holds files of another extraction.
    """
    kinds = Kinds(local=store.bytes_per_image()["local"] > 0, global_=store.global_descriptors.shape[1] > 0)
    record = {"settings": store.settings, "images": len(store), "fingerprint": _digest(store)}
    place = check_writable(folder)
    if _begin(place, record):
        return
    for i in range(len(store)):
        write_features(place, store.features(i), kinds)
    _finish(place, record, store.skipped)


def extract_official(
    extractor: Extractor,
    images: Sequence[ImageRef],
    folder: str | os.PathLike[str],
    *,
    kinds: Kinds = BOTH,
    progress: bool = True,
    num_threads: int = 2,
) -> list[dict[str, str]]:
    """Describes images and writes official files; continues where an earlier run stopped.

    As released, keypoints of a cropped image are in pixels of the crop. A bad image is skipped.

    Args:
      extractor: what describes an image.
      images: names are unique.
      folder: where the files go.
      kinds: which files.
      progress: show a line with images/s and the time left.
      num_threads: images described at once.

    Returns:
      ``{"name", "reason"}`` of the images that were skipped.

    Raises:
      InputError: no image, a name twice, the folder cannot be written, or holds files of another extraction.
    """
    if not images or len({ref.name for ref in images}) < len(images):
        raise InputError("Expected one image or more, each name once.")
    crop = any(ref.crop is not None for ref in images)
    settings = extractor.settings | {"crop": crop}
    record = {"settings": settings, "images": len(images), "fingerprint": fingerprint(images)}
    place = check_writable(folder)
    finished = _begin(place, record)
    if finished:
        if progress:
            print(f"{place}: features are already complete.", file=sys.stderr)
        return finished["skipped"]
    todo = [ref for ref in images if not (place / f"{ref.name}{kinds.last}").is_file()]

    def one(ref: ImageRef) -> dict[str, str] | None:
        try:
            image, whole, _ = load_image(ref, extractor.settings.get("crop_rule", "round"))
            features = extractor(image, ref.name, resize_factor=max(image.shape[:2]) / max(whole))
        except BadImageError as error:
            return {"name": ref.name, "reason": str(error)}
        write_features(place, features, kinds)
        return None

    with ThreadPoolExecutor(num_threads, thread_name_prefix="extract") as pool:
        done = len(images) - len(todo)
        options = {"total": len(images), "initial": done, "unit": "image", "desc": place.name, "disable": not progress}
        skipped = [entry for entry in progress_bar(pool.map(one, todo), **options) if entry]
    if len(skipped) == len(images):
        (place / RECORD).unlink()
        raise InputError(
            f"None of the {len(images)} images could be read: {skipped[0]['name']} ({skipped[0]['reason']})."
        )
    _finish(place, record, skipped)
    return skipped


def _digest(store: FeatureStore) -> str:
    """Changes when the names or the sizes of a store change."""
    return fingerprint([ImageRef(f"{name} {store.bytes_per_image()}", "") for name in store.names])


def _begin(folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """Writes the record, or compares it with the one that is there; gives that back if it is a finished one."""
    record = _plain(record)
    if not (folder / RECORD).is_file():
        if any(path.name.endswith((GLOBAL, *LOCAL)) for path in files_below(folder)):
            raise InputError(f"{folder} holds files of another program's extraction; choose another folder.")
        write_json(folder / RECORD, record)
        return None
    there = read_json(folder / RECORD)
    if not isinstance(there, dict) or not isinstance(there.get("settings"), dict):
        raise InputError(f"{folder / RECORD} is not the record of an extraction; choose another folder.")
    others = differing({k: v for k, v in there.items() if k in record and k != "settings"}, _others(record))
    differences = differing(there["settings"], record["settings"]) + others
    if differences:
        raise InputError(
            f"{folder} holds features of other settings or images, there and asked for: {'; '.join(differences)}; "
            "choose another folder or remove that one."
        )
    return there if "skipped" in there else None


def _others(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "settings"}


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """As it reads from JSON: tuples are lists."""
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def _finish(folder: Path, record: dict[str, Any], skipped: Sequence[dict[str, str]]) -> None:
    """Removes what killed runs left, and writes the record, which now is one of a finished extraction."""
    for place in {folder, *(path.parent for path in files_below(folder))}:
        for suffix in (GLOBAL, LOCAL[0]):
            remove_leftovers(place, f"*{suffix}")
    write_json(folder / RECORD, _plain(record) | {"skipped": list(skipped)})

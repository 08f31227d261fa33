"""Writes features as official files, which the released programs read: ``name.delg_global``, ``name.delg_local``."""

import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.files import check_writable, files_below, read_json, remove_leftovers, write_json
from delg.common.progress import progress_bar
from extraction.batching import threads
from extraction.describing import describe_crop
from extraction.extractors.base import HEADS, Extractor
from extraction.features import Features
from extraction.formats.base import FeatureSink, FeatureSource
from extraction.formats.checks import differing, other_features
from extraction.formats.official import GLOBAL, LOCAL, RECORD, check_file_name, check_name, place_of
from extraction.images import BadImageError, ImageRef, Reading, crop_size, relative_path
from extraction.resize import SMALLEST, TooSmallError
from extraction.settings import recorded_settings
from extraction.store.image_lists import fingerprint
from extraction.store.reader import FeatureStore
from protos.arrays import write_global
from protos.local_features import write_local

EMPTY_SIZE = 8  # bytes; without features a local file has 0 and a global file 7
IMAGES = ("images", "fingerprint")  # of a record, besides settings


def write_features(folder: str | os.PathLike[str], features: Features, heads: Sequence[str] = HEADS) -> None:
    """Writes the files of one image, each atomically.

    Args:
      folder: of the files; a name with ``/`` goes below it.
      features: of the image; keypoints ``(x, y)`` are written as locations ``(y, x)``, orientations as 0.
      heads: which files: ``"global"``, ``"local"`` or both.

    Raises:
      InputError: the name leads out of the folder.
    """
    if "local" in heads:
        write_local(
            place_of(folder, features.name, LOCAL[0]),
            features.keypoints[:, ::-1],
            features.scales,
            features.descriptors,
            features.scores,
        )
    if "global" in heads:
        write_global(place_of(folder, features.name, GLOBAL), features.global_descriptor)


class OfficialSink(FeatureSink):
    """Writes ``NAME.delg_global`` and ``NAME.delg_local`` of each image, and the record beside them."""

    def write(self, source: FeatureSource, folder: Path) -> None:
        """Writes the files."""
        for name in source.names:
            check_file_name(name)
        local = ("local",) * (source.local_width() > 0)
        for features in self.images(source, folder):
            write_features(folder, features, ("global",) * bool(len(features.global_descriptor)) + local)
        write_json(folder / RECORD, source.record())


def extract_official(
    extractor: Extractor,
    images: Sequence[ImageRef],
    folder: str | os.PathLike[str],
    *,
    heads: Sequence[str] = HEADS,
    progress: bool = True,
    num_threads: int = 2,
) -> list[dict[str, str]]:
    """Describes images and writes official files; continues where an earlier run stopped.

    As released, keypoints of a cropped image are in pixels of the crop, and an image that is too small (a side below 10
    pixels after resizing, or too small for the model) gets files without features and counts as skipped. A bad image
    gets no files and counts as skipped, too.

    Args:
      extractor: describes the images.
      images: names are unique.
      folder: of the files.
      heads: which files: ``"global"``, ``"local"`` or both.
      progress: show a line with images/s and the time left.
      num_threads: images described at once.

    Returns:
      ``{"name", "reason"}`` of the images that were skipped.

    Raises:
      InputError: no image, a name twice or one that leads out of the folder, the folder cannot be written, or holds
        files of another extraction or a feature store.
    """
    if not images or len({ref.name for ref in images}) < len(images):
        raise InputError("Expected one image or more, each name once.")
    for ref in images:
        check_name(ref.name, "Official files")
        check_file_name(ref.name)
    crop = any(ref.crop is not None for ref in images)
    settings = recorded_settings(extractor) | {"crop": crop}
    record = {"settings": settings, "images": len(images), "fingerprint": fingerprint(images)}
    place = check_writable(folder)
    complete = _begin(place, record)
    if complete:
        if progress:
            print(f"{place}: features are already complete.", file=sys.stderr)
        return complete["skipped"]
    last = GLOBAL if "global" in heads else LOCAL[0]  # the file that is written last
    todo = [ref for ref in images if not _described(place_of(place, ref.name, last))]

    with threads(extractor, num_threads) as pool:
        done = len(images) - len(todo)
        options = {"total": len(images), "initial": done, "unit": "image", "desc": place.name, "disable": not progress}
        skipped: list[dict[str, str]] = []
        with progress_bar(pool.map(partial(_write_one, extractor, place, heads), todo), **options) as bar:
            for entry in bar:
                if entry:
                    skipped.append(entry)
                    bar.set_postfix(skipped=len(skipped))
    if len(skipped) == len(images):
        _discard(place, skipped)
        raise InputError(
            f"None of the {len(images)} images could be read: {skipped[0]['name']} ({skipped[0]['reason']})."
        )
    paths = {ref.name: path for ref in images if (path := relative_path(ref))}
    _finish(place, record, skipped, paths)
    return skipped


def _write_one(extractor: Extractor, folder: Path, heads: Sequence[str], ref: ImageRef) -> dict[str, str] | None:
    """Describes one image and writes its files; returns name and reason of a skipped image."""
    try:
        _check_size(extractor, ref)
        features, *_ = describe_crop(extractor, ref)
    except BadImageError as error:
        if isinstance(error, TooSmallError):
            write_features(folder, Features(ref.name, (0, 0)), heads)
        return {"name": ref.name, "reason": str(error)}
    write_features(folder, features, heads)
    return None


def _check_size(extractor: Extractor, ref: ImageRef) -> None:
    """Raises TooSmallError where the released extractor gives no features, whatever the extractor is here."""
    side, whole = crop_size(ref, Reading.of(extractor.settings))
    base = extractor.base_size(side, max(side) / max(whole))
    if min(base) < SMALLEST:
        raise TooSmallError(f"{base[0]} x {base[1]} pixels after resizing; official files need {SMALLEST} or more")


def _discard(folder: Path, skipped: Sequence[dict[str, str]]) -> None:
    """Removes the record and the files without features, so that the folder is free again."""
    for entry in skipped:
        for suffix in (GLOBAL, LOCAL[0]):
            place_of(folder, entry["name"], suffix).unlink(missing_ok=True)
    (folder / RECORD).unlink()


def _described(path: Path) -> bool:
    """Whether the last file of an image is written and has features; an image without is described again."""
    return path.is_file() and path.stat().st_size > EMPTY_SIZE


def _begin(folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """Writes the record, or compares it with that of an earlier run; returns the latter where that run is complete."""
    record = json.loads(json.dumps(record))  # tuples are lists
    if FeatureStore.recognizes(folder):
        raise InputError(f"{folder} holds a feature store; choose another folder for the official files.")
    if not (folder / RECORD).is_file():
        if _has_features(folder):
            raise InputError(
                f"{folder} holds official files without the {RECORD} of an extraction: another program wrote them, or "
                f"the {RECORD} was removed; choose another folder, or remove the files to extract anew."
            )
        write_json(folder / RECORD, record)
        return None
    earlier = read_json(folder / RECORD)
    if not isinstance(earlier, dict) or not isinstance(earlier.get("settings"), dict):
        raise InputError(f"{folder / RECORD} is not the record of an extraction; choose another folder.")
    settings, new_settings = (one["settings"] | {key: one.get(key) for key in IMAGES} for one in (earlier, record))
    lines = differing(settings, new_settings)
    if lines and _has_features(folder):
        raise other_features(folder, lines)
    if lines:  # the earlier run ended before its first image
        write_json(folder / RECORD, record)
        return None
    return earlier if "skipped" in earlier else None


def _has_features(folder: Path) -> bool:
    return any(path.name.endswith((GLOBAL, *LOCAL)) for path in files_below(folder))


def _finish(folder: Path, record: dict[str, Any], skipped: Sequence[dict[str, str]], paths: dict[str, str]) -> None:
    """Removes leftovers of killed runs, and completes the record."""
    for place in {folder, *(path.parent for path in files_below(folder))}:
        for suffix in (GLOBAL, LOCAL[0]):
            remove_leftovers(place, f"*{suffix}")
    write_json(folder / RECORD, record | {"skipped": list(skipped), "paths": paths})

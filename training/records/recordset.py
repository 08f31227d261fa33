"""Reads a set of records that ``delg-records`` made: its shards, counts and number of classes."""

import glob
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from delg.common.errors import InputError
from delg.common.files import read_json

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class RecordSet:
    """The shards of one split.

    Attributes:
      files: the shards, sorted.
      num_classes: classes of the whole set; labels are below it.
      num_images: records in these shards.
      decoded_bytes: size of all images as uint8 RGB.
      fingerprint: hash of images, labels and settings of the set, and of the names of the shards.
      shard_images: number of records in each file; empty where unknown.
    """

    files: tuple[str, ...]
    num_classes: int
    num_images: int
    decoded_bytes: int
    fingerprint: str
    shard_images: tuple[int, ...] = ()


def open_records(pattern: str) -> RecordSet:
    """Finds the shards that a pattern names and reads the manifests beside them.

    Args:
      pattern: as in ``--train_file_pattern``: ``DIR/train*``; several patterns are separated by commas. The name of an
        existing folder is taken literally; a comma separates patterns only where the whole text matches no file.

    Raises:
      InputError: no file matches, a manifest is missing or lacks a file, a shard has another size than recorded, or
        two folders have different numbers of classes.
    """
    names = _matches(pattern) or [name for part in pattern.split(",") for name in _matches(part)]
    files = sorted({name for name in names if Path(name).is_file() and Path(name).name != MANIFEST})
    if not files:
        raise InputError(
            f"No file matches {pattern!r}: expected TFRecord shards made by delg-records, such as DIR/train*."
        )
    manifests = {folder: read_manifest(folder) for folder in sorted({Path(file).parent for file in files})}
    counts = {folder: manifest["num_classes"] for folder, manifest in manifests.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} in {folder}" for folder, count in counts.items())
        raise InputError(f"The record folders have different numbers of classes: {listed}.")
    entries = [_entry(manifests[Path(file).parent], Path(file)) for file in files]
    return RecordSet(
        files=tuple(files),
        num_classes=next(iter(counts.values())),
        num_images=sum(entry["images"] for entry in entries),
        decoded_bytes=sum(entry["decoded_bytes"] for entry in entries),
        fingerprint=_fingerprint((str(manifests[Path(file).parent]["fingerprint"]), Path(file).name) for file in files),
        shard_images=tuple(entry["images"] for entry in entries),
    )


def _matches(pattern: str) -> list[str]:
    """Files that match a pattern; wildcards in the name of its folder count only when there is no such folder."""
    folder, name = os.path.split(os.path.expanduser(pattern.strip()))  # noqa: PTH111
    folder = glob.escape(folder) if Path(folder).is_dir() else folder
    return glob.glob(os.path.join(folder, name))  # noqa: PTH118, PTH207


def _fingerprint(shards: Iterable[tuple[str, str]]) -> str:
    """Hash of the fingerprint of the set and of the names of the shards, independent of their folder."""
    return hashlib.sha256(json.dumps(sorted(shards)).encode()).hexdigest()[:32]


def check_same_classes(train: RecordSet, validation: RecordSet) -> None:
    """Raises InputError where two sets have different numbers of classes."""
    if train.num_classes != validation.num_classes:
        raise InputError(
            f"The training records have {train.num_classes} classes and the validation records have "
            f"{validation.num_classes}: make both with one run of delg-records."
        )


def read_manifest(folder: str | os.PathLike[str]) -> dict:
    """Reads the manifest of a record folder.

    Raises:
      InputError: the manifest is missing (unfinished, or not made by ``delg-records``), or of another form.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder} has no {MANIFEST}, which has the number of classes: run delg-records to its end (the same "
            "command continues an interrupted run)."
        )
    manifest = read_json(path)
    whole = isinstance(manifest, dict) and {"num_classes", "shards", "fingerprint"} <= set(manifest)
    if not whole or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not a manifest of training records of format {FORMAT}.")
    return manifest


def _entry(manifest: dict, file: Path) -> dict:
    entry = manifest["shards"].get(file.name)
    if entry is None:
        raise InputError(f"{file} is not listed in the {MANIFEST} beside it; the pattern should match its shards only.")
    if file.stat().st_size != entry["bytes"]:
        raise InputError(
            f"{file} has {file.stat().st_size} bytes where {MANIFEST} says {entry['bytes']}: remove the folder and run "
            "delg-records again."
        )
    return entry

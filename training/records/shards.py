"""Writes training images as TFRecord shards: checked, shuffled, atomic and resumable."""

import csv
import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from delg.common.decoding import BadImageError
from delg.common.errors import InputError
from delg.common.files import atomic_path, check_writable, read_json, remove_leftovers, write_json, write_text
from delg.common.text_files import as_utf8
from training.records.examples import EncodedPhoto, read_photo, write_example
from training.records.recordset import FORMAT, MANIFEST
from training.records.sources import LabelledPhotos, Photo, split_and_shuffle

PARTS = "parts"
PLAN = "plan.json"
LABELS = "labels.json"
RELABELING = "relabeling.csv"
IMAGES_PER_SHARD = 256
MAX_SHARDS = 128
CHUNK = 64
Read = Callable[[Photo], EncodedPhoto | BadImageError]


@dataclass(frozen=True)
class RecordsConfig:
    """How records are made.

    Attributes:
      validation_split_size: fraction of every class that goes to validation; 0 makes no validation shards.
      num_shards: per split (released: 128); None for one per 256 images, at most 128.
      seed: of the split and the shuffles.
      exif: ``"apply"`` or ``"ignore"`` the orientation tag.
    """

    validation_split_size: float = 0.0
    num_shards: int | None = None
    seed: int = 0
    exif: str = "apply"


@dataclass(frozen=True)
class Shard:
    """A shard to be written: its file name and its images in order."""

    name: str
    photos: tuple[Photo, ...]


def write_records(source: LabelledPhotos, output_dir: Path, config: RecordsConfig, *, workers: int) -> dict[str, Any]:
    """Writes all shards, ``labels.json``, ``relabeling.csv`` and, last, the manifest.

    Shards of an earlier run of the same job are not written again.

    Args:
      source: the labelled images.
      output_dir: made if absent.
      config: the settings.
      workers: number of images read and checked at once.

    Returns:
      The manifest.

    Raises:
      InputError: the folder holds records of other images or settings, no image could be read, or the disk
        is full.
    """
    check_writable(output_dir)
    fingerprint = _fingerprint(source, config)
    if (output_dir / MANIFEST).is_file():
        manifest = read_json(output_dir / MANIFEST)
        _check_fingerprint(manifest, fingerprint, output_dir)
        print(f"{output_dir} is already complete.", flush=True)
        _tidy(output_dir)
        return manifest
    if (output_dir / PARTS / PLAN).is_file():
        _check_fingerprint(read_json(output_dir / PARTS / PLAN), fingerprint, output_dir)
    elif any(output_dir.glob("*-of-*")):
        raise InputError(f"{output_dir} holds shards that this command did not make; choose another --output_dir.")
    write_json(output_dir / PARTS / PLAN, {"fingerprint": fingerprint})
    parts = _write_missing(
        plan_shards(source, config), output_dir, partial(_read, upright=config.exif == "apply"), workers
    )
    return _finish(source, config, output_dir, {"fingerprint": fingerprint, "parts": parts})


def plan_shards(source: LabelledPhotos, config: RecordsConfig) -> list[Shard]:
    """The shards of all splits: contiguous pieces of the shuffled images."""
    train, validation = split_and_shuffle(source.photos, config.validation_split_size, config.seed)
    shards = []
    for split, photos in (("train", train), ("validation", validation)):
        wanted = config.num_shards or min(MAX_SHARDS, -(-len(photos) // IMAGES_PER_SHARD))
        count = min(wanted, len(photos))
        bounds = np.linspace(0, len(photos), count + 1).astype(int)
        for i in range(count):
            name = f"{split}-{i:05d}-of-{count:05d}"
            shards.append(Shard(name, tuple(photos[bounds[i] : bounds[i + 1]])))
    return shards


def _write_missing(shards: Sequence[Shard], output_dir: Path, read: Read, workers: int) -> dict[str, dict[str, Any]]:
    """Writes the shards that have no part file yet; returns the part of every shard."""
    parts, started, written = {}, time.monotonic(), 0
    total = sum(len(shard.photos) for shard in shards)
    left = total
    with ThreadPoolExecutor(workers) as executor:
        for number, shard in enumerate(shards, start=1):
            part_path = output_dir / PARTS / f"{shard.name}.json"
            left -= len(shard.photos)
            if part_path.is_file() and (output_dir / shard.name).is_file():
                parts[shard.name] = read_json(part_path)
                continue
            part = write_shard(shard, output_dir, read, executor)
            write_json(part_path, part)
            parts[shard.name] = part
            written += len(shard.photos)
            speed = written / (time.monotonic() - started)
            print(f"shard {number}/{len(shards)}  {speed:.0f} images/s  {left / speed:.0f} s left", flush=True)
    return parts


def write_shard(shard: Shard, output_dir: Path, read: Read, executor: ThreadPoolExecutor) -> dict[str, Any]:
    """Writes one shard and returns its entry in the manifest.

    Raises:
      InputError: the shard cannot be written, such as on a full disk.
    """
    try:
        with atomic_path(output_dir / shard.name) as temporary:
            return _write_file(shard.photos, temporary, read, executor)
    except tf.errors.OpError as error:
        raise InputError(f"The shard {output_dir / shard.name} cannot be written: {error.message}.") from error


def _write_file(photos: Sequence[Photo], path: Path, read: Read, executor: ThreadPoolExecutor) -> dict[str, Any]:
    """Writes the records of one shard to a file."""
    images, decoded, skipped = 0, 0, []
    labels: dict[int, int] = {}
    with tf.io.TFRecordWriter(str(path)) as writer:
        for photo, result in _read_all(photos, read, executor):
            if isinstance(result, BadImageError):
                skipped.append(_left_out(photo.id, photo.path, str(result)))
                continue
            writer.write(write_example(result, photo.label, photo.id))
            images += 1
            decoded += result.height * result.width * 3
            labels[photo.label] = labels.get(photo.label, 0) + 1
    size = path.stat().st_size
    return {"images": images, "bytes": size, "decoded_bytes": decoded, "labels": labels, "skipped": skipped}


def _read_all(
    photos: Sequence[Photo], read: Read, executor: ThreadPoolExecutor
) -> Iterator[tuple[Photo, EncodedPhoto | BadImageError]]:
    """Reads in parallel, a limited number of images at once, in order."""
    for begin in range(0, len(photos), CHUNK):
        chunk = photos[begin : begin + CHUNK]
        yield from zip(chunk, executor.map(read, chunk))


def _read(photo: Photo, upright: bool) -> EncodedPhoto | BadImageError:
    """Reads a file, and checks that the decoder of the training reads the result."""
    try:
        encoded = read_photo(photo.path, upright)
        with tf.device("CPU:0"):
            tf.io.decode_jpeg(encoded.data, channels=3)
    except BadImageError as error:
        return error
    except tf.errors.InvalidArgumentError:
        return BadImageError("TensorFlow cannot decode it")
    return encoded


def _finish(source: LabelledPhotos, config: RecordsConfig, output_dir: Path, done: dict[str, Any]) -> dict[str, Any]:
    """Writes the label lists and the manifest, and removes the parts."""
    skipped = [entry for part in done["parts"].values() for entry in part.pop("skipped")]
    skipped += [_left_out(as_utf8(path.name), path, "it lies in no class's folder") for path in source.strays]
    trained: dict[str, int] = {}
    for name, part in done["parts"].items():
        for label, count in part.pop("labels").items():
            if name.startswith("train-"):
                trained[str(label)] = trained.get(str(label), 0) + count
    if not trained:
        for name in done["parts"]:  # so that the same command reads the images again
            (output_dir / name).unlink(missing_ok=True)
        _tidy(output_dir)
        raise InputError(
            f"None of the {len(source.photos)} images could be read; first reason: {skipped[0]['reason']}."
        )
    empty = [name for label, name in enumerate(source.class_names) if str(label) not in trained]
    write_json(output_dir / LABELS, list(source.class_names))
    write_text(output_dir / RELABELING, _relabeling(source.class_names))
    manifest = {
        "format": FORMAT,
        "num_classes": len(source.class_names),
        "images": {
            split: sum(part["images"] for name, part in done["parts"].items() if name.startswith(f"{split}-"))
            for split in ("train", "validation")
        },
        "settings": asdict(config),
        "fingerprint": done["fingerprint"],
        "classes_without_training_images": empty,
        "skipped": skipped,
        "shards": done["parts"],
    }
    write_json(output_dir / MANIFEST, manifest)
    _tidy(output_dir)
    return manifest


def _left_out(identity: str, path: Path, reason: str) -> dict[str, str]:
    """The entry of a skipped image in the manifest."""
    return {"id": identity, "path": as_utf8(str(path)), "reason": reason}


def _tidy(output_dir: Path) -> None:
    """Removes the parts of the run, and temporary files of killed runs."""
    shutil.rmtree(output_dir / PARTS, ignore_errors=True)
    for pattern in ("*-of-*", LABELS, RELABELING, MANIFEST):
        remove_leftovers(output_dir, pattern)


def _relabeling(class_names: Sequence[str]) -> str:
    """``new_label,old_label`` lines, as the released builder writes them."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("new_label", "old_label"))
    writer.writerows(enumerate(class_names))
    return buffer.getvalue()


def _fingerprint(source: LabelledPhotos, config: RecordsConfig) -> str:
    """Hash of ids, labels, file sizes, class names and settings; image files are not read."""
    digest = hashlib.sha256(json.dumps([asdict(config), source.class_names]).encode())
    for photo in source.photos:
        digest.update(f"{photo.id}\0{photo.label}\0{_size(photo.path)}\n".encode())
    return digest.hexdigest()[:32]


def _size(path: Path) -> int:
    """Size of a file in bytes; -1 for a missing file."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _check_fingerprint(document: dict[str, Any], fingerprint: str, output_dir: Path) -> None:
    if document.get("fingerprint") != fingerprint:
        raise InputError(
            f"{output_dir} holds records of other images or other settings; choose another --output_dir or remove it."
        )

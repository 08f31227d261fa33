"""Checks an existing set of records: shards, records, images, labels, and images of the source that are missing."""

import collections
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from delg.common.text_files import as_utf8
from training.records.examples import parse_example
from training.records.recordset import read_manifest
from training.records.sources import LabelledPhotos

CHUNK = 256


def problems(folder: str | os.PathLike[str], source: LabelledPhotos | None = None, workers: int = 1) -> Iterator[str]:
    """The faults of a set, a sentence each.

    Args:
      folder: folder of ``delg-records``.
      source: the images that the set should hold; None checks the set alone.
      workers: number of images decoded at once.

    Yields:
      Missing, changed or unreadable shards; records that do not parse, with a broken image or a label out of range;
      images of the source that are in no shard; and images that were skipped when the set was made.

    Raises:
      InputError: there is no manifest.
    """
    manifest, place = read_manifest(folder), Path(folder)
    seen: collections.Counter[str] = collections.Counter()
    with ThreadPoolExecutor(workers) as executor:
        for name, entry in sorted(manifest["shards"].items()):
            yield from _shard(place / name, entry, manifest["num_classes"], seen, executor)
    for entry in manifest.get("skipped", ()):
        yield f"{entry['path']}: left out when the records were made: {entry['reason']}"
    if source is not None:
        skipped = {entry["id"] for entry in manifest.get("skipped", ())}
        for photo in source.photos:
            if photo.id not in seen and photo.id not in skipped:
                yield f"{photo.path}: in no shard{'' if photo.path.is_file() else ', and there is no such file'}"
        yield from (f"{path}: in no class's folder" for path in source.strays if as_utf8(path.name) not in skipped)
    yield from (f"{identity}: {count} times in the shards" for identity, count in seen.items() if count > 1)


def _shard(
    path: Path, entry: dict[str, Any], num_classes: int, seen: "collections.Counter[str]", executor: ThreadPoolExecutor
) -> Iterator[str]:
    """The faults of a shard; ``seen`` counts the ids of its records."""
    if not path.is_file():
        yield f"{path}: missing, {entry['images']} images"
        return
    if path.stat().st_size != entry["bytes"]:
        yield f"{path}: {path.stat().st_size} bytes where the manifest says {entry['bytes']}"
    count = 0
    try:
        for chunk in tf.data.TFRecordDataset(str(path)).batch(CHUNK).as_numpy_iterator():
            for identity, complaint in executor.map(lambda record: _record(record, num_classes), chunk):
                if identity:
                    seen[identity] += 1
                if complaint:
                    yield f"{path}: record {count}{f' ({identity})' if identity else ''}: {complaint}"
                count += 1
    except tf.errors.OpError as error:
        yield f"{path}: cannot be read after record {count}: {str(error.message).splitlines()[0]}"
        return
    if count != entry["images"]:
        yield f"{path}: {count} records where the manifest says {entry['images']}"


def _record(serialized: bytes, num_classes: int) -> tuple[str, str]:
    """The id of a record, and its fault; an empty text for a good record."""
    with tf.device("CPU:0"):
        try:
            example = parse_example(tf.constant(serialized))
        except tf.errors.InvalidArgumentError:
            return "", "not a training record"
        identity, label = example.id.numpy().decode("utf-8", "backslashreplace"), int(example.label)
        try:
            tf.io.decode_jpeg(example.encoded, channels=3)
        except tf.errors.InvalidArgumentError:
            return identity, "the image cannot be decoded"
    return identity, "" if 0 <= label < num_classes else f"the label {label} is not below {num_classes}"

"""Tools for finished stores: describe, check, join."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from delg.common.errors import InputError
from delg.common.files import check_writable, read_json, sha256, write_json
from delg.common.npy import map_array
from delg.common.progress import progress_bar
from extraction.formats.base import FeatureSource
from extraction.formats.checks import differing
from extraction.images import ImageRef
from extraction.store.image_lists import image_lists
from extraction.store.reader import GLOBAL, INDEX, MANIFEST, PLAN, FeatureStore, shard_name
from extraction.store.writer import StoreWriter

UNIT = 1e-3  # of a norm


def info(store: FeatureStore) -> str:
    """Counts, sizes and settings of a store, in lines."""
    size = store.bytes_per_image()
    lines = [
        f"images: {len(store)}, and {len(store.skipped)} skipped",
        f"global descriptor: {store.global_descriptors.shape[1]} values, {size['global']:.0f} bytes an image",
        f"local features: {store.local_dtype}, {size['local']:.0f} bytes an image",
        *(f"{key}: {json.dumps(value)}" for key, value in sorted(store.settings.items())),
        *(f"skipped: {entry['name']} ({entry['reason']})" for entry in store.skipped),
    ]
    return "\n".join(lines)


def behind(store: FeatureSource, images: Sequence[ImageRef]) -> str:
    """How features differ from the images that they are of, as ``2 new, 1 removed, 1 changed``; empty where they agree.

    An image counts as changed where its file is newer than its features; only a feature store tells.

    Args:
      store: the features.
      images: the list as it is now.
    """
    known = {*store.names, *(entry["name"] for entry in store.skipped)}
    listed = {ref.name: ref.path for ref in images}
    changed = 0
    if isinstance(store, FeatureStore):
        for number, names in enumerate(store.names_of_shards()):
            written = (store.folder / shard_name(number) / INDEX).stat().st_mtime
            files = [Path(listed[name]) for name in names if name in listed]
            changed += sum(file.stat().st_mtime > written for file in files if file.exists())
    removed = sum(name not in listed for name in store.names)
    counts = {"new": len(listed.keys() - known), "removed": removed, "changed": changed}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def verify(store: FeatureStore) -> None:
    """Reads every feature of a store, checks names and norms beyond what every read checks, then compares hashes.

    Raises:
      InputError: names the first image that is damaged, or the first file that is not as it was written.
    """
    if len(set(store.names)) < len(store):
        raise InputError(f"{store.folder} holds a name twice.")
    store.checked = True
    for i in progress_bar(range(len(store)), desc=store.folder.name, unit="image"):
        features = store.features(i)
        norms = [features.global_descriptor[None]] + ([] if features.binary else [features.descriptors])
        lengths = [np.linalg.norm(rows, axis=1) for rows in norms if rows.size]
        holds = {
            f"is called {features.name!r} in its shard": features.name == store.names[i],
            "has descriptors that are not of unit norm": all(np.abs(n - 1).max() < UNIT for n in lengths if n.size),
        }
        for what, good in holds.items():
            if not good:
                raise InputError(f"{store.folder} is damaged: image {store.names[i]!r} {what}; extract it again.")
    _verify_files(store)


def _verify_files(store: FeatureStore) -> None:
    """Compares arrays with the hashes of their shards, and the joined global descriptors with the shards' own."""
    start = 0
    for number, images in enumerate(read_json(store.folder / MANIFEST)["shards"]):
        place, joined = store.folder / shard_name(number), store.global_descriptors[start : start + images]
        for name, digest in read_json(place / INDEX)["sha256"].items():
            path = place / f"{name}.npy"
            if not path.is_file() or sha256(path) != digest:
                raise InputError(f"{store.folder} is damaged: {path} is not as it was written; extract again.")
        if images and not np.array_equal(joined, map_array(place / GLOBAL)):
            raise InputError(f"{store.folder} is damaged: {GLOBAL} is not that of {place.name}; extract again.")
        start += images


def merge(folders: Sequence[str | os.PathLike[str]], output_dir: str | os.PathLike[str]) -> FeatureStore:
    """Joins stores of the same settings, their images one store after the other.

    Args:
      folders: two or more finished stores.
      output_dir: an absent or empty folder.

    Raises:
      InputError: settings or storage differ, two stores hold an image of one name, or the folder is not empty.
    """
    stores, place = [FeatureStore.open(folder) for folder in folders], Path(output_dir)
    plans = [read_json(store.folder / PLAN) for store in stores]
    if len(stores) < 2:
        raise InputError(f"Expected two stores or more to merge. Received: {len(stores)}")
    for store, plan in zip(stores[1:], plans[1:]):
        lines = [line for part in ("settings", "storage") for line in differing(plans[0][part], plan[part])]
        if lines:
            raise InputError(f"{stores[0].folder} and {store.folder} were made differently: {'; '.join(lines)}.")
    names = [name for store in stores for name in (*store.names, *(entry["name"] for entry in store.skipped))]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in set(names[:i]))
        raise InputError(f"Two of the stores hold an image {twice!r}; expected each name once.")
    if place.is_dir() and any(place.iterdir()):
        raise InputError(f"The output folder {place} must be absent or empty; a merge replaces nothing.")
    check_writable(place)
    first, *others = (one for plan in plans for one in image_lists(plan["contents"]))
    write_json(place / PLAN, plans[0] | {"contents": first | {"appended": others}})
    number = 0
    for store in stores:
        for shard in range(len(read_json(store.folder / MANIFEST)["shards"])):
            shutil.copytree(store.folder / shard_name(shard), place / shard_name(number))
            number += 1
    return StoreWriter.reopened(place).finish()

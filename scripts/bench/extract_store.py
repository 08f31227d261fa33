"""The feature store: how long it takes to open a very large one, and bytes of an image beside the released files.

The very large one has 2048 values a global descriptor, 64 images a shard, and takes 16 KB of disk an image.
"""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from extraction.features import Features
from extraction.formats.table import convert
from extraction.images import ImageRef
from extraction.store.encoding import LOCAL_DTYPES
from extraction.store.reader import GLOBAL, MANIFEST, FeatureStore
from extraction.store.writer import SHARD_SIZE, StoreWriter
from scripts.bench.measure import Options

LOCAL_IMAGES, SOME = 10_000, 64
DIMENSION = 2048


def features(rng: np.random.Generator, count: int, dimension: int) -> Features:
    """Random features of the released form: 128 values a local feature."""
    vectors = [rng.normal(size=shape).astype(np.float32) for shape in (dimension, (count, 128))]
    vector, rows = (array / np.linalg.norm(array, axis=-1, keepdims=True) for array in vectors)
    places, scores = rng.uniform(0, 768, (count, 2)), np.sort(rng.uniform(0, 9, count))[::-1]
    arrays = (array.astype(np.float32) for array in (places, rows, scores, rng.choice([0.5, 1, 2, 4], count)))
    return Features("", (1024, 768), vector, *arrays)


def store(
    folder: Path, images: int, local_images: int, per_shard: int, one: Features, *, dtype: str = "float32"
) -> None:
    """A store of which the first images have the features of ``one``, the others its global descriptor alone."""
    none = one.top(0)
    refs = [ImageRef(f"photos/{i:07d}", "") for i in range(images)]
    writer = StoreWriter(folder, {"extractor": "random"}, refs, local_dtype=dtype, shard_size=per_shard)
    for shard in writer.missing():
        found = []
        for i, ref in enumerate(writer.shard_images(shard), start=shard * per_shard):
            found.append(replace(one if i < local_images else none, name=ref.name))
        writer.write(shard, found, [])
    if not writer.complete:
        writer.finish()


def row(options: Options) -> dict[str, Any]:
    """Seconds to open a store of ``options.rows`` global descriptors, 10,000 of them with local features."""
    large, small = options.folder / f"large_store_{options.rows}", options.folder / "small_store"
    rng = np.random.default_rng(0)
    store(large, options.rows, LOCAL_IMAGES, SHARD_SIZE, features(rng, 100, DIMENSION))
    seconds, cold, named = [], [], []
    for times, at_first in ((cold, True), (seconds, False)):
        for _ in range(options.repeats):
            if at_first:
                forget(large / GLOBAL, large / MANIFEST)
            start = time.perf_counter()
            opened = FeatureStore.open(large)
            times.append(time.perf_counter() - start)
            opened.features(opened.index_of(opened.names[min(LOCAL_IMAGES, options.rows) - 1]))
            named.append(time.perf_counter() - start)
    notes: dict[str, Any] = {
        "seconds to open it, read from the disk": round(median(cold), 3),
        "seconds to open it and read an image by name": round(median(named), 3),
    }
    for dtype in LOCAL_DTYPES:
        shutil.rmtree(small, ignore_errors=True)
        store(small, SOME, SOME, SOME, features(rng, 1000, DIMENSION), dtype=dtype)
        notes[f"KB an image, 1000 local features in {dtype}"] = _kilobytes(small)
        if dtype == "float32":
            shutil.rmtree(options.folder / "small_official", ignore_errors=True)
            convert(small, options.folder / "small_official", "official")
    notes["KB an image, the released files"] = _kilobytes(options.folder / "small_official")
    return {"name": "extract_store", "ours": median(seconds), "unit": f"store of {options.rows} opened", "notes": notes}


def forget(*paths: Path) -> None:
    """Lets the system drop what it keeps in memory of some files, where it can be asked to."""
    for path in paths if hasattr(os, "posix_fadvise") else ():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _kilobytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / SOME / 1000, 1)

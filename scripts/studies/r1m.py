"""RParis6k or ROxford5k with a million distractors, all features made by rule, planted on a real ground truth.

Shows what the streamed run costs at true size; the quality says nothing, as no photo is involved. Usage:
  python -m scripts.studies.r1m GND.pkl FOLDER [--distractors=1000000] [--dimension=2048] [--rerank=superglobal]
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import atomic_path, sampled_sha256, write_json
from evaluation.benchmarks.method import Method
from evaluation.benchmarks.revisited import from_file
from evaluation.run.distractors import check_top_k
from evaluation.run.search import run
from extraction.store.reader import FORMAT, GLOBAL, INDEX, MANIFEST, VERSION, FeatureStore, shard_name
from matching.rerankers.table import build_reranker
from scripts.studies.guard import guarded
from scripts.studies.rule_features import noise, planted

Rows = Iterator[NDArray[np.float32]]


def store(folder: Path, names: list[str], rows: Rows, dimension: int, crop: bool) -> FeatureStore:
    """A store of global descriptors alone, written row block by row block; one that is there is opened.

    Raises:
      InputError: that which is there is of another size.
    """
    if not (folder / MANIFEST).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / GLOBAL) as place, place.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(names), dimension)}
            np.lib.format.write_array_header_1_0(file, header)
            for block in rows:
                file.write((block / np.linalg.norm(block, axis=1, keepdims=True)).astype("<f4").tobytes())
        counts = {"images": len(names), "skipped": 0, "local_features": 0, "local_bytes": 0}
        manifest = {"format": FORMAT, "version": VERSION, "settings": {"extractor": "rule", "crop": crop}}
        manifest |= {"storage": {"local_dtype": "float32", "shard_size": len(names)}, "contents": {}}
        manifest |= {"names": names, "shards": [len(names)], "skipped": [], "counts": counts}
        digest = sampled_sha256(folder / GLOBAL)
        write_json(folder / shard_name(0) / INDEX, {"sha256": {"global": digest}})
        write_json(folder / MANIFEST, manifest | {"global_sha256": digest})
    made = FeatureStore.open(folder)
    if (found := made.global_descriptors.shape) != (len(names), dimension):
        raise InputError(f"{folder} holds {found[0]} x {found[1]} features, not {len(names)} x {dimension}; remove it.")
    return made


def main() -> None:
    """Makes the features, runs, prints times and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gnd", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--distractors", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--rerank", default="superglobal")
    asked = parser.parse_args()
    reranker = build_reranker(asked.rerank)
    check_top_k(reranker.top_k, asked.rerank)
    benchmark = from_file(asked.gnd.stem.removeprefix("gnd_"), asked.gnd, asked.gnd.parent)
    start = time.perf_counter()
    queries, database = planted(benchmark, asked.dimension)
    sets = {
        "queries": ([i.name for i in benchmark.queries], iter([queries]), True),
        "database": ([i.name for i in benchmark.database], iter([database]), False),
        "distractors": (
            [f"r1m/{i}" for i in range(asked.distractors)],
            noise(asked.distractors, asked.dimension, 4),
            False,
        ),
    }
    stores = {name: store(asked.folder / name, *given[:2], asked.dimension, given[2]) for name, given in sets.items()}
    made = time.perf_counter()
    rows = run(benchmark, Method("global", **stores), {asked.rerank: reranker})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    for row in rows:
        quality = {protocol: round(metrics["mAP"].value, 4) for protocol, metrics in row.metrics.items()}
        times = {stage: round(ms, 2) for stage, ms in row.ms_per_query.items()}
        print(json.dumps({"row": row.name, "mAP": quality, "ms_per_query": times}))
    took = made - start, time.perf_counter() - made
    print(f"features {took[0]:.1f} s, run {took[1]:.1f} s, largest resident memory {peak:.2f} GiB")


if __name__ == "__main__":
    guarded(main)

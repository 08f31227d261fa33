"""ROxford5k or RParis6k at true size, features made by rule and planted on the real ground truth, by delg-benchmark.

70 queries, 4,993 (6,322) images, global descriptors of 2048 values, local features of the images that stand among the
first of any query. Shows what each stage costs; the quality says nothing, as no photo is involved. Usage:
  python -m scripts.studies.roxford GND.pkl FOLDER [--dimension=2048] [--local=1000] [--rerank=ransac,superglobal]
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.revisited import from_file
from extraction.features import Features
from extraction.images import ImageRef
from extraction.store.writer import StoreWriter
from matching.indexes.table import search
from scripts.studies.guard import guarded
from scripts.studies.rule_features import SIDE, Floats, LocalRule, planted, unit

TOP = 100  # results of a query that RANSAC looks at
LOCAL_DIMENSION = 128


def reached(benchmark: Benchmark, queries: Floats, database: Floats) -> set[int]:
    """Database images that stand among the first :data:`TOP` of a query once the junk of a protocol is out."""
    ranking, found = search(queries, database), set()
    for truths in benchmark.protocols.values():
        for row in ranking.without([truth.junk for truth in truths]).indices:
            found |= set(row[:TOP].tolist())
    return found - {-1}


def write(
    folder: Path, images: list[ImageRef], describe: Callable[[int], Features], crop: bool, sizes: tuple[int, int]
) -> None:
    """A feature store of these; what is there is kept, if it is of these sizes (dimension, local features)."""
    writer = StoreWriter(folder, {"extractor": "rule", "sizes": list(sizes), "crop": crop}, images)
    for shard in writer.missing():
        start = shard * writer.shard_size
        writer.write(shard, [describe(row) for row in range(start, start + len(writer.shard_images(shard)))], [])
    if not writer.complete:
        writer.finish()


def make(benchmark: Benchmark, folder: Path, dimension: int, local: int) -> int:
    """Both stores; returns how many database images have local features."""
    queries, database = map(unit, planted(benchmark, dimension))
    rule, shown = LocalRule(benchmark, local, LOCAL_DIMENSION), reached(benchmark, queries, database)

    def query(row: int) -> Features:
        return rule.features(benchmark.queries[row].name, queries[row], (7, row), rule.of_queries[row])

    def image(row: int) -> Features:
        name = benchmark.database[row].name
        if row in shown:
            return rule.features(name, database[row], (8, row), rule.of_database.get(row))
        return Features(name, (SIDE, SIDE), database[row], descriptors=np.zeros((0, LOCAL_DIMENSION), np.float32))

    write(folder / "queries", benchmark.queries, query, True, (dimension, local))
    write(folder / "database", benchmark.database, image, False, (dimension, local))
    return len(shown)


def run(arguments: list[str]) -> None:
    """Runs delg-benchmark, and puts before each of its lines the seconds since its start."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "delg", "benchmark", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(f"{time.perf_counter() - start:7.1f} s  {line}", end="", flush=True)
    if process.returncode:
        sys.exit(process.returncode)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    print(f"{time.perf_counter() - start:7.1f} s  in all; largest resident memory {peak:.2f} GiB")


def main() -> None:
    """Makes the features, runs the command, prints times and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gnd", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--local", type=int, default=1000, help="local features of an image")
    parser.add_argument("--rerank", default="ransac,superglobal")
    asked = parser.parse_args()
    start = time.perf_counter()
    benchmark = from_file(asked.gnd.stem.removeprefix("gnd_"), asked.gnd, asked.gnd.parent)
    shown = make(benchmark, asked.folder, asked.dimension, asked.local)
    print(f"features made in {time.perf_counter() - start:.1f} s; {shown} images with local features", flush=True)
    run(
        [
            f"--dataset_file_path={asked.gnd}",
            f"--query_features_dir={asked.folder / 'queries'}",
            f"--index_features_dir={asked.folder / 'database'}",
            f"--rerank={asked.rerank}",
            f"--output_dir={asked.folder / 'report'}",
        ]
    )


if __name__ == "__main__":
    guarded(main)

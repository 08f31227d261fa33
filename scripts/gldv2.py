"""GLDv2 recognition at any size, features and CSV files made by rule, by delg-benchmark; and what the true size takes.

Shows what the run costs; the quality says nothing, as no photo is involved. The search at true size, 117,577 queries
against 4,132,914 images, is projected from this run in proportion to queries and images. Usage:
  python -m scripts.gldv2 FOLDER [--queries=1024] [--index=500000] [--dimension=2048]
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from protos.files import read_json, write_text
from scripts.r1m import store
from scripts.roxford import run
from scripts.rule_features import BLOCK, Floats, noise

TRUE = {"queries": 117_577, "index": 4_132_914, "classes": 203_094}
LEAN = 0.5  # of a query towards an image of its class


def queries_of(count: int, index: int, dimension: int) -> Iterator[Floats]:
    """Queries that lean towards the index image of their number."""
    for block, images in zip(noise(count, dimension, 1), noise(index, dimension, 2)):
        yield block + LEAN * images[: len(block)]


def csv_files(folder: Path, queries: int, index: int) -> None:
    """The solution and the classes; image ``i`` is of class ``i`` modulo the number of classes."""
    classes = TRUE["classes"]
    usage = ("Public", "Private")
    solution = [f"q{i},{i % classes},{usage[i % 2]}\n" for i in range(queries)]
    write_text(folder / "solution.csv", "id,landmarks,Usage\n" + "".join(solution))
    labels = [f"i{i},{i % classes}\n" for i in range(index)]
    write_text(folder / "train.csv", "id,landmark_id\n" + "".join(labels))


def main() -> None:
    """Makes the features, runs the command, prints times, memory and the projection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--index", type=int, default=500_000)
    parser.add_argument("--dimension", type=int, default=2048)
    asked = parser.parse_args()
    start = time.perf_counter()
    sets = {
        "queries": (asked.queries, queries_of(asked.queries, max(asked.index, BLOCK), asked.dimension)),
        "index": (asked.index, noise(asked.index, asked.dimension, 2)),
    }
    for name, (count, rows) in sets.items():
        store(asked.folder / name, [f"{name[0]}{i}" for i in range(count)], rows, asked.dimension, crop=False)
    csv_files(asked.folder, asked.queries, asked.index)
    print(f"features and files made in {time.perf_counter() - start:.1f} s", flush=True)
    run(
        [
            "--benchmark=gldv2_recognition",
            f"--query_features_dir={asked.folder / 'queries'}",
            f"--index_features_dir={asked.folder / 'index'}",
            f"--solution_file={asked.folder / 'solution.csv'}",
            f"--labels_file={asked.folder / 'train.csv'}",
            f"--output_dir={asked.folder / 'report'}",
        ]
    )
    spent = read_json(asked.folder / "report" / "report.json")["rows"][0]["ms_per_query"]["search"]
    hours = spent * TRUE["queries"] * TRUE["index"] / asked.index / 3.6e6
    print(f"search: {1000 / spent:.2f} queries/s against {asked.index} images")
    print(f"projection, not measured: {TRUE['queries']} against {TRUE['index']} images take {hours:.1f} hours")


if __name__ == "__main__":
    main()

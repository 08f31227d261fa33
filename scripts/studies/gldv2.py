"""A GLDv2 task at any size, features and CSV files made by rule, by delg-benchmark; and what the true size takes.

Shows what the run costs; the quality says nothing, as no photo is involved. The search at true size (recognition:
117,577 queries against 4,132,914 images; retrieval: 1,129 against 761,757) is projected from this run in proportion to
queries and images. Usage:
  python -m scripts.studies.gldv2 FOLDER [--task=recognition] [--queries=1024] [--index=500000] [--dimension=2048]
  python -m scripts.studies.gldv2 FOLDER --task=retrieval --queries=1129 --index=761757
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from delg.common.files import read_json, write_text
from scripts.studies.guard import guarded
from scripts.studies.r1m import store
from scripts.studies.roxford import run
from scripts.studies.rule_features import BLOCK, Floats, noise

TRUE = {"recognition": (117_577, 4_132_914), "retrieval": (1_129, 761_757)}  # queries, index images
CLASSES = 203_094
LEAN = 0.5  # of a query towards an image of its class


def queries_of(count: int, index: int, dimension: int) -> Iterator[Floats]:
    """Queries that lean towards the index image of their number."""
    for block, images in zip(noise(count, dimension, 1), noise(index, dimension, 2)):
        yield block + LEAN * images[: len(block)]


def csv_files(folder: Path, task: str, queries: int, index: int) -> list[str]:
    """The solution, and for recognition the classes; image ``i`` is of class ``i`` modulo the number of classes.

    Returns:
      The flags that name them.
    """
    column, right = ("landmarks", "") if task == "recognition" else ("images", "i")
    solution = [
        f"q{i},{right}{i % (index if right else CLASSES)},{('Public', 'Private')[i % 2]}\n" for i in range(queries)
    ]
    write_text(folder / "solution.csv", f"id,{column},Usage\n" + "".join(solution))
    given = [f"--solution_file={folder / 'solution.csv'}"]
    if task == "recognition":
        labels = [f"i{i},{i % CLASSES}\n" for i in range(index)]
        write_text(folder / "train.csv", "id,landmark_id\n" + "".join(labels))
        given.append(f"--labels_file={folder / 'train.csv'}")
    return given


def main() -> None:
    """Makes the features, runs the command, prints times, memory and the projection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", choices=TRUE, default="recognition")
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
    files = csv_files(asked.folder, asked.task, asked.queries, asked.index)
    print(f"features and files made in {time.perf_counter() - start:.1f} s", flush=True)
    run(
        [
            f"--benchmark=gldv2_{asked.task}",
            f"--query_features_dir={asked.folder / 'queries'}",
            f"--index_features_dir={asked.folder / 'index'}",
            *files,
            f"--output_dir={asked.folder / 'report'}",
        ]
    )
    spent = read_json(asked.folder / "report" / "report.json")["rows"][0]["ms_per_query"]["search"]
    queries, index = TRUE[asked.task]
    hours = spent * queries * index / asked.index / 3.6e6
    print(f"search: {1000 / spent:.2f} queries/s against {asked.index} images")
    if (queries, index) != (asked.queries, asked.index):
        print(f"projection, not measured: {queries} against {index} images take {hours:.1f} hours")


if __name__ == "__main__":
    guarded(main)

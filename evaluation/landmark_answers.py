"""Answers to the GLDv2 challenges, block by block of queries: search, rerankers, and what is written.

A block that is done lies on disk, so that a run that was stopped continues; one at a time is held, also when they are
joined.
"""

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import atomic_path, json_sha256, read_json, write_json
from delg.common.progress import progress_bar
from delg.common.sources import source_sha256
from evaluation.benchmarks.gldv2_votes import Labels, image_id, knn_vote
from evaluation.metrics.gldv2 import MAX_PREDICTIONS
from evaluation.run.method import Method
from evaluation.run.result_cache import file_name
from evaluation.run.versions import packages
from matching.indexes.table import search
from matching.ranking import Ranking
from matching.rerankers.table import build_reranker
from matching.source import Slice

QUERIES = 256  # searched at once
JsonObject = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Task:
    """What is answered.

    Attributes:
      method: features of queries and index.
      rerankers: row suffix to the reranker's text.
      labels: ``(N,)`` classes of the index images, of which the neighbours vote; None answers with images.
      neighbours: how many vote.
    """

    method: Method
    rerankers: Mapping[str, str]
    labels: Labels | None
    neighbours: int

    @property
    def column(self) -> str:
        """What the answers are called in a submission file."""
        return "images" if self.labels is None else "landmarks"

    @property
    def rows(self) -> dict[str, str]:
        """Row suffix to the row's name, the first stage first."""
        return {suffix: self.method.row_name(suffix) for suffix in ("", *self.rerankers)}

    def keys(self) -> dict[str, str]:
        """Row to what changes when its answers may change: features, votes, reranker, code, versions of packages."""
        stores = [store.identity() for store in (self.method.queries, self.method.database)]
        votes = None if self.labels is None else [self.neighbours, json_sha256(self.labels.tolist())]
        basis = [*stores, votes, QUERIES, packages(), source_sha256("evaluation.landmark_answers")]
        rerankers = {suffix: build_reranker(text).identity() for suffix, text in self.rerankers.items()}
        return {row: json_sha256([basis, rerankers.get(suffix)]) for suffix, row in self.rows.items()}

    def texts(self, ranking: Ranking) -> list[str]:
        """The answers of a ranking as the files hold them."""
        if self.labels is not None:
            return [f"{label} {score:.9g}" for label, score in knn_vote(ranking, self.labels, self.neighbours)]
        names = self.method.database.names
        return [" ".join(image_id(names[row]) for row in ranking.row(q)[:MAX_PREDICTIONS]) for q in range(len(ranking))]


def answer(task: Task, folder: Path, say: Callable[[str], None] = lambda line: None) -> dict[str, dict[str, float]]:
    """Answers all queries, and writes a submission file for each row.

    Args:
      task: what is answered.
      folder: for ``ROW.csv``, and the finished blocks.
      say: is given a line for each row that an earlier run has finished.

    Returns:
      For each row milliseconds per query, ``search`` and ``rerank``.

    Raises:
      InputError: features cannot be compared, or a file cannot be written.
    """
    queries, keys = task.method.queries, task.keys()
    blocks = [range(start, min(start + QUERIES, len(queries))) for start in range(0, len(queries), QUERIES)]
    places = {
        row: [folder / "blocks" / f"{file_name(row)}-{b:06d}.json" for b in range(len(blocks))]
        for row in task.rows.values()
    }
    made = set()
    for b, rows in enumerate(progress_bar(blocks, desc=task.method.name, unit="block")):
        missing = {suffix for suffix, row in task.rows.items() if _read(places[row][b], keys[row]) is None}
        if missing:
            for suffix, found in _answered(task, rows, missing):
                row = task.rows[suffix]
                made.add(row)
                write_json(places[row][b], {"key": keys[row]} | found)
    for row in task.rows.values():
        if row not in made:
            say(f"{row}: {len(queries)} queries answered (cached)")
    return {
        row: _joined(task, folder / f"{row}.csv", (_read(place, keys[row]) for place in places[row]))
        for row in task.rows.values()
    }


def _answered(task: Task, rows: range, missing: set[str]) -> Iterator[tuple[str, JsonObject]]:
    """Answers and seconds of some rows of the report, for a block of queries."""
    block, database = Slice(task.method.queries, rows), task.method.database
    rerankers = {suffix: build_reranker(task.rerankers[suffix]) for suffix in missing if suffix}
    wanted = MAX_PREDICTIONS if task.labels is None else task.neighbours
    start = time.perf_counter()
    ranking = search(
        block.global_descriptors, database.global_descriptors, max([wanted, *(r.top_k for r in rerankers.values())])
    )
    seconds = {"search": time.perf_counter() - start, "rerank": 0.0}
    for suffix in missing:
        start = time.perf_counter()
        found = rerankers[suffix](block, database, ranking) if suffix else ranking
        spent = seconds | ({"rerank": time.perf_counter() - start} if suffix else {})
        yield suffix, {"ids": [image_id(name) for name in block.names], "texts": task.texts(found), "seconds": spent}


def _read(place: Path, key: str) -> JsonObject | None:
    """A block that was finished with the same features, reranker and code; None where there is none."""
    try:
        found = read_json(place)
        return found if found["key"] == key else None
    except (InputError, KeyError, TypeError):
        return None


def _joined(task: Task, path: Path, blocks: Iterable[JsonObject | None]) -> dict[str, float]:
    """Writes a submission file of all blocks, one after the other, and gives milliseconds per query."""
    seconds = []
    with atomic_path(path) as place, place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", task.column])
        for block in blocks:
            if block is not None:
                writer.writerows(zip(block["ids"], block["texts"], strict=True))
                seconds.append(block["seconds"])
    count = max(len(task.method.queries), 1)
    return {stage: 1000 * float(np.sum([spent[stage] for spent in seconds])) / count for stage in ("search", "rerank")}

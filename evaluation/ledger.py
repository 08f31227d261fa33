"""Finished rows on disk, so that an interrupted benchmark repeats none of them."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.benchmarks.base import Benchmark
from evaluation.metrics import Scores
from evaluation.runner import Method, Outcome
from extraction.store import FeatureStore
from protos.errors import InputError
from protos.files import read_json, write_json

SAMPLED = 512  # rows of the global matrix that identify a store


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_name(row: str) -> str:
    """A name for a row's files: readable, and different for different rows."""
    safe = "".join(character if character.isalnum() or character in "+-_." else "_" for character in row)
    return f"{safe[:60]}-{digest(row)[:8]}"


def identify_benchmark(benchmark: Benchmark) -> str:
    """Changes when the images' names, the crops, the truths or the list lengths change."""
    images = [[image.name, image.crop] for image in (*benchmark.queries, *benchmark.database)]
    truths = {
        protocol: [[truth.positives.tolist(), truth.junk.tolist()] for truth in truths]
        for protocol, truths in benchmark.protocols.items()
    }
    return digest([benchmark.name, len(benchmark.queries), images, truths, list(benchmark.ks)])


def truths_sha256(benchmark: Benchmark) -> str:
    """Of names, crops and truths alone, where they come from no single file."""
    return identify_benchmark(replace(benchmark, name="", ks=()))


def identify_store(store: FeatureStore) -> str:
    """Changes when the settings, the names or the features of a store change."""
    rows = np.linspace(0, max(len(store) - 1, 0), min(SAMPLED, len(store)), dtype=np.int64)
    sample = np.ascontiguousarray(store.global_descriptors[rows])
    return digest([store.settings, store.names, store.bytes_per_image(), hashlib.sha256(sample.tobytes()).hexdigest()])


class Ledger:
    """A folder with a JSON file for each finished row."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        benchmark: Benchmark,
        method: Method,
        rerankers: Mapping[str, str],
        *,
        homographies: str | None = None,
        asked: Sequence[Any] = (),
    ):
        """Names what the rows depend on.

        Args:
          folder: where the rows lie.
          benchmark: what is run.
          method: whose rows they are.
          rerankers: row suffix to the reranker's full text.
          homographies: SHA-256 of the file of the true ones, where there is one.
          asked: JSON values of what else the rows depend on.
        """
        stores = [identify_store(store) for store in method.stores]
        basis = [identify_benchmark(benchmark), *stores, *asked]
        self.folder = Path(folder)
        self.keys = {method.row_name(): digest(basis)}
        self.keys |= {method.row_name(suffix): digest([*basis, text]) for suffix, text in rerankers.items()}
        self.accuracy_keys = {name: digest([key, homographies]) for name, key in self.keys.items()}

    def _path(self, name: str) -> Path:
        return self.folder / f"{file_name(name)}.json"

    def recall(self, name: str) -> Outcome | None:
        """A row that was finished with the same features, truths and reranker; None where there is none."""
        try:
            document = read_json(self._path(name))
            return _from_json(document["outcome"]) if document["key"] == self.keys[name] else None
        except (InputError, KeyError, TypeError, ValueError):
            return None

    def keep(self, outcome: Outcome) -> None:
        """Writes a finished row."""
        write_json(self._path(outcome.method), {"key": self.keys[outcome.method], "outcome": _to_json(outcome)})

    def recall_accuracy(self, name: str) -> dict[str, float] | None:
        """A row's inlier accuracy that was measured with the same homographies; None where there is none."""
        try:
            document = read_json(self._path(f"{name} inliers"))
            return dict(document["accuracy"]) if document["key"] == self.accuracy_keys[name] else None
        except (InputError, KeyError, TypeError, ValueError):
            return None

    def keep_accuracy(self, name: str, accuracy: Mapping[str, float]) -> None:
        """Writes a row's inlier accuracy."""
        write_json(self._path(f"{name} inliers"), {"key": self.accuracy_keys[name], "accuracy": dict(accuracy)})


def _to_json(outcome: Outcome) -> dict[str, Any]:
    scores = {
        protocol: {"ap": s.ap.tolist(), "precisions": s.precisions.tolist(), "recalls": s.recalls.tolist(), "ks": s.ks}
        for protocol, s in outcome.scores.items()
    }
    return {
        "method": outcome.method,
        "scores": scores,
        "top": {protocol: top.tolist() for protocol, top in outcome.top.items()},
        "ms_per_query": outcome.ms_per_query,
        "bytes_per_image": outcome.bytes_per_image,
    }


def _from_json(document: dict[str, Any]) -> Outcome:
    scores = {protocol: _scores(values) for protocol, values in document["scores"].items()}
    top = {protocol: np.array(rows, np.int64) for protocol, rows in document["top"].items()}
    return Outcome(document["method"], scores, top, document["ms_per_query"], document["bytes_per_image"])


def _scores(values: dict[str, Any]) -> Scores:
    ap, precisions, recalls = (np.array(values[key], np.float64) for key in ("ap", "precisions", "recalls"))
    return Scores(ap, precisions, recalls, tuple(values["ks"]))

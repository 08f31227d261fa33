"""Finished rows on disk, so that an interrupted benchmark repeats none of them.

A row is of its features, truths and reranker, of the code that makes it, and of package versions; where any of them is
another one, it is made again.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import json_sha256, read_json, write_json
from delg.common.sources import source_sha256
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.identity import identify_benchmark
from evaluation.metrics.ranking import Scores
from evaluation.run.method import Method, Outcome
from evaluation.run.versions import packages

VALUES = ("ap", "precisions", "recalls", "cut_aps")  # of :class:`evaluation.metrics.ranking.Scores`


def file_name(row: str) -> str:
    """A name for a row's files: readable, and different for different rows."""
    safe = "".join(character if character.isalnum() or character in "+-_." else "_" for character in row)
    return f"{safe[:60]}-{json_sha256(row)[:8]}"


class Ledger:
    """A folder with a JSON file for each finished row."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        benchmark: Benchmark,
        method: Method,
        rerankers: Mapping[str, Any],
        *,
        homographies: str | None = None,
        asked: Sequence[Any] = (),
    ):
        """Names what the rows depend on.

        Args:
          folder: where the rows lie.
          benchmark: what is run.
          method: whose rows they are.
          rerankers: row suffix to the reranker's identity, see :meth:`matching.rerankers.base.Reranker.identity`.
          homographies: SHA-256 of the file of the true ones, where there is one.
          asked: JSON values of what else the rows depend on.
        """
        stores = [store.identity() for store in method.stores]
        code = source_sha256("evaluation.run.runner", "evaluation.run.result_cache")
        basis = [identify_benchmark(benchmark), *stores, *asked, packages(), code]
        self.folder = Path(folder)
        self.keys = {method.row_name(): json_sha256(basis)}
        self.keys |= {method.row_name(suffix): json_sha256([*basis, known]) for suffix, known in rerankers.items()}
        measured = [homographies, source_sha256("evaluation.metrics.inliers")]
        self.accuracy_keys = {name: json_sha256([key, *measured]) for name, key in self.keys.items()}

    def _path(self, name: str) -> Path:
        return self.folder / f"{file_name(name)}.json"

    def recall(self, name: str) -> Outcome | None:
        """A row that was finished with the same features, truths, reranker and code; None where there is none.

        A row of others is removed: what is written beside it, such as its rankings, is about to be replaced.
        """
        try:
            document = read_json(self._path(name))
            if document["key"] == self.keys[name]:
                return _from_json(document["outcome"])
        except (InputError, KeyError, TypeError, ValueError):
            pass
        self._path(name).unlink(missing_ok=True)
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
        protocol: {name: getattr(s, name).tolist() for name in VALUES} | {"ks": s.ks}
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
    return Scores(**{name: np.array(values[name], np.float64) for name in VALUES}, ks=tuple(values["ks"]))

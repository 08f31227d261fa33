"""Finished rows on disk, so that an interrupted benchmark repeats no finished row.

A row depends on features, truths, metrics, reranker, code and package versions; where any of these changes, the row is
made again.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import json_sha256, read_json, write_json
from delg.common.sources import source_sha256
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.identity import identify_benchmark
from evaluation.benchmarks.method import SHOWN, Method, RowResult, file_name
from evaluation.metrics.metric import Metric
from evaluation.options import JUNK
from evaluation.run.versions import packages


class ResultCache:
    """A folder with a JSON file for each finished row.

    Attributes:
      keys: row to a hash of all that the row depends on.
      accuracy_keys: row to a hash of all that the row's inlier accuracy depends on.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        benchmark: Benchmark,
        method: Method,
        rerankers: Mapping[str, Any],
        *,
        homographies: str | None = None,
        junk: str = JUNK[0],
        predictions: str | None = None,
    ):
        """Computes the keys.

        Args:
          folder: folder of the rows.
          benchmark: the benchmark of the rows.
          method: the method of the rows.
          rerankers: row suffix to the reranker's identity, see :meth:`matching.rerankers.base.Reranker.identity`.
          homographies: SHA-256 of the file of true homographies; None without such a file.
          junk: when junk leaves a ranking.
          predictions: hash of the files that are written beside a row; None for no files, which any row satisfies.
        """
        stores = [store.identity() for store in method.stores]
        code = source_sha256("evaluation.run.search", "evaluation.run.result_cache")
        basis = [identify_benchmark(benchmark), *stores, junk, packages(), code]
        self.folder, self._predictions = Path(folder), predictions
        self.keys = {method.row_name(): json_sha256(basis)}
        self.keys |= {
            method.row_name(suffix): json_sha256([*basis, identity]) for suffix, identity in rerankers.items()
        }
        measured = [homographies, source_sha256("evaluation.run.inliers")]
        self.accuracy_keys = {name: json_sha256([key, *measured]) for name, key in self.keys.items()}

    def get(self, row: str) -> RowResult | None:
        """A finished row with the same key and prediction files; None where there is none.

        Another row is removed, because the files beside the row, such as its rankings, will be replaced.
        """
        path = self.folder / f"{file_name(row)}.json"
        document = _read(path, self.keys[row])
        if document is not None and self._predictions in (None, document.get("predictions")):
            try:
                return _from_json(document)
            except (KeyError, TypeError, ValueError, AttributeError):
                pass
        path.unlink(missing_ok=True)
        return None

    def put(self, row: RowResult) -> None:
        """Writes a finished row, and removes the row's parts."""
        value = _to_json(row) | {"predictions": self._predictions}
        write_json(self.folder / f"{file_name(row.name)}.json", {"key": self.keys[row.name], "value": value})
        for path in self.folder.glob(f"{file_name(row.name)}.part*.json"):
            path.unlink()

    def get_part(self, row: str, number: int) -> dict[str, Any] | None:
        """A part of a row as :meth:`put_part` took it; None where there is no part with the same key."""
        return _read(self._part(row, number), self._part_key(row))

    def put_part(self, row: str, number: int, document: Mapping[str, Any]) -> None:
        """Writes a part of a row."""
        write_json(self._part(row, number), {"key": self._part_key(row), "value": document})

    def _part_key(self, row: str) -> str:
        """The key of a row's parts, which hold the rankings of the prediction files."""
        return json_sha256([self.keys[row], self._predictions])

    def _part(self, row: str, number: int) -> Path:
        return self.folder / f"{file_name(row)}.part{number:06d}.json"

    def get_accuracy(self, row: str) -> dict[str, float] | None:
        """A row's inlier accuracy with the same key; None where there is none."""
        return _read(self.folder / f"{file_name(f'{row} inliers')}.json", self.accuracy_keys[row])

    def put_accuracy(self, row: str, accuracy: Mapping[str, float]) -> None:
        """Writes a row's inlier accuracy."""
        path = self.folder / f"{file_name(f'{row} inliers')}.json"
        write_json(path, {"key": self.accuracy_keys[row], "value": dict(accuracy)})


def _read(path: Path, key: str) -> dict[str, Any] | None:
    """The value of a file with this key; None where the file is missing, broken or has another key."""
    try:
        document = read_json(path)
        return dict(document["value"]) if document["key"] == key else None
    except (InputError, KeyError, TypeError, ValueError):
        return None


def _to_json(row: RowResult) -> dict[str, Any]:
    return {
        "name": row.name,
        "metrics": {p: {name: m.to_json() for name, m in metrics.items()} for p, metrics in row.metrics.items()},
        "top": {protocol: top.tolist() for protocol, top in row.top.items()},
        "ms_per_query": row.ms_per_query,
        "bytes_per_image": row.bytes_per_image,
    }


def _from_json(document: dict[str, Any]) -> RowResult:
    metrics = {p: {name: Metric.from_json(m) for name, m in ms.items()} for p, ms in document["metrics"].items()}
    top = {protocol: np.array(rows, np.int64).reshape(-1, SHOWN) for protocol, rows in document["top"].items()}
    return RowResult(document["name"], metrics, top, document["ms_per_query"], document["bytes_per_image"])

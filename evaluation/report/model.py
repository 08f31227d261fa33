"""The report as data: results, times, sizes and settings; read from and written to JSON."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from delg.common.errors import InputError
from evaluation.metrics.truth import MAIN

JsonObject = dict[str, Any]
Metrics = dict[str, dict[str, float]]
LOWER = ("mean position", "median position")  # lower values of these measures are better
NUMERIC = ("queries", "recalls", "inlier_accuracy", "statistics")


@dataclass(frozen=True)
class Row:
    """The results of one method.

    Attributes:
      method: ``"global"``, ``"global+ransac"``, ``"rootsift"``, ...
      metrics: ``{protocol: {"mAP", "mP@1", "mP@5", "mP@10"}}`` in percent, full precision; with "R@1", "R@5", "R@10"
        where the benchmark has them. For GLDv2 see :mod:`evaluation.metrics.gldv2`.
      ms_per_query: milliseconds of the stages ``search`` and ``rerank``; empty for scored submission files.
      bytes_per_image: bytes of the database's ``global`` and ``local`` features; empty for scored submission files.
    """

    method: str
    metrics: Metrics
    ms_per_query: dict[str, float] = field(default_factory=dict)
    bytes_per_image: dict[str, float] = field(default_factory=dict)

    @property
    def costs(self) -> tuple[float, float, float, float]:
        """Milliseconds of both stages, then bytes of both kinds of features; NaN where unknown."""
        stages = [self.ms_per_query.get(stage, math.nan) for stage in ("search", "rerank")]
        sizes = [self.bytes_per_image.get(kind, math.nan) for kind in ("global", "local")]
        return stages[0], stages[1], sizes[0], sizes[1]


@dataclass(frozen=True)
class Report:
    """All data of a finished benchmark.

    Attributes:
      benchmark: name of the benchmark.
      rows: the methods, the model under test first.
      settings: options of the run and settings of the features.
      versions: versions of Python and of the packages that the numbers depend on.
      queries: ``{"names": [...], "groups": [...], "ap": {method: {protocol: [percent of each query]}}}``; NaN
        without positives; queries with one group number share right images, or lie in one unit of the kind in
        ``"drawn"``. With "R@1", ... also ``"hits": {"R@1": {method: {protocol: [100 or 0 of each query]}}}``.
        A global average precision has ``"places": {method: {protocol: [...]}}`` beside ``"ap"``, see
        :class:`evaluation.statistics.gap.Gap`.
      recalls: ``{method: {protocol: {"mR@1", ...}}}`` in percent.
      inlier_accuracy: for each row with local matches, the share of inliers that the true homographies confirm.
      skipped: unreadable images by role.
      statistics: intervals and paired changes, see :func:`evaluation.statistics.summary.trusted`.
      published: published values, see :func:`evaluation.run.published_values.beside`.
    """

    benchmark: str
    rows: list[Row]
    settings: JsonObject
    versions: dict[str, str]
    queries: JsonObject = field(default_factory=lambda: {"names": [], "ap": {}})
    recalls: dict[str, Metrics] = field(default_factory=dict)
    inlier_accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    skipped: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    statistics: JsonObject = field(default_factory=dict)
    published: list[JsonObject] = field(default_factory=list)

    @property
    def protocols(self) -> list[str]:
        """The protocols, in the benchmark's order."""
        return list(self.rows[0].metrics) if self.rows else []

    @property
    def main_protocol(self) -> str:
        """The protocol that single-protocol views show: medium or private where there is one, else the first."""
        return next((name for name in MAIN if name in self.protocols), self.protocols[0])

    @property
    def measure(self) -> str:
        """The main measure: mAP; mAP@100 for GLDv2 retrieval, GAP for GLDv2 recognition."""
        return next(iter(self.rows[0].metrics[self.protocols[0]]))

    @property
    def per_query(self) -> str:
        """The name of the values of single queries."""
        if "places" in self.queries:
            return "Precision at the answer"
        return "Average precision" if self.measure.startswith("mAP") else self.measure

    @property
    def costed(self) -> bool:
        """Whether any row's time and size are known."""
        return any(row.ms_per_query or row.bytes_per_image for row in self.rows)

    def row(self, method: str) -> Row:
        """The row of a method.

        Raises:
          InputError: there is no row of this name.
        """
        for row in self.rows:
            if row.method == method:
                return row
        raise InputError(f"The report has no row {method!r}; its rows are {', '.join(r.method for r in self.rows)}.")

    def to_json(self) -> JsonObject:
        """A JSON document; NaN becomes null."""
        document: JsonObject = _with_null(asdict(self))
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Report":
        """The inverse of :meth:`to_json`.

        Raises:
          InputError: a part is missing or malformed.
        """
        try:
            parts = _with_nan(dict(document))
            parts["rows"] = [Row(**row) for row in parts["rows"]]
            return cls(**parts)
        except (TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
            raise InputError(
                f"Expected a benchmark report with benchmark, rows, settings and versions: {error}"
            ) from error


def _with_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(document: JsonObject) -> JsonObject:
    """Restores NaN for null in the parts that hold numbers only."""

    def numbers(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: numbers(item) for key, item in value.items()}
        if isinstance(value, list):
            return [numbers(item) for item in value]
        return math.nan if value is None else value

    rows = [{**row, "metrics": numbers(row["metrics"])} for row in document["rows"]]
    restored: JsonObject = {key: numbers(document[key]) for key in NUMERIC if key in document}
    return {**document, "rows": rows, **restored}

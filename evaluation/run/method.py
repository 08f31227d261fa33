"""One way of describing images, what it reached, and whose features are whose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.text_files import nfc
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.protocols import Truth
from evaluation.metrics.metric import Metric
from extraction.formats.base import FeatureSource
from extraction.images import ImageRef
from matching.ranking import Ranking
from matching.source import Slice, Source

SHOWN = 10  # results of each ranking that are kept for the report
FIRST_STAGE = "global"
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Method:
    """One way of describing images, extracted for a benchmark.

    Attributes:
      name: ``"global"`` for the model under test, the baseline's name for a baseline.
      queries: features of the query images.
      database: features of the database images (the same object where every image is a query).
      distractors: features of further database images, all of them wrong, which are streamed; None without.
    """

    name: str
    queries: FeatureSource
    database: FeatureSource
    distractors: FeatureSource | None = None

    @property
    def stores(self) -> list[FeatureSource]:
        """The stores that are searched together: queries, database, and distractors where there are some."""
        return [store for store in (self.queries, self.database, self.distractors) if store is not None]

    def row_name(self, reranker: str = "") -> str:
        """``"global"``, ``"global+ransac"``, ``"rootsift+ransac"``."""
        return f"{self.name}+{reranker}" if reranker else self.name


@dataclass(frozen=True, eq=False)
class RowResult:
    """A finished row of the report: one method, with or without a reranker.

    Attributes:
      name: the row's name.
      metrics: for each protocol name to metric, the most important first.
      top: for each protocol ``(Q, 10)`` int64 rows of the benchmark's database, ``-1`` where there is none; nothing of
        a benchmark that is not pictured.
      ms_per_query: milliseconds per query of the stages ``search`` and ``rerank``.
      bytes_per_image: of the database, ``global`` and ``local``.
    """

    name: str
    metrics: dict[str, dict[str, Metric]]
    top: dict[str, Rows]
    ms_per_query: dict[str, float]
    bytes_per_image: dict[str, float]

    def per_query(self, protocol: str) -> NDArray[np.float64]:
        """``(Q,)`` values of the most important metric; NaN where a query has none."""
        values = next(iter(self.metrics[protocol].values())).per_query
        assert values is not None
        return values


@dataclass(frozen=True, eq=False)
class QueryPart:
    """Some of a benchmark's queries.

    Attributes:
      queries: features of those that could be read.
      places: ``(n,)`` which of the benchmark's queries they are.
      rows: ``(n,)`` their rows in ``queries``; -1 of those that could not be read.
    """

    queries: Source
    places: Rows
    rows: Rows


class Alignment:
    """Translates between a benchmark's images and the rows of the stores that describe them.

    A store misses the images that could not be read. Such a query finds nothing; such a database image is never found.
    """

    def __init__(self, benchmark: Benchmark, method: Method):
        self.query_rows = _rows(benchmark.queries, method.queries)
        self.database_rows = _rows(benchmark.database, method.database)
        self.benchmark_rows = np.full(len(method.database), -1, np.int64)
        present = np.flatnonzero(self.database_rows >= 0)
        self.benchmark_rows[self.database_rows[present]] = present

    def parts(self, queries: FeatureSource, size: int) -> list[QueryPart]:
        """The queries in parts, in the order of their store; those that could not be read are in the first.

        Args:
          queries: their store.
          size: how many a part holds, at most.
        """
        if len(queries) <= size:
            return [QueryPart(queries, np.arange(len(self.query_rows)), self.query_rows)]
        found = []
        for start in range(0, len(queries), size):
            some = range(start, min(start + size, len(queries)))
            mine = (self.query_rows >= some.start) & (self.query_rows < some.stop)
            places = np.flatnonzero(mine | (self.query_rows < 0) if start == 0 else mine)
            rows = self.query_rows[places]
            found.append(QueryPart(Slice(queries, some), places, np.where(rows >= 0, rows - start, -1)))
        return found

    def junk(self, part: QueryPart, truths: Sequence[Truth]) -> list[Rows]:
        """For each image of ``part.queries`` the junk, as rows of the database store.

        Args:
          part: some queries.
          truths: of all of the benchmark's.
        """
        sets: list[Rows] = [np.zeros(0, np.int64)] * len(part.queries)
        for place, row in zip(part.places, part.rows):
            truth = truths[place]
            if row >= 0:
                junk = self.database_rows[truth.junk]
                sets[row] = junk[junk >= 0]
        return sets

    def order(self, ranking: Ranking, rows: Rows | None = None) -> list[Rows]:
        """For each query its results, as rows of the benchmark's database.

        Args:
          ranking: of a part of the queries, or of all.
          rows: the queries' rows in it, of the part; None for all of the benchmark's.
        """
        rows = self.query_rows if rows is None else rows
        return [self.benchmark_rows[ranking.row(row)] if row >= 0 else np.zeros(0, np.int64) for row in rows]

    def scores(self, ranking: Ranking) -> list[NDArray[np.float32]]:
        """For each of the benchmark's queries the scores of its results."""
        return [
            ranking.scores[row, : len(ranking.row(row))] if row >= 0 else np.zeros(0, np.float32)
            for row in self.query_rows
        ]


def _rows(images: Sequence[ImageRef], store: FeatureSource) -> Rows:
    """Row of each image in the store; -1 for those that the store lists as skipped.

    Names are compared in one Unicode normal form, unless that would make two images one.
    """
    names, wanted = list(store.names), [image.name for image in images]
    if all(len({nfc(name) for name in some}) == len(set(some)) for some in (names, wanted)):
        names, wanted = [nfc(name) for name in names], [nfc(name) for name in wanted]
    skipped = {form for entry in store.skipped for form in (entry["name"], nfc(entry["name"]))}
    known = {name: row for row, name in enumerate(names)}
    rows = np.array([known.get(name, -1) for name in wanted], np.int64)
    lost = [name for name, row in zip(wanted, rows) if row < 0 and name not in skipped]
    extra = known.keys() - set(wanted)
    if lost or extra:
        raise InputError(
            f"The feature store {store.folder} is not of this benchmark: {len(lost)} of its {len(images)} images are "
            f"missing and {len(extra)} are unknown, such as {min(lost or extra)!r}."
        )
    return rows

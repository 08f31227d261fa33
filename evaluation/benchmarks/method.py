"""A method of describing images, its finished rows, and the alignment of benchmark images with store rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import json_sha256
from delg.common.text_files import nfc
from evaluation.benchmarks.base import Benchmark, names_of
from evaluation.metrics.metric import Metric
from evaluation.metrics.truth import Truth
from extraction.formats.base import FeatureSource
from extraction.images import ImageRef
from matching.ranking import Ranking
from matching.source import Slice

SHOWN = 10  # first results of each ranking, for the report
FIRST_STAGE = "global"
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Method:
    """A method of describing images, extracted for a benchmark.

    Attributes:
      name: ``"global"`` for the model under test, the baseline's name for a baseline.
      queries: features of the query images.
      database: features of the database images (the same object where every image is a query).
      distractors: features of further database images, all wrong, which are streamed; None without distractors.
    """

    name: str
    queries: FeatureSource
    database: FeatureSource
    distractors: FeatureSource | None = None
    _alignments: list["Alignment"] = field(default_factory=list, init=False, repr=False)

    def aligned(self, benchmark: Benchmark) -> "Alignment":
        """The alignment with a benchmark; names of millions of images are compared once.

        Raises:
          InputError: the features are not of this benchmark.
        """
        if not self._alignments or self._alignments[0].benchmark is not benchmark:
            self._alignments[:] = [Alignment(benchmark, self)]
        return self._alignments[0]

    @property
    def stores(self) -> list[FeatureSource]:
        """The stores that are searched together: queries, database, and distractors if any."""
        return [store for store in (self.queries, self.database, self.distractors) if store is not None]

    def row_name(self, reranker: str = "") -> str:
        """``"global"``, ``"global+ransac"``, ``"rootsift+ransac"``."""
        return f"{self.name}+{reranker}" if reranker else self.name


@dataclass(frozen=True, eq=False)
class RowResult:
    """A finished row of the report: one method, with or without a reranker.

    Attributes:
      name: the row's name.
      metrics: for each protocol name to metric, the main metric first.
      top: for each protocol ``(Q, 10)`` int64 rows of the benchmark's database, filled with ``-1``; empty for a
        benchmark that is not pictured.
      ms_per_query: milliseconds per query of the stages ``search`` and ``rerank``.
      bytes_per_image: bytes of a database image's features, ``global`` and ``local``.
    """

    name: str
    metrics: dict[str, dict[str, Metric]]
    top: dict[str, Rows]
    ms_per_query: dict[str, float]
    bytes_per_image: dict[str, float]

    def per_query(self, protocol: str) -> NDArray[np.float64]:
        """``(Q,)`` values of the main metric; NaN where a query has no value."""
        values = next(iter(self.metrics[protocol].values())).per_query
        assert values is not None
        return values


@dataclass(frozen=True, eq=False)
class QueryPart:
    """A part of a benchmark's queries.

    Attributes:
      queries: features of the readable queries.
      places: ``(n,)`` the queries' places in the benchmark.
      rows: ``(n,)`` the queries' rows in ``queries``; -1 for unreadable queries.
    """

    queries: FeatureSource
    places: Rows
    rows: Rows


def file_name(row: str) -> str:
    """A name for a row's files: readable, and different for different rows."""
    safe = "".join(character if character.isalnum() or character in "+-_." else "_" for character in row)
    return f"{safe[:60]}-{json_sha256(row)[:8]}"


class Alignment:
    """Translates between a benchmark's images and the rows of the stores that describe them.

    A store lacks unreadable images. An unreadable query has no results; an unreadable database image is no result.
    """

    def __init__(self, benchmark: Benchmark, method: Method):
        self.benchmark = benchmark
        self.query_rows = _rows(benchmark.queries, method.queries)
        self.database_rows = _rows(benchmark.database, method.database)
        self.benchmark_rows = np.full(len(method.database), -1, np.int64)
        present = np.flatnonzero(self.database_rows >= 0)
        self.benchmark_rows[self.database_rows[present]] = present

    def parts(self, queries: FeatureSource, size: int) -> list[QueryPart]:
        """The queries in parts, in the order of their store; the first part also holds the unreadable queries.

        Args:
          queries: the store of the queries.
          size: the largest number of queries in a part.
        """
        if len(queries) <= size:
            return [QueryPart(queries, np.arange(len(self.query_rows)), self.query_rows)]
        parts = []
        for start in range(0, len(queries), size):
            rows_of_part = range(start, min(start + size, len(queries)))
            selected = (self.query_rows >= rows_of_part.start) & (self.query_rows < rows_of_part.stop)
            places = np.flatnonzero(selected | (self.query_rows < 0) if start == 0 else selected)
            rows = self.query_rows[places]
            parts.append(QueryPart(Slice(queries, rows_of_part), places, np.where(rows >= 0, rows - start, -1)))
        return parts

    def junk(self, part: QueryPart, truths: Sequence[Truth]) -> list[Rows]:
        """For each image of ``part.queries`` the junk, as rows of the database store.

        Args:
          part: the part of the queries.
          truths: the truths of all of the benchmark's queries.
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
          ranking: the ranking of a part of the queries, or of all queries.
          rows: the ranking's rows of the part's queries; None for all of the benchmark's queries.
        """
        rows = self.query_rows if rows is None else rows
        return [self.benchmark_rows[ranking.row(row)] if row >= 0 else np.zeros(0, np.int64) for row in rows]

    def scores(self, ranking: Ranking) -> list[NDArray[np.float32]]:
        """The scores of the results of each query of the benchmark."""
        return [
            ranking.scores[row, : len(ranking.row(row))] if row >= 0 else np.zeros(0, np.float32)
            for row in self.query_rows
        ]


def _rows(images: Sequence[ImageRef], store: FeatureSource) -> Rows:
    """Row of each image in the store; -1 for images that the store lists as skipped.

    Names are compared in one Unicode normal form, unless two images would then share a name.
    """
    as_given = [store.names, names_of(images)]
    composed = [[nfc(name) for name in names] for names in as_given]
    unique = all(len(set(forms)) == len(set(names)) for forms, names in zip(composed, as_given))
    names, image_names = composed if unique else as_given
    skipped = {form for entry in store.skipped for form in (entry["name"], nfc(entry["name"]))}
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of.get(name, -1) for name in image_names], np.int64)
    missing = [name for name, row in zip(image_names, rows) if row < 0 and name not in skipped]
    extra = row_of.keys() - set(image_names)
    if missing or extra:
        raise InputError(
            f"The feature store {store.folder} is not of this benchmark: {len(missing)} of its {len(images)} images "
            f"are missing and {len(extra)} are unknown, such as {min(missing or extra)!r}."
        )
    return rows

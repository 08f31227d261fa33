"""The first stage of a benchmark, some queries at a time: of its database, or of that and streamed distractors.

A stage gives a reranker what it may reorder, takes that back, and is scored. Of the database alone it is a ranking of
all of it; with distractors see :mod:`evaluation.run.distractors`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.protocols import Truth
from evaluation.metrics import ranking as metrics
from evaluation.metrics.ranking import Scores
from evaluation.run import distractors
from evaluation.run.distractors import FirstStage, Joined
from evaluation.run.method import SHOWN, Alignment, Method, Part, Rows
from extraction.formats.base import FeatureSource
from matching.indexes import table
from matching.ranking import Ranking

ENTRIES = 1 << 26  # of the ranking that is held at once, 12 bytes each, and as much again without junk


class Stage(Protocol):
    """What is known of the order of the images, for some queries."""

    @property
    def database(self) -> Any:
        """What a ranking's rows are of, the source that a reranker is given."""
        ...

    def without(self, junk: list[Rows]) -> Self:
        """The stage without some database images of each query."""
        ...

    def head(self, reranker: Any | None) -> Ranking:
        """What a reranker is given; without one, at least what is shown."""
        ...

    def scores(self, head: Ranking, rows: Rows, truths: list[Truth]) -> Scores:
        """Scores of the queries of some rows, with a new order of the head."""
        ...

    def top(self, head: Ranking, rows: Rows) -> Rows:
        """``(n, SHOWN)`` first results, rows of the benchmark's database, -1 where there is none."""
        ...


@dataclass(frozen=True, eq=False)
class Ranked:
    """A ranking of all of the database."""

    benchmark: Benchmark
    alignment: Alignment
    database: FeatureSource
    ranking: Ranking

    def without(self, junk: list[Rows]) -> Self:
        """See :class:`Stage`."""
        return replace(self, ranking=self.ranking.without(junk))

    def head(self, reranker: Any | None) -> Ranking:
        """All of the ranking."""
        return self.ranking

    def scores(self, head: Ranking, rows: Rows, truths: list[Truth]) -> Scores:
        """See :class:`Stage`."""
        return metrics.evaluate(self.alignment.order(head, rows), truths, self.benchmark.ks)

    def top(self, head: Ranking, rows: Rows) -> Rows:
        """See :class:`Stage`."""
        top = np.full((len(rows), SHOWN), -1, np.int64)
        for found, order in zip(top, self.alignment.order(head.top(SHOWN), rows)):
            found[: len(order)] = order
        return top


@dataclass(frozen=True, eq=False)
class Streamed:
    """A ranking of the database, the number of distractors above each image, and the best of them."""

    benchmark: Benchmark
    alignment: Alignment
    database: Joined
    size: int
    first: FirstStage

    def without(self, junk: list[Rows]) -> Self:
        """See :class:`Stage`."""
        return replace(self, first=distractors.without(self.first, junk))

    def head(self, reranker: Any | None) -> Ranking:
        """The best of database and distractors, as many as the reranker looks at."""
        return distractors.heads(self.first, SHOWN if reranker is None else max(SHOWN, reranker.top_k), self.size)

    def scores(self, head: Ranking, rows: Rows, truths: list[Truth]) -> Scores:
        """See :class:`Stage`."""
        found = distractors.places(self.first, head, self.size)
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
        placed = [
            (self.alignment.benchmark_rows[found[row][0]], found[row][1]) if row >= 0 else nothing for row in rows
        ]
        return distractors.score(placed, truths, self.benchmark)

    def top(self, head: Ranking, rows: Rows) -> Rows:
        """See :class:`Stage`; distractors are rows from the database's end on."""
        top = np.full((len(rows), SHOWN), -1, np.int64)
        for q, row in enumerate(rows):
            if row >= 0:
                found = head.indices[row, :SHOWN]
                known = self.alignment.benchmark_rows[np.clip(found, 0, self.size - 1)]
                known = np.where(found < self.size, known, found - self.size + len(self.benchmark.database))
                top[q, : len(found)] = np.where(found >= 0, known, -1)
        return top


class Search:
    """The first stage of a method; what it finds for all queries is kept where they are one part.

    Attributes:
      benchmark: queries, database and truths.
      method: their features.
      alignment: between the two.
      parts: the queries.
      ms_per_query: milliseconds per query of the last pass over the parts.
    """

    def __init__(self, benchmark: Benchmark, method: Method, head: int = SHOWN):
        """Takes what is searched.

        Args:
          benchmark: queries, database and truths.
          method: their features, of one protocol (:mod:`evaluation.run.compatibility`).
          head: candidates that rerankers look at, which counts where distractors are streamed.

        Raises:
          InputError: the stores are not of this benchmark, or their descriptors differ in length.
        """
        self.benchmark, self.method, self._head = benchmark, method, head
        self.alignment = Alignment(benchmark, method)
        for one, other in zip(method.stores, method.stores[1:]):
            one.check_shapes(other)
        most = len(method.queries) if method.distractors is not None else ENTRIES // max(len(method.database), 1)
        self.parts = self.alignment.parts(method.queries, max(most, 1))
        self._known: Stage | None = None
        self.ms_per_query = 0.0

    def stages(self) -> Iterator[tuple[Part, Stage]]:
        """Each part of the queries and its first stage."""
        if self._known is not None:
            yield self.parts[0], self._known
            return
        seconds = 0.0
        for part in self.parts:
            start = time.perf_counter()
            stage = self._found(part)
            seconds += time.perf_counter() - start
            self._known = stage if len(self.parts) == 1 else None
            self.ms_per_query = 1000 * seconds / max(len(self.method.queries), 1)
            yield part, stage

    def _found(self, part: Part) -> Stage:
        method, asked = self.method, part.queries.global_descriptors
        if method.distractors is None:
            ranking = table.search(asked, method.database.global_descriptors)
            return Ranked(self.benchmark, self.alignment, method.database, ranking)
        far = method.distractors
        descriptors = asked, method.database.global_descriptors, far.global_descriptors
        first = distractors.search_streamed(*descriptors, head=self._head)
        joined = Joined(method.database, far)
        return Streamed(self.benchmark, self.alignment, joined, len(method.database), first)

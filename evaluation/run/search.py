"""Searches a benchmark's database, reranks, and measures the rankings under every protocol.

"remove_before_rerank", as DELG was released: for each protocol its junk is removed from the first-stage ranking, then
the ranking is reranked and measured. "keep", as SuperGlobal was released: the whole ranking is reranked once, and the
measurement skips junk. A reranker sees features and a ranking, never the truths.

Queries are searched in parts, so that the rankings in memory do not grow with the number of queries. The result cache
keeps the parts of an interrupted run.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import numpy as np

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark, QueryResult
from evaluation.benchmarks.method import SHOWN, Alignment, Method, QueryPart, RowResult, Rows
from evaluation.options import JUNK
from evaluation.run import distractors
from evaluation.run.distractors import FirstStage, Joined
from evaluation.run.result_cache import ResultCache
from extraction.formats.base import FeatureSource
from matching.indexes import table
from matching.ranking import Ranking
from matching.rerankers.base import Reranker

ENTRIES = 1 << 26  # of the ranking in memory, 12 bytes each, and as much again for the ranking without junk
QUERIES = 256  # searched at once where only the first results are measured
NO_RESULT = QueryResult(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class Ranked:
    """First stage of a part of the queries: a ranking of the database, of all images or the first ones only.

    Attributes:
      alignment: of the benchmark and the features.
      database: the database of the ranking's rows, as a reranker reads it.
      ranking: the ranking.
    """

    alignment: Alignment
    database: FeatureSource
    ranking: Ranking

    def without(self, junk: list[Rows]) -> Self:
        """The stage without the junk of each query."""
        return replace(self, ranking=self.ranking.without(junk))

    def candidates(self, reranker: Reranker | None) -> Ranking:
        """The ranking that a reranker reads: the whole ranking."""
        return self.ranking

    def results(self, ranking: Ranking, rows: Rows) -> list[QueryResult]:
        """The results of the queries in these rows, with a new order of the candidates."""
        orders = self.alignment.order(ranking, rows)
        return [
            QueryResult(order, np.arange(len(order)), ranking.scores[row, : len(order)]) if row >= 0 else NO_RESULT
            for row, order in zip(rows, orders)
        ]

    def top(self, ranking: Ranking, rows: Rows) -> Rows:
        """``(n, SHOWN)`` first results, rows of the benchmark's database, filled with -1."""
        top = np.full((len(rows), SHOWN), -1, np.int64)
        for row, order in zip(top, self.alignment.order(ranking.top(SHOWN), rows)):
            row[: len(order)] = order
        return top


@dataclass(frozen=True, eq=False)
class Streamed:
    """A ranking of the database, the number of distractors above each image, and the best distractors."""

    benchmark: Benchmark
    alignment: Alignment
    database: Joined
    size: int
    first: FirstStage

    def without(self, junk: list[Rows]) -> Self:
        """See :class:`Ranked`."""
        return replace(self, first=distractors.without(self.first, junk))

    def candidates(self, reranker: Reranker | None) -> Ranking:
        """The best of database and distractors, as many as the reranker reads."""
        return distractors.candidates(self.first, SHOWN if reranker is None else max(SHOWN, reranker.top_k), self.size)

    def results(self, ranking: Ranking, rows: Rows) -> list[QueryResult]:
        """See :class:`Ranked`; database images only, without scores."""
        places = distractors.places(self.first, ranking, self.size)
        return [
            QueryResult(self.alignment.benchmark_rows[places[row][0]], places[row][1], NO_RESULT.scores)
            if row >= 0
            else NO_RESULT
            for row in rows
        ]

    def top(self, ranking: Ranking, rows: Rows) -> Rows:
        """See :class:`Ranked`; the rows of distractors start after the database's last row."""
        top = np.full((len(rows), SHOWN), -1, np.int64)
        for q, row in enumerate(rows):
            if row >= 0:
                candidates = ranking.indices[row, :SHOWN]
                shown = self.alignment.benchmark_rows[np.clip(candidates, 0, self.size - 1)]
                shown = np.where(candidates < self.size, shown, candidates - self.size + len(self.benchmark.database))
                top[q, : len(candidates)] = np.where(candidates >= 0, shown, -1)
        return top


Stage = Ranked | Streamed


class Search:
    """The first stage of a method, in parts of the queries.

    Attributes:
      benchmark: queries, database and truths.
      method: the features.
      alignment: the alignment of benchmark and features.
      parts: the parts of the queries.
      seconds: search time of the parts so far, by number of the part.
      most_junk: largest number of junk images of a query.
    """

    def __init__(self, benchmark: Benchmark, method: Method, rerankers: Sequence[Reranker] = (), top_k: int = 0):
        """Aligns benchmark and features, and divides the queries into parts.

        Args:
          benchmark: queries, database and truths.
          method: the features, of one protocol (:mod:`evaluation.run.compatibility`).
          rerankers: the rerankers of the ranking.
          top_k: number of results of each query that are written besides.

        Raises:
          InputError: the stores are not of this benchmark, or their descriptors differ in length; or distractors are
            given and the benchmark measures a cut ranking, whose rows they would displace.
        """
        if method.distractors is not None and benchmark.depth is not None:
            raise InputError(f"The benchmark {benchmark.name} measures the first results alone: no distractors.")
        self.benchmark, self.method = benchmark, method
        self.alignment = method.aligned(benchmark)
        for first, second in zip(method.stores, method.stores[1:]):
            first.check_shapes(second)
        self._top_k = max([top_k, *(reranker.top_k for reranker in rerankers)])
        truths = (truth for protocol in benchmark.protocols.values() for truth in protocol)
        self.most_junk = max((len(truth.junk) for truth in truths), default=0)
        if method.distractors is not None:
            size = len(method.queries)
        elif benchmark.depth is not None:
            size = QUERIES
        else:
            size = ENTRIES // max(len(method.database), 1)
        self.parts = self.alignment.parts(method.queries, max(size, 1))
        self.seconds: dict[int, float] = {}

    def stage(self, number: int) -> Stage:
        """Searches a part of the queries."""
        start = time.perf_counter()
        stage = self._searched(self.parts[number])
        self.seconds[number] = time.perf_counter() - start
        return stage

    def _searched(self, part: QueryPart) -> Stage:
        method, queries = self.method, part.queries.global_descriptors
        if method.distractors is None:
            depth = self.benchmark.depth
            top_k = None if depth is None else max(depth, self._top_k, SHOWN) + self.most_junk
            return Ranked(
                self.alignment, method.database, table.search(queries, method.database.global_descriptors, top_k)
            )
        distractor_store = method.distractors
        descriptors = queries, method.database.global_descriptors, distractor_store.global_descriptors
        first = distractors.search_streamed(*descriptors, top_k=max(SHOWN, self._top_k))
        return Streamed(
            self.benchmark, self.alignment, Joined(method.database, distractor_store), len(method.database), first
        )


@dataclass
class Observed:
    """The observations of a row for a part of the queries, or for all queries.

    Attributes:
      observations: for each protocol the values of :meth:`evaluation.benchmarks.base.Benchmark.observe`.
      top: for each protocol the first results, rows of the benchmark's database.
      rankings: for each protocol the measured ranking of the method's queries, as much as is written to files.
      seconds: time of the search, and of the reranker under the first protocol, while its caches are empty.
    """

    observations: dict[str, list[Any]] = field(default_factory=dict)
    top: dict[str, Rows] = field(default_factory=dict)
    rankings: dict[str, Ranking] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON document."""
        rankings = {protocol: [r.indices.tolist(), r.scores.tolist()] for protocol, r in self.rankings.items()}
        top = {protocol: rows.tolist() for protocol, rows in self.top.items()}
        return {"observations": self.observations, "top": top, "rankings": rankings, "seconds": self.seconds}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        rankings = {
            protocol: Ranking(np.array(indices, np.int64), np.array(scores, np.float32))
            for protocol, (indices, scores) in document["rankings"].items()
        }
        top = {protocol: np.array(rows, np.int64).reshape(-1, SHOWN) for protocol, rows in document["top"].items()}
        return cls(document["observations"], top, rankings, document["seconds"])


def observe(
    search: Search, number: int, stage: Stage, reranker: Reranker | None, *, junk: str = JUNK[0], top_k: int = 0
) -> Observed:
    """Reranks a part of the queries, and observes the results.

    Args:
      search: the search that the part belongs to.
      number: number of the part.
      stage: first stage of the part.
      reranker: the second stage; None for the first stage alone.
      junk: when junk leaves the ranking, one of :data:`evaluation.options.JUNK`.
      top_k: number of results of each query in the returned rankings.
    """
    benchmark, part = search.benchmark, search.parts[number]
    observed, times = Observed(), []
    removed: list[Rows] | None = None
    ranking, junk_free = stage.candidates(reranker), stage
    for protocol, truths in benchmark.protocols.items():
        rows = search.alignment.junk(part, truths) if junk == JUNK[0] else []
        if removed is None or any(not np.array_equal(*pair) for pair in zip(rows, removed, strict=True)):
            removed, junk_free = rows, stage.without(rows) if junk == JUNK[0] else stage
            ranking = junk_free.candidates(reranker)
            start = time.perf_counter()
            if reranker is not None:
                ranking = reranker(part.queries, junk_free.database, ranking)
            times.append(time.perf_counter() - start)
        measured = ranking
        if benchmark.depth is not None:
            measured = ranking.top(benchmark.depth + (0 if junk == JUNK[0] else search.most_junk))
        observed.observations[protocol] = [
            benchmark.observe(protocol, query, result)
            for query, result in zip(part.places.tolist(), junk_free.results(measured, part.rows))
        ]
        if benchmark.pictured:
            observed.top[protocol] = junk_free.top(ranking, part.rows)
        if top_k:
            written = ranking.top(top_k)
            observed.rankings[protocol] = Ranking(written.indices.copy(), written.scores.copy())
    observed.seconds = {"search": search.seconds.get(number, 0.0), "rerank": times[0] if reranker is not None else 0.0}
    return observed


def joined(search: Search, pieces: Sequence[Observed]) -> Observed:
    """Joins the observations of all parts."""
    if len(pieces) == 1:
        return pieces[0]
    count, whole = len(search.benchmark.queries), Observed()
    for protocol in search.benchmark.protocols:
        observations: list[Any] = [None] * count
        if search.benchmark.pictured:
            whole.top[protocol] = np.full((count, SHOWN), -1, np.int64)
        for part, piece in zip(search.parts, pieces, strict=True):
            if search.benchmark.pictured:
                whole.top[protocol][part.places] = piece.top[protocol]
            for place, observation in zip(part.places.tolist(), piece.observations[protocol], strict=True):
                observations[place] = observation
        whole.observations[protocol] = observations
        if pieces[0].rankings:
            rankings = [piece.rankings[protocol] for piece in pieces]
            whole.rankings[protocol] = Ranking(
                np.concatenate([r.indices for r in rankings]), np.concatenate([r.scores for r in rankings])
            )
    whole.seconds = {stage: sum(piece.seconds[stage] for piece in pieces) for stage in ("search", "rerank")}
    return whole


Finished = Callable[[RowResult, Observed, Alignment], None]


def run(
    benchmark: Benchmark,
    method: Method,
    rerankers: Mapping[str, Reranker],
    *,
    cached: Mapping[str, RowResult] | None = None,
    cache: ResultCache | None = None,
    finished: Finished = lambda row, observed, alignment: None,
    junk: str = JUNK[0],
    top_k: int = 0,
) -> list[RowResult]:
    """All rows of one method: the first stage, then each reranker on the first stage.

    Args:
      benchmark: queries, database and truths.
      method: the features; distractors are streamed.
      rerankers: row suffix to reranker.
      cached: rows that an earlier, interrupted run has finished, by name.
      cache: stores parts of rows, where the queries are in several parts; None stores nothing.
      finished: called with each finished row, its observations, and the alignment of benchmark and features.
      junk: when junk leaves the ranking, one of :data:`evaluation.options.JUNK`.
      top_k: number of results of each query that ``finished`` needs.

    Returns:
      The rows, first stage first.

    Raises:
      InputError: the descriptors of the stores differ in length, or with distractors a reranker reads more candidates
        than are stored.
    """
    reranker_of_row: dict[str, Reranker | None] = {method.row_name(): None}
    reranker_of_row.update({method.row_name(suffix): reranker for suffix, reranker in rerankers.items()})
    rows = dict(cached or {})
    missing = {name: reranker for name, reranker in reranker_of_row.items() if name not in rows}
    if missing:
        for suffix, second in rerankers.items() if method.distractors is not None else ():
            distractors.check_top_k(second.top_k, suffix)
        search = Search(benchmark, method, list(rerankers.values()), top_k)
        pieces: dict[str, list[Observed]] = {name: [] for name in missing}
        for number in range(len(search.parts)):
            stage = functools.cache(partial(search.stage, number))
            for name, reranker in missing.items():
                cached_part = cache.get_part(name, number) if cache and len(search.parts) > 1 else None
                if cached_part is None:
                    piece = observe(search, number, stage(), reranker, junk=junk, top_k=top_k)
                    if cache and len(search.parts) > 1:
                        cache.put_part(name, number, piece.to_json())
                else:
                    piece = Observed.from_json(cached_part)
                pieces[name].append(piece)
                if number + 1 == len(search.parts):
                    rows[name] = _row(search, name, joined(search, pieces.pop(name)), finished)
    return [rows[name] for name in reranker_of_row]


def _row(search: Search, name: str, observed: Observed, finished: Finished) -> RowResult:
    """Measures a row and reports it to ``finished``."""
    benchmark, method = search.benchmark, search.method
    metrics = {
        protocol: benchmark.measure(protocol, observations) for protocol, observations in observed.observations.items()
    }
    for protocol, metrics_of_protocol in metrics.items():
        if not metrics_of_protocol or next(iter(metrics_of_protocol.values())).per_query is None:
            raise InputError(f"The first metric of {benchmark.name} ({protocol}) needs values per query.")
    count = max(len(method.queries), 1)
    times = {stage: 1000 * seconds / count for stage, seconds in observed.seconds.items()}
    row = RowResult(name, metrics, observed.top, times, method.database.bytes_per_image())
    finished(row, observed, search.alignment)
    return row

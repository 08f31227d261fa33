"""Runs a benchmark: search, each reranker, and the scores of both under every protocol.

As DELG was released: for each protocol its junk is taken out of the first-stage ranking, then the ranking is reranked,
then scored. As SuperGlobal was released ("keep"): the whole ranking is reranked, once, and junk is passed over when
it is scored. A reranker sees features and a ranking, never the truths.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.benchmarks.base import Benchmark
from evaluation.metrics import Scores
from evaluation.protocols import Truth
from extraction.images import ImageRef
from extraction.store import FeatureStore
from matching import index
from matching.ranking import Ranking
from protos.errors import InputError

JUNK = ("remove_before_rerank", "keep")  # as DELG was released, and as SuperGlobal was
SHOWN = 10  # results of each ranking that are kept for the report
FIRST_STAGE = "global"
Reranker = Callable[[FeatureStore, FeatureStore, Ranking], Ranking]
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
    queries: FeatureStore
    database: FeatureStore
    distractors: FeatureStore | None = None

    @property
    def stores(self) -> list[FeatureStore]:
        """The stores that are searched together: queries, database, and distractors where there are some."""
        return [store for store in (self.queries, self.database, self.distractors) if store is not None]

    def row_name(self, reranker: str = "") -> str:
        """``"global"``, ``"global+ransac"``, ``"rootsift+ransac"``."""
        return f"{self.name}+{reranker}" if reranker else self.name


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one method, with or without a reranker, reached.

    Attributes:
      method: the row's name.
      scores: for each protocol the scores of the benchmark's queries.
      top: for each protocol ``(Q, 10)`` int64 rows of the benchmark's database, ``-1`` where there is none.
      ms_per_query: milliseconds per query of the stages ``search`` and ``rerank``.
      bytes_per_image: of the database, ``global`` and ``local``.
    """

    method: str
    scores: dict[str, Scores]
    top: dict[str, Rows]
    ms_per_query: dict[str, float]
    bytes_per_image: dict[str, float]


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

    def junk(self, truths: list[Truth], queries: int) -> list[Rows]:
        """For each of the store's queries the junk, as rows of the database store."""
        sets: list[Rows] = [np.zeros(0, np.int64)] * queries
        for row, truth in zip(self.query_rows, truths):
            if row >= 0:
                junk = self.database_rows[truth.junk]
                sets[row] = junk[junk >= 0]
        return sets

    def order(self, ranking: Ranking) -> list[Rows]:
        """For each of the benchmark's queries its results, as rows of the benchmark's database."""
        return [self.benchmark_rows[ranking.row(row)] if row >= 0 else np.zeros(0, np.int64) for row in self.query_rows]

    def scores(self, ranking: Ranking) -> list[NDArray[np.float32]]:
        """For each of the benchmark's queries the scores of its results."""
        return [
            ranking.scores[row, : len(ranking.row(row))] if row >= 0 else np.zeros(0, np.float32)
            for row in self.query_rows
        ]


def _rows(images: list[ImageRef], store: FeatureStore) -> Rows:
    """Row of each image in the store; -1 for those that the store lists as skipped."""
    skipped = {entry["name"] for entry in store.skipped}
    known = {name: row for row, name in enumerate(store.names)}
    rows = np.array([known.get(image.name, -1) for image in images], np.int64)
    lost = [image.name for image, row in zip(images, rows) if row < 0 and image.name not in skipped]
    extra = known.keys() - {image.name for image in images}
    if lost or extra:
        raise InputError(
            f"The feature store {store.folder} is not of this benchmark: {len(lost)} of its {len(images)} images are "
            f"missing and {len(extra)} are unknown, such as {min(lost or extra)!r}."
        )
    return rows


def search(method: Method) -> tuple[Ranking, float]:
    """First stage: every database image by similarity of the global descriptor.

    Args:
      method: the stores; whether they were made alike is proven before, see :mod:`evaluation.recorded`.

    Returns:
      The ranking of the store's queries, and milliseconds per query.

    Raises:
      InputError: the descriptors of the stores differ in length.
    """
    method.queries.check_shapes(method.database)
    start = time.perf_counter()
    ranking = index.search(method.queries.global_descriptors, method.database.global_descriptors)
    return ranking, 1000 * (time.perf_counter() - start) / max(len(method.queries), 1)


def evaluate(
    benchmark: Benchmark,
    method: Method,
    ranking: Ranking,
    reranker: Reranker | None = None,
    *,
    junk: str = JUNK[0],
    keep: Callable[[str, Ranking], None] | None = None,
) -> tuple[dict[str, Scores], dict[str, Rows], float]:
    """Scores a first-stage ranking, reranked or not, under each protocol.

    Args:
      benchmark: the truths.
      method: the stores that the ranking is of.
      ranking: the first stage, all of the database.
      reranker: the second stage; None scores the first.
      junk: when it leaves the ranking, one of :data:`JUNK`.
      keep: is given each protocol and the ranking that was scored under it.

    Returns:
      Scores of each protocol; its first results; milliseconds per query of the reranker, measured on the first
      protocol, when nothing that it may remember is there yet.
    """
    alignment = Alignment(benchmark, method)
    scores, top = {}, {}
    milliseconds: list[float] = []
    for protocol, truths in benchmark.protocols.items():
        if junk == JUNK[0] or not milliseconds:
            removed = alignment.junk(truths, len(method.queries))
            stage = ranking.without(removed) if junk == JUNK[0] else ranking
            start = time.perf_counter()
            if reranker is not None:
                stage = reranker(method.queries, method.database, stage)
            milliseconds.append(1000 * (time.perf_counter() - start) / max(len(method.queries), 1))
        if keep is not None:
            keep(protocol, stage)
        order = alignment.order(stage)
        scores[protocol] = metrics.evaluate(order, truths, benchmark.ks)
        top[protocol] = _first(order)
    return scores, top, milliseconds[0] if reranker is not None else 0.0


def _first(order: list[Rows]) -> Rows:
    """``(Q, SHOWN)`` first results, filled with -1."""
    top = np.full((len(order), SHOWN), -1, np.int64)
    for q, row in enumerate(order):
        top[q, : min(SHOWN, len(row))] = row[:SHOWN]
    return top


def run(
    benchmark: Benchmark,
    method: Method,
    rerankers: Mapping[str, Reranker],
    recall: Callable[[str], Outcome | None] = lambda name: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
    *,
    junk: str = JUNK[0],
    keep: Callable[[str, str, Ranking], None] | None = None,
) -> list[Outcome]:
    """All rows of one method: the first stage, then each reranker on it.

    Args:
      benchmark: queries, database and truths.
      method: their features.
      rerankers: row suffix to reranker.
      recall: gives a row that an earlier, interrupted run has finished, or None.
      finished: is given each row when it is done.
      junk: when it leaves the ranking, one of :data:`JUNK`.
      keep: is given the row's name, the protocol and the ranking that was scored.

    Returns:
      The outcomes, first stage first.
    """
    names = {suffix: method.row_name(suffix) for suffix in ("", *rerankers)}
    outcomes = {suffix: recall(name) for suffix, name in names.items()}
    if all(outcomes.values()):
        return [outcome for outcome in outcomes.values() if outcome]
    ranking, searched = search(method)
    first = outcomes[""]
    searched = first.ms_per_query["search"] if first else searched
    for suffix, name in names.items():
        if outcomes[suffix] is None:
            kept = None if keep is None else partial(keep, name)
            scores, top, reranked = evaluate(benchmark, method, ranking, rerankers.get(suffix), junk=junk, keep=kept)
            times = {"search": searched, "rerank": reranked}
            outcome = Outcome(name, scores, top, times, method.database.bytes_per_image())
            finished(outcome)
            outcomes[suffix] = outcome
    return [outcome for outcome in outcomes.values() if outcome]

"""Runs a benchmark with distractors: as :mod:`evaluation.runner`, with the distractors streamed."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from evaluation import distractors
from evaluation.benchmarks.base import Benchmark
from evaluation.distractors import FirstStage, Joined
from evaluation.metrics import Scores
from evaluation.runner import JUNK, SHOWN, Alignment, Method, Outcome, Rows
from extraction.store import FeatureStore


def run(
    benchmark: Benchmark,
    method: Method,
    rerankers: Mapping[str, Any],
    recall: Callable[[str], Outcome | None] = lambda name: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
    *,
    junk: str = JUNK[0],
) -> list[Outcome]:
    """All rows of one method over database and distractors; arguments are those of :func:`evaluation.runner.run`.

    Raises:
      InputError: the descriptors of the stores differ in length, or a reranker reorders more than is kept.
    """
    names = {suffix: method.row_name(suffix) for suffix in ("", *rerankers)}
    outcomes = {suffix: recall(name) for suffix, name in names.items()}
    if all(outcomes.values()):
        return [outcome for outcome in outcomes.values() if outcome]
    for name, reranker in rerankers.items():
        distractors.check_head(reranker.head, name)
    more = _distractors(method)
    head = max([SHOWN, *(reranker.head for reranker in rerankers.values())])
    start = time.perf_counter()
    descriptors = method.queries.global_descriptors, method.database.global_descriptors, more.global_descriptors
    stage = distractors.search_streamed(*descriptors, head=head)
    searched = 1000 * (time.perf_counter() - start) / max(len(method.queries), 1)
    joined = Joined(method.database, more)
    for suffix, name in names.items():
        if outcomes[suffix] is None:
            scores, top, reranked = _evaluate(benchmark, method, (stage, joined), rerankers.get(suffix), junk)
            times = {"search": searched, "rerank": reranked}
            outcome = Outcome(name, scores, top, times, method.database.bytes_per_image())
            finished(outcome)
            outcomes[suffix] = outcome
    return [outcome for outcome in outcomes.values() if outcome]


def _distractors(method: Method) -> FeatureStore:
    """The distractors' store."""
    if method.distractors is None:
        raise ValueError("The method has no distractors.")
    method.queries.check_shapes(method.database)
    method.database.check_shapes(method.distractors)
    return method.distractors


def _evaluate(
    benchmark: Benchmark, method: Method, searched: tuple[FirstStage, Joined], reranker: Any | None, junk: str
) -> tuple[dict[str, Scores], dict[str, Rows], float]:
    """Scores, first results and milliseconds per query, as :func:`evaluation.runner.evaluate`."""
    alignment, size = Alignment(benchmark, method), len(method.database)
    scores, top = {}, {}
    milliseconds: list[float] = []
    for protocol, truths in benchmark.protocols.items():
        removed = alignment.junk(truths, len(method.queries))
        stage = distractors.without(searched[0], removed) if junk == JUNK[0] else searched[0]
        head = distractors.heads(stage, SHOWN if reranker is None else max(SHOWN, reranker.head), size)
        start = time.perf_counter()
        if reranker is not None:
            head = reranker(method.queries, searched[1], head)
        milliseconds.append(1000 * (time.perf_counter() - start) / max(len(method.queries), 1))
        found = distractors.places(stage, head, size)
        nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
        placed = [
            (alignment.benchmark_rows[found[row][0]], found[row][1]) if row >= 0 else nothing
            for row in alignment.query_rows
        ]
        scores[protocol] = distractors.score(placed, truths, benchmark)
        top[protocol] = _first(benchmark, alignment, head.indices, size)
    return scores, top, milliseconds[0] if reranker is not None else 0.0


def _first(benchmark: Benchmark, alignment: Alignment, heads: Rows, size: int) -> Rows:
    """``(Q, SHOWN)`` first results; distractors are rows from the database's end on, missing ones -1."""
    top = np.full((len(benchmark.queries), SHOWN), -1, np.int64)
    for q, row in enumerate(alignment.query_rows):
        if row >= 0:
            found = heads[row, :SHOWN]
            known = np.clip(found, 0, size - 1)
            rows = np.where(found < size, alignment.benchmark_rows[known], found - size + len(benchmark.database))
            top[q, : len(found)] = np.where(found >= 0, rows, -1)
    return top

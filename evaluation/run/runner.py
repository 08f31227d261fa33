"""Runs a benchmark: search, each reranker, and the scores of both under every protocol.

As DELG was released: for each protocol its junk is taken out of the first-stage ranking, then the ranking is reranked,
then scored. As SuperGlobal was released ("keep"): the whole ranking is reranked, once, and junk is passed over when
it is scored. A reranker sees features and a ranking, never the truths. Many queries are worked on in parts, so that the
rankings that are held at once do not grow with their number.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluation.benchmarks.base import Benchmark
from evaluation.metrics.ranking import Scores
from evaluation.run.distractors import check_head
from evaluation.run.method import JUNK, SHOWN, Method, Outcome, Part, Rows
from evaluation.run.search import Search, Stage
from matching.ranking import Ranking
from matching.rerankers.base import Reranker


class Keep(Protocol):
    """What takes rankings."""

    @property
    def top_k(self) -> int:
        """How many results of each query it takes."""
        ...

    def __call__(self, row: str, protocol: str, ranking: Ranking) -> None:
        """Takes the ranking of the method's queries that was scored under a protocol."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What a reranker, or the first stage, reached on some queries or on all.

    Attributes:
      scores: for each protocol the scores of the benchmark's queries.
      top: for each protocol ``(Q, 10)`` first results.
      heads: for each protocol the ranking that was scored, of the method's queries, as much of it as was asked for.
      seconds: of the reranker, measured on the first protocol, when nothing that it may remember is there yet.
    """

    scores: dict[str, Scores]
    top: dict[str, Rows]
    heads: dict[str, Ranking]
    seconds: float


def evaluate(search: Search, reranker: Reranker | None = None, *, junk: str = JUNK[0], top_k: int = 0) -> Evaluated:
    """Scores a first stage, reranked or not, under each protocol.

    Args:
      search: the first stage.
      reranker: the second stage; None scores the first.
      junk: when it leaves the ranking, one of :data:`evaluation.run.method.JUNK`.
      top_k: how many results of each query are given back, besides those that are shown.

    Returns:
      What was reached.
    """
    found = [
        (part, _evaluate(search, (part, stage), reranker, junk=junk, top_k=top_k)) for part, stage in search.stages()
    ]
    return found[0][1] if len(found) == 1 else _joined(found, len(search.benchmark.queries))


def _evaluate(
    search: Search, some: tuple[Part, Stage], reranker: Reranker | None, *, junk: str, top_k: int
) -> Evaluated:
    """Scores a part of the queries."""
    part, first = some
    found = Evaluated({}, {}, {}, 0.0)
    times: list[float] = []
    for protocol, truths in search.benchmark.protocols.items():
        if junk == JUNK[0] or not times:
            stage = first.without(search.alignment.junk(part, truths)) if junk == JUNK[0] else first
            head = stage.head(reranker)
            start = time.perf_counter()
            if reranker is not None:
                head = reranker(part.queries, stage.database, head)
            times.append(time.perf_counter() - start)
        found.scores[protocol] = stage.scores(head, part.rows, [truths[place] for place in part.places])
        found.top[protocol] = stage.top(head, part.rows)
        found.heads[protocol] = _copied(head.top(top_k))
    return Evaluated(found.scores, found.top, found.heads, times[0] if reranker is not None else 0.0)


def _copied(ranking: Ranking) -> Ranking:
    """The same, which does not keep a larger ranking in memory that it is a view of."""
    return Ranking(ranking.indices.copy(), ranking.scores.copy())


def _joined(parts: list[tuple[Part, Evaluated]], count: int) -> Evaluated:
    """What was reached on all queries."""
    joined = Evaluated({}, {}, {}, sum(found.seconds for _, found in parts))
    for protocol, one in parts[0][1].scores.items():
        width = len(one.ks)
        empty = {name: np.empty((count, width)) for name in ("precisions", "recalls", "cut_aps")}
        scores = Scores(np.empty(count), ks=one.ks, **empty)
        top = np.empty((count, SHOWN), np.int64)
        for part, found in parts:
            mine = found.scores[protocol]
            for name in ("ap", *empty):
                getattr(scores, name)[part.places] = getattr(mine, name)
            top[part.places] = found.top[protocol]
        heads = [found.heads[protocol] for _, found in parts]
        joined.scores[protocol], joined.top[protocol] = scores, top
        joined.heads[protocol] = Ranking(
            np.concatenate([head.indices for head in heads]), np.concatenate([head.scores for head in heads])
        )
    return joined


def run(
    benchmark: Benchmark,
    method: Method,
    rerankers: Mapping[str, Reranker],
    recall: Callable[[str], Outcome | None] = lambda name: None,
    finished: Callable[[Outcome], None] = lambda outcome: None,
    *,
    junk: str = JUNK[0],
    keep: Keep | None = None,
) -> list[Outcome]:
    """All rows of one method: the first stage, then each reranker on it.

    Args:
      benchmark: queries, database and truths.
      method: their features; distractors are streamed.
      rerankers: row suffix to reranker.
      recall: gives a row that an earlier, interrupted run has finished, or None.
      finished: is given each row when it is done.
      junk: when it leaves the ranking, one of :data:`evaluation.run.method.JUNK`.
      keep: is given the row's name, the protocol and the ranking that was scored.

    Returns:
      The outcomes, first stage first.

    Raises:
      InputError: the descriptors of the stores differ in length, or with distractors a reranker reorders more than is
        kept.
    """
    names = {suffix: method.row_name(suffix) for suffix in ("", *rerankers)}
    outcomes = {suffix: recall(name) for suffix, name in names.items()}
    if all(outcomes.values()):
        return [outcome for outcome in outcomes.values() if outcome]
    search = Search(benchmark, method, _head(method, rerankers))
    first, count = outcomes[""], max(len(method.queries), 1)
    searched = first.ms_per_query["search"] if first else None
    for suffix, name in names.items():
        if outcomes[suffix] is None:
            found = evaluate(search, rerankers.get(suffix), junk=junk, top_k=keep.top_k if keep else 0)
            searched = search.ms_per_query if searched is None else searched
            if keep is not None:
                for protocol, head in found.heads.items():
                    keep(name, protocol, head)
            times = {"search": searched, "rerank": 1000 * found.seconds / count}
            outcome = Outcome(name, found.scores, found.top, times, method.database.bytes_per_image())
            finished(outcome)
            outcomes[suffix] = outcome
    return [outcome for outcome in outcomes.values() if outcome]


def _head(method: Method, rerankers: Mapping[str, Reranker]) -> int:
    """How many distractors are kept of each query: as many as any reranker looks at."""
    if method.distractors is None:
        return SHOWN
    for name, reranker in rerankers.items():
        check_head(reranker.top_k, name)
    return max([SHOWN, *(reranker.top_k for reranker in rerankers.values())])

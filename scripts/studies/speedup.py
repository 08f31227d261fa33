"""How much faster SuperGlobal reranks than RANSAC, and what of it the algorithm gives and what the implementation.

python -m scripts.studies.speedup DATA_DIR FEATURES_DIR [FEATURES_DIR ...] OUTPUT_DIR --queries_dir=DIR
    [--candidates=100]
python -m scripts.studies.speedup DATA_DIR FEATURES_DIR [FEATURES_DIR ...] OUTPUT_DIR --benchmark=landmarks
    [--most_queries=20]

A FEATURES_DIR, one for each seed of the training, holds the stores ``queries`` and ``database`` of a finished
delg-benchmark. In one process, on the same candidates: the released matching (k-d tree,
scikit-image's RANSAC, one thread), ours on one thread and on all, SuperGlobal written out literally, ours on one thread
and on all. Then RANSAC with the fewest candidates that reach SuperGlobal's mAP. All features of a seed are in memory.

On one thread a query is timed by itself, the median of the repeats; the methods take turns, a repeat of all queries
each (the released matching has one repeat). On all threads all queries together. Intervals are
those of other queries, of the mean over the seeds; the values of each seed stand beside. Writes OUTPUT_DIR/speedup.md.
scripts/studies/claims.sh sets what keeps the C library from giving memory back to the system between two queries.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from delg.common.errors import InputError
from delg.common.files import check_writable, write_text
from evaluation.benchmarks.table import build_benchmark
from evaluation.metrics import ranking as metrics
from evaluation.run.features import opened
from evaluation.statistics.bootstrap import Values
from evaluation.statistics.clusters import Groups, groups
from matching.indexes import table
from matching.ranking import Ranking
from matching.rerankers.base import reranked
from matching.rerankers.ransac import Ransac
from matching.rerankers.superglobal import SuperGlobal
from matching.source import MemorySource
from matching.threads import available, single_threaded
from scripts.bench.released_matching import reference
from scripts.bench.superglobal_rerank import BETA, K, literal
from scripts.studies.guard import guarded
from scripts.studies.speedup_table import LITERAL, OURS, RELEASED, SUPERGLOBAL, Found, Measured, report

FEWER = (2, 3, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 400)


@dataclass(frozen=True)
class Case:
    """What all methods are given, for one seed.

    Attributes:
      queries: each query by itself.
      database: features of the database.
      first: the first stage's ranking.
      quality: ``(Q,)`` average precision in percent of a ranking.
      grouped: ``(Q,)`` the group of each query.
    """

    queries: list[MemorySource]
    database: MemorySource
    first: Ranking
    quality: Callable[[Ranking], Values]
    grouped: Groups

    def row(self, q: int) -> Ranking:
        """The first stage of one query."""
        return Ranking(self.first.indices[q : q + 1], self.first.scores[q : q + 1])


Action = Callable[[int], Ranking]  # reranks one query


def read(options: argparse.Namespace, place: Path) -> Case:
    """The features of a seed, and the truth; of many queries as many as are asked for, spread evenly."""
    benchmark = build_benchmark(options.benchmark, options.data_dir, options.queries_dir)
    method, benchmark = opened(benchmark, str(place / "queries"), str(place / "database"))
    alignment = method.aligned(benchmark)
    readable = np.flatnonzero(alignment.query_rows >= 0)
    count = len(readable)
    chosen = readable[np.linspace(0, count - 1, min(count, options.most_queries)).round().astype(np.int64)]
    rows = alignment.query_rows[chosen]
    truths = [benchmark.protocols[benchmark.main_protocol][q] for q in chosen]
    queries = [MemorySource([method.queries.features(row)]) for row in rows]
    database = MemorySource([method.database.features(i) for i in range(len(method.database))])
    first = table.search(method.queries.global_descriptors[rows], method.database.global_descriptors)
    places = np.arange(len(queries))

    def quality(ranking: Ranking) -> Values:
        return 100 * metrics.evaluate(alignment.order(ranking, places), truths).ap

    return Case(queries, database, first, quality, groups(truths))


def released(case: Case, q: int, candidates: int, residual: float) -> Ranking:
    """Candidates by the released matching's inliers, ties in the first stage's order."""
    rows, query = case.first.row(q)[:candidates], case.queries[q].features(0)
    counts = np.array([len(reference(query, case.database.features(row), residual=residual)[1]) for row in rows])
    return reranked(case.row(q), [counts])


def written_out(case: Case, q: int, candidates: int) -> Ranking:
    """SuperGlobal as the released code has it, for ``M = candidates``."""
    descriptors = case.queries[q].global_descriptors[0], case.database.global_descriptors
    order, scores = literal(*descriptors, case.first.row(q), candidates)
    known = dict(zip(order[: len(scores)], scores))
    return reranked(case.row(q), [np.array([known[row] for row in case.first.row(q)[: len(scores)]])])


def joined(rankings: Sequence[Ranking]) -> Ranking:
    """The rankings of single queries as one."""
    return Ranking(np.concatenate([r.indices for r in rankings]), np.concatenate([r.scores for r in rankings]))


def timed(case: Case, actions: Mapping[str, tuple[Action, int]]) -> dict[str, tuple[Values, Ranking]]:
    """Milliseconds of each query, the median of the repeats, and the ranking; the methods take turns."""
    spent: dict[str, list[list[float]]] = {name: [] for name in actions}
    rankings: dict[str, list[Ranking]] = {}
    for repeat in range(max(repeats for _, repeats in actions.values())):
        for name, (action, repeats) in actions.items():
            if repeat >= repeats:
                continue
            if name != RELEASED:
                action(0)  # warm again, after another method
            rankings[name], times = [], []
            for q in range(len(case.queries)):
                start = time.perf_counter()
                rankings[name].append(action(q))
                times.append(1000 * (time.perf_counter() - start))
            spent[name].append(times)
    return {name: (np.median(times, axis=0), joined(rankings[name])) for name, times in spent.items()}


def together(case: Case, reranker: Callable[[], Ransac | SuperGlobal], repeats: int) -> Measured:
    """All queries at once; a reranker is made anew each time, as RANSAC remembers counts."""
    queries, spent, ranking = MemorySource([s.features(0) for s in case.queries]), [], case.first
    for _ in range(repeats):
        start = time.perf_counter()
        ranking = reranker()(queries, case.database, case.first)
        spent.append(time.perf_counter() - start)
    return Measured(np.array([1000 * statistics.median(spent) / len(case.queries)]), case.quality(ranking))


def one_by_one(case: Case, make: Callable[[], Ransac | SuperGlobal]) -> Action:
    """A reranker on one query, made anew each time."""
    return lambda q: make()(case.queries[q], case.database, case.row(q))


def measured(case: Case, m: int, options: argparse.Namespace) -> tuple[dict[str, Measured], Ranking]:
    """Every method on ``m`` candidates, and the ranking of our RANSAC."""

    def ransac(threads: int | None) -> Ransac:
        return Ransac(m, residual=options.residual, threads=threads)

    def superglobal(threads: int | None) -> SuperGlobal:
        return SuperGlobal(m, K, BETA, threads=threads)

    def searched(q: int) -> Ranking:
        return table.search(case.queries[q].global_descriptors, case.database.global_descriptors)

    actions: dict[str, tuple[Action, int]] = {
        "first stage, 1 thread": (searched, options.repeats),
        RELEASED: (lambda q: released(case, q, m, options.residual), 1),
        OURS: (one_by_one(case, lambda: ransac(1)), options.repeats),
        LITERAL: (lambda q: written_out(case, q, m), options.repeats),
        SUPERGLOBAL: (one_by_one(case, lambda: superglobal(1)), options.repeats),
    }
    found, rankings = {}, {}
    with single_threaded():
        for name, (ms, ranking) in timed(case, actions).items():
            found[name], rankings[name] = Measured(ms, case.quality(ranking)), ranking
    found[f"RANSAC, ours, {available(None)} threads"] = together(case, lambda: ransac(None), options.repeats)
    found[f"SuperGlobal, ours, {available(None)} threads"] = together(case, lambda: superglobal(None), options.repeats)
    return found, rankings[OURS]


def fewer(case: Case, verified: Ranking, m: int) -> dict[int, Values]:
    """Average precisions of RANSAC with fewer candidates than the ``m`` whose inliers are known."""
    candidates = [case.first.row(q)[:m] for q in range(len(case.first))]
    inliers = [dict(zip(verified.row(q)[:m], verified.scores[q, :m])) for q in range(len(case.first))]
    counts = [np.array([known[row] for row in rows]) for rows, known in zip(candidates, inliers, strict=True)]
    return {
        n: case.quality(reranked(case.first, [count[:n] for count in counts]))
        for n in (*(n for n in FEWER if n < m), m)
    }


def all_measured(options: argparse.Namespace) -> tuple[Found, Groups, str]:
    """Every method on every seed, RANSAC at equal quality too; the groups of queries; and a sentence on the latter."""
    m, found, reached = options.candidates, {}, {}
    grouped: Groups = np.zeros(0, np.int64)
    for place in options.features_dir:
        case = read(options, place)
        of_seed, verified = measured(case, m, options)
        for name, value in of_seed.items():
            found.setdefault(name, []).append(value)
        for n, ap in fewer(case, verified, m).items():
            reached.setdefault(n, []).append(float(np.nanmean(ap)))
        grouped = case.grouped
    goal = float(np.nanmean([value.ap for value in found[SUPERGLOBAL]]))
    quality = {n: float(np.mean(values)) for n, values in reached.items()}
    enough = min((n for n, value in quality.items() if value >= goal), default=None)
    if enough is None:
        best = max(quality, key=lambda n: quality[n])
        said = f"RANSAC comes to an mAP of {quality[best]:.2f} at most, with {best} of up to {m} candidates"
        return found, grouped, f"Equal quality is not reached: {said}, SuperGlobal to {goal:.2f}."
    name = f"{OURS}, {enough} candidates"
    for place in options.features_dir:
        case = read(options, place)
        action = one_by_one(case, lambda: Ransac(enough, residual=options.residual, threads=1))
        with single_threaded():
            ms, ranking = timed(case, {name: (action, options.repeats)})[name]
        found.setdefault(name, []).append(Measured(ms, case.quality(ranking)))
    return found, grouped, f"RANSAC reaches SuperGlobal's mAP of {goal:.2f} with {enough} candidates."


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir")
    parser.add_argument("features_dir", nargs="+", type=Path)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--queries_dir")
    parser.add_argument("--benchmark", choices=("folders", "landmarks"), default="folders")
    parser.add_argument("--most_queries", type=int, default=1_000_000)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--residual", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for name in ("candidates", "repeats", "most_queries"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} expects 1 or more. Received: {getattr(options, name)}")
    check_writable(options.output_dir)
    text = report(*all_measured(options), options.candidates)
    write_text(options.output_dir / "speedup.md", text)
    print(text)


if __name__ == "__main__":
    guarded(main)

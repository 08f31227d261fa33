"""How much faster SuperGlobal reranks than RANSAC, and what of it the algorithm gives and what the implementation.

python -m scripts.speedup DATABASE_DIR QUERIES_DIR FEATURES_DIR OUTPUT_DIR [--candidates=100] [--residual=8]

FEATURES_DIR holds the stores ``queries`` and ``database`` of a finished delg-benchmark --benchmark=folders. In one
process, on the same candidates: the released matching (k-d tree, scikit-image's RANSAC, one thread), ours on one thread
and on all, SuperGlobal written out literally, ours on one thread and on all. Then RANSAC with the fewest candidates
that reach SuperGlobal's mAP. All features are in memory. Writes OUTPUT_DIR/speedup.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation import metrics
from evaluation.benchmarks.folders import PROTOCOL, folders
from evaluation.runner import Alignment, search
from evaluation.stores import opened
from matching.heads import with_heads
from matching.ranking import Ranking
from matching.ransac import Ransac
from matching.source import MemorySource
from matching.superglobal import SuperGlobal
from matching.threads import available, single_threaded
from protos.files import write_text
from scripts.bench.released_matching import reference
from scripts.bench.superglobal_rerank import BETA, K, literal
from scripts.guard import guarded

FEWER = (2, 3, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 400)


@dataclass(frozen=True)
class Case:
    """What all methods are given.

    Attributes:
      queries: their features.
      database: likewise.
      first: the first stage's ranking.
      quality: mAP in percent of a ranking.
    """

    queries: MemorySource
    database: MemorySource
    first: Ranking
    quality: Callable[[Ranking], float]


def read(options: argparse.Namespace) -> Case:
    """The features, and the truth."""
    benchmark = folders(options.database_dir, options.queries_dir)
    place = Path(options.features_dir)
    method = opened(benchmark, str(place / "queries"), str(place / "database"))
    alignment, truths = Alignment(benchmark, method), benchmark.protocols[PROTOCOL]
    queries, database = (
        MemorySource([s.features(i) for i in range(len(s))]) for s in (method.queries, method.database)
    )
    return Case(queries, database, search(method)[0], lambda r: 100 * metrics.evaluate(alignment.order(r), truths).map)


def released(case: Case, candidates: int, residual: float) -> Ranking:
    """Candidates by the released matching's inliers, ties in the first stage's order."""
    heads = []
    for q in range(len(case.first)):
        rows = case.first.row(q)[:candidates]
        query = case.queries.features(q)
        counts = np.array([len(reference(query, case.database.features(row), residual=residual)[1]) for row in rows])
        order = np.argsort(-counts, kind="stable")
        heads.append((rows[order], counts[order].astype(np.float32)))
    return with_heads(case.first, heads)


def written_out(case: Case, candidates: int) -> Ranking:
    """SuperGlobal as the released code has it, for ``M = candidates``."""
    heads = []
    for q in range(len(case.first)):
        order, scores = literal(case.queries.global_descriptors[q], case.database.global_descriptors,
                                case.first.row(q), candidates)  # fmt: skip
        heads.append((order[: len(scores)], scores))
    return with_heads(case.first, heads)


def timed(case: Case, action: Callable[[], Ranking], repeats: int) -> tuple[float, float]:
    """Milliseconds a query, the median of the repeats, and the quality."""
    seconds, ranking = [], case.first
    for _ in range(repeats):
        start = time.perf_counter()
        ranking = action()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds) / len(case.first), case.quality(ranking)


def measured(case: Case, m: int, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Every method: milliseconds a query and mAP. Rerankers are made anew each time, as RANSAC remembers counts."""

    def ransac(threads: int | None, top_k: int = m) -> Ranking:
        return Ransac(top_k, residual=options.residual, threads=threads)(case.queries, case.database, case.first)

    def superglobal(threads: int | None) -> Ranking:
        return SuperGlobal(m, K, BETA, threads=threads)(case.queries, case.database, case.first)

    superglobal(None), ransac(None, 2)  # warm
    found = {"first stage": (0.0, case.quality(case.first))}
    with single_threaded():
        found["RANSAC, released, 1 thread"] = timed(case, lambda: released(case, m, options.residual), 1)
        found["RANSAC, ours, 1 thread"] = timed(case, lambda: ransac(1), options.repeats)
        found["SuperGlobal, literal, 1 thread"] = timed(case, lambda: written_out(case, m), options.repeats)
        found["SuperGlobal, ours, 1 thread"] = timed(case, lambda: superglobal(1), options.repeats)
    found[f"RANSAC, ours, {available(None)} threads"] = timed(case, lambda: ransac(None), options.repeats)
    found[f"SuperGlobal, ours, {available(None)} threads"] = timed(case, lambda: superglobal(None), options.repeats)
    goal = found["SuperGlobal, ours, 1 thread"][1]
    for count in (count for count in FEWER if count <= m):
        if case.quality(ransac(None, count)) >= goal:
            with single_threaded():
                name = f"RANSAC, ours, 1 thread, {count} candidates"
                found[name] = timed(case, lambda count=count: ransac(1, count), options.repeats)  # type: ignore[misc]
            break
    return found


def report(found: dict[str, tuple[float, float]], m: int) -> str:
    """Markdown: times and qualities, then the factors."""
    lines = [f"{m} candidates", "", "| method | ms/query | mAP |", "|---|---:|---:|"]
    lines += [f"| {name} | {ms:.3g} | {quality:.2f} |" for name, (ms, quality) in found.items()]
    ms = {name: value for name, (value, _) in found.items()}
    slow, ransac = ms["RANSAC, released, 1 thread"], ms["RANSAC, ours, 1 thread"]
    written, superglobal = ms["SuperGlobal, literal, 1 thread"], ms["SuperGlobal, ours, 1 thread"]
    lines += ["", "| factor, 1 thread | |", "|---|---:|",
              f"| released RANSAC against our SuperGlobal | {slow / superglobal:.0f} |",
              f"| ... of it RANSAC's implementation: released against ours | {slow / ransac:.1f} |",
              f"| ... of it the algorithm: our RANSAC against our SuperGlobal | {ransac / superglobal:.1f} |",
              f"| SuperGlobal's implementation: literal against ours | {written / superglobal:.2f} |"]  # fmt: skip
    for name, value in ms.items():
        if name.endswith("candidates"):
            lines.append(f"| at equal quality: {name} against our SuperGlobal | {value / superglobal:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("database_dir", "queries_dir", "features_dir", "output_dir"):
        parser.add_argument(name)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--residual", type=float, default=8.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    case = read(options)
    text = report(measured(case, options.candidates, options), options.candidates)
    write_text(Path(options.output_dir) / "speedup.md", text)
    print(text)


if __name__ == "__main__":
    guarded(main)

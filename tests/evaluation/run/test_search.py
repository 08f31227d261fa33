"""Search and rerankers on a benchmark: junk before reranking, rows by name, skipped images, finished rows."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.identity import answers_sha256, identify_benchmark
from evaluation.benchmarks.method import Method
from evaluation.benchmarks.table import build_benchmark
from evaluation.metrics.metric import Metric
from evaluation.metrics.truth import Truth
from evaluation.options import JUNK
from evaluation.run import search as stages
from evaluation.run import versions
from evaluation.run.result_cache import ResultCache
from evaluation.run.search import Search, run
from extraction.pipeline import extract
from matching.ranking import Ranking
from matching.rerankers.table import build_reranker
from tests.evaluation.tiny import MeanColour, refs, revisited_set


def rows(*values):
    return np.array(values, np.int64)


@pytest.fixture
def world(tmp_path):
    benchmark = build_benchmark("landmarks", str(revisited_set(tmp_path / "set")))
    stores = [
        extract(MeanColour(), images, tmp_path / name, progress=False)
        for name, images in (("queries", benchmark.queries), ("database", benchmark.database))
    ]
    return benchmark, Method("global", *stores)


class Reverse:
    """A reranker that turns the order around and keeps what it was given."""

    top_k = 5

    def __init__(self):
        self.given = []

    def __call__(self, queries, database, ranking):
        self.given.append([[database.names[i] for i in ranking.row(q)] for q in range(len(ranking))])
        indices = np.full_like(ranking.indices, -1)
        for q in range(len(ranking)):
            row = ranking.row(q)
            indices[q, : len(row)] = row[::-1]
        return Ranking(indices, np.zeros_like(ranking.scores))


def finished(benchmark, method, reranker=None, **options):
    """The last row of a run."""
    return run(benchmark, method, {} if reranker is None else {"reverse": reranker}, **options)[-1]


def ap(row):
    """For each protocol the average precision of each query, as a fraction."""
    return {protocol: metrics["mAP"].per_query / 100 for protocol, metrics in row.metrics.items()}


def test_first_stage_uses_the_crop_and_ranks_by_similarity(world):
    benchmark, method = world
    row = finished(benchmark, method)
    names = [[method.database.names[i] for i in order] for order in row.top["medium"][:, :5]]
    assert names[0][:3] == ["a", "b", "d"] or names[0][:2] == ["a", "b"], "c is junk"
    assert names[1][0] == "d" and row.top["medium"].shape == (2, 10)
    assert {p: v.tolist() for p, v in ap(row).items() if p != "hard"} == {"easy": [1.0, 1.0], "medium": [1.0, 1.0]}
    assert ap(row)["hard"][0] == 1.0 and np.isnan(ap(row)["hard"][1])
    assert row.ms_per_query["search"] > 0 == row.ms_per_query["rerank"]


def test_junk_of_each_protocol_is_taken_out_before_reranking(world):
    benchmark, method = world
    reranker = Reverse()
    row = finished(benchmark, method, reranker)
    first = [[name for name in given[0] if name in "abc"] for given in reranker.given]
    assert first == [["a"], ["a", "b"], ["b"]]  # easy: b, c are junk; medium: c; hard: a, c
    assert sorted(reranker.given[0][1]) == list("abcde")
    assert row.top["easy"][0].tolist()[:4] in ([4, 3, 0, -1], [3, 4, 0, -1])
    assert row.ms_per_query["rerank"] > 0


def test_protocols_with_the_same_junk_share_a_ranking(world):
    benchmark, method = world
    truths = benchmark.protocols["medium"]
    swapped = [Truth(rows(4), truth.junk) for truth in truths]
    both = replace(benchmark, protocols={"medium": truths, "other": swapped, "easy": benchmark.protocols["easy"]})
    reranker = Reverse()
    shared = finished(both, method, reranker)
    assert len(reranker.given) == 2
    for protocol in both.protocols:
        alone = finished(replace(both, protocols={protocol: both.protocols[protocol]}), method, Reverse())
        np.testing.assert_array_equal(ap(shared)[protocol], ap(alone)[protocol])


def test_time_is_that_of_the_first_protocol(world):
    benchmark, method = world

    class Remembers(Reverse):
        def __call__(self, *given):
            if not self.given:
                time.sleep(0.1)
            return super().__call__(*given)

    assert finished(benchmark, method, Remembers()).ms_per_query["rerank"] >= 100 / len(method.queries)


def test_scores_follow_the_reranked_order(world):
    benchmark, method = world
    values = ap(finished(benchmark, method, Reverse()))
    assert values["easy"][0] == pytest.approx((0 + 1 / 3) / 2)
    # medium without c: e, d, b, a -> ranks 2 and 3
    assert values["medium"][0] == pytest.approx(((0 / 2 + 1 / 3) / 2 + (1 / 3 + 2 / 4) / 2) / 2)


def test_unreadable_images_count_as_not_found(tmp_path):
    database = refs(tmp_path / "d", {"a": (250, 0, 0), "b": (240, 5, 0), "c": (0, 250, 0)})
    queries = refs(tmp_path / "q", {"p": (250, 0, 0), "q": (245, 0, 0)})
    for broken in (database[0], queries[0]):
        Path(broken.path).write_text("this is text")
    truths = [Truth(rows(0, 1), rows()), Truth(rows(0, 1), rows(2))]
    benchmark = Benchmark("x", queries, database, {"all": truths})
    method = Method(
        "global",
        extract(MeanColour(), queries, tmp_path / "sq", progress=False),
        extract(MeanColour(), database, tmp_path / "sd", progress=False),
    )
    assert len(method.queries) == 1 and len(method.database) == 2
    row = finished(benchmark, method)
    assert ap(row)["all"].tolist() == [0.0, 0.5]
    assert row.top["all"][0].tolist() == [-1] * 10
    assert row.top["all"][1][:2].tolist() == [1, -1]


def test_stores_of_other_images_are_refused(world):
    benchmark, method = world
    other = Method("global", method.queries, method.queries)
    with pytest.raises(InputError, match="not of this benchmark: 5 of its 5 images are missing and 2 are unknown"):
        Search(benchmark, other)


def test_rows_are_named_and_cached(world, tmp_path):
    benchmark, method = world
    reranker = Reverse()
    cache = ResultCache(tmp_path / "results", benchmark, method, {"reverse": "reverse()"})

    def again():
        cached = {name: row for name in cache.keys if (row := cache.get(name))}
        finished = lambda row, observed, _: cache.put(row)  # noqa: E731
        return run(benchmark, method, {"reverse": reranker}, cached=cached, finished=finished)

    first = again()
    assert [row.name for row in first] == ["global", "global+reverse"]
    assert first[0].ms_per_query["rerank"] == 0.0 and first[1].ms_per_query["rerank"] > 0
    assert first[0].ms_per_query["search"] == first[1].ms_per_query["search"] > 0
    assert first[0].bytes_per_image == {"global": 12.0, "local": pytest.approx(0.0, abs=64)}
    for one, other in zip(first, again(), strict=True):
        assert one.ms_per_query == other.ms_per_query
        for protocol, metrics in one.metrics.items():
            np.testing.assert_array_equal(one.top[protocol], other.top[protocol])
            for name, metric in metrics.items():
                np.testing.assert_equal(metric.to_json(), other.metrics[protocol][name].to_json())
    assert len(reranker.given) == 3, "the rows were run once more"
    other = ResultCache(tmp_path / "results", benchmark, method, {"reverse": "reverse(k=2)"})
    assert other.get("global") is not None and other.get("global+reverse") is None


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("text", ["", "superglobal(m=20, k=3)", "alpha_qe(top_k=15)", "alpha_dba"])
def test_parts_of_the_queries_give_what_all_of_them_give(tmp_path, monkeypatch, junk, text):
    """Two queries at a time, one of the eleven unreadable: the scores, results and rankings of one part."""
    random = np.random.default_rng(0)
    queries = refs(tmp_path / "q", {f"q{i}": random.integers(0, 255, 3) for i in range(11)})
    database = refs(tmp_path / "d", {f"d{i}": random.integers(0, 255, 3) for i in range(30)})
    Path(queries[4].path).write_text("this is text")
    orders = [[random.permutation(30) for _ in queries] for _ in range(2)]
    truths = {
        name: [Truth(rows(*order[: 1 + q % 3]), rows(*order[5:7])) for q, order in enumerate(some)]
        for name, some in zip(("easy", "medium"), orders)
    }
    benchmark = Benchmark("x", queries, database, truths)
    asked = extract(MeanColour(), queries, tmp_path / "sq", progress=False)
    method, found = Method("global", asked, extract(MeanColour(), database, tmp_path / "sd", progress=False)), []
    rerankers = {"r": build_reranker(text)} if text else {}
    for entries in (stages.ENTRIES, 2 * 30):
        monkeypatch.setattr(stages, "ENTRIES", entries)
        rankings = {}

        def keep(row, observed, _, rankings=rankings):
            rankings.update({(row.name, protocol): ranking for protocol, ranking in observed.rankings.items()})

        found.append((run(benchmark, method, rerankers, junk=junk, finished=keep, top_k=7), rankings))
        assert len(Search(benchmark, method).parts) == (1 if entries > 60 else 5)
    (whole, rankings), (parts, others) = found
    assert len(rankings) == len(others) == 2 * len(whole)
    for key, ranking in rankings.items():
        np.testing.assert_array_equal(ranking.indices, others[key].indices)
        assert ranking.indices.shape == (10, 7) and ranking.indices.base is None, "a view keeps the whole ranking"
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_equal(measured(one), measured(other))
        assert other.ms_per_query["search"] > 0 and (other.ms_per_query["rerank"] > 0) == ("+" in other.name)


def measured(row):
    """Metrics and first results."""
    metrics = {p: {name: metric.to_json() for name, metric in ms.items()} for p, ms in row.metrics.items()}
    return metrics, {protocol: top.tolist() for protocol, top in row.top.items()}


def test_parts_of_an_interrupted_run_are_not_searched_again(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    queries, database = (
        refs(tmp_path / role, {f"{role}{i}": random.integers(0, 255, 3) for i in range(count)})
        for role, count in (("q", 7), ("d", 20))
    )
    truths = {"all": [Truth(rows(q, q + 3), rows(q + 1)) for q in range(7)]}
    stores = [
        extract(MeanColour(), images, tmp_path / str(len(images)), progress=False) for images in (queries, database)
    ]
    benchmark, method = Benchmark("x", queries, database, truths), Method("global", *stores)
    rerankers = {"r": build_reranker("alpha_qe(top_k=5)")}
    expected = [measured(row) for row in run(benchmark, method, rerankers, top_k=4)]
    monkeypatch.setattr(stages, "ENTRIES", 2 * 20)
    searched, real = [], Search.stage

    def stage(search, number):
        if stop and number == 2:
            raise KeyboardInterrupt
        searched.append(number)
        return real(search, number)

    monkeypatch.setattr(Search, "stage", stage)
    cache, stop = ResultCache(tmp_path / "results", benchmark, method, {"r": "alpha_qe"}), True
    with pytest.raises(KeyboardInterrupt):
        run(benchmark, method, rerankers, cache=cache, top_k=4)
    stop = False
    again = run(benchmark, method, rerankers, cache=cache, top_k=4, finished=lambda row, observed, _: cache.put(row))
    assert searched == [0, 1, 2, 3] and [measured(row) for row in again] == expected
    assert not list((tmp_path / "results").glob("*.part*")), "the parts of finished rows are removed"


class FirstTwo(Benchmark):
    """Measures the number of results that each query has, of the first two."""

    def observe(self, protocol, query, result):
        return [len(result.rows), len(np.setdiff1d(result.rows, self.protocols[protocol][query].junk))]

    def measure(self, protocol, observations):
        return {"results": Metric.mean(np.array([count for count, _ in observations], np.float64))}


@pytest.mark.parametrize("junk", JUNK)
def test_junk_takes_no_place_of_the_first_results(world, junk, monkeypatch):
    benchmark, method = world
    parts = {name: getattr(benchmark, name) for name in ("name", "queries", "database", "protocols")}
    cut = FirstTwo(**parts, depth=2)
    monkeypatch.setattr(stages, "SHOWN", 1)
    seen = []
    run(cut, method, {}, junk=junk, finished=lambda row, observed, _: seen.append(observed))
    for observations in seen[0].observations.values():
        assert all(right >= 2 for _, right in observations), "two results besides junk"
    with pytest.raises(InputError, match="no distractors"):
        run(cut, replace(method, distractors=method.database), {})


@dataclass(frozen=True, eq=False)
class Weighted(Benchmark):
    """Has parameters of its own."""

    weights: dict = field(default_factory=dict)
    table: np.ndarray | None = None
    file: Path | None = None
    other: object = None


def test_parameters_of_a_plug_in_are_part_of_its_identity(tmp_path):
    (tmp_path / "w.json").write_text("1")
    parts = {"name": "x", "queries": [], "database": [], "protocols": {"all": []}}
    parts |= {"weights": {"a": 1.0}, "table": np.arange(3), "file": tmp_path / "w.json"}
    first = identify_benchmark(Weighted(**parts))
    assert first == identify_benchmark(Weighted(**parts))
    for changed in ({"weights": {"a": 0.5}}, {"table": np.arange(4)}, {"depth": 3}, {"count_all": True}):
        assert identify_benchmark(Weighted(**parts | changed)) != first, changed
    (tmp_path / "w.json").write_text("2")
    assert identify_benchmark(Weighted(**parts)) != first
    with pytest.raises(InputError, match="other"):
        identify_benchmark(Weighted(**parts, other=object()))


def test_identities_change_with_what_they_stand_for(world, tmp_path):
    benchmark, method = world
    truths = dict(benchmark.protocols)
    truths["easy"] = list(reversed(truths["easy"]))
    changed = Benchmark(benchmark.name, benchmark.queries, benchmark.database, truths)
    assert identify_benchmark(changed) != identify_benchmark(benchmark)
    whole = replace(benchmark, queries=[replace(query, crop=None) for query in benchmark.queries])
    assert identify_benchmark(whole) != identify_benchmark(benchmark), "rows are of the crops"
    assert answers_sha256(whole) == answers_sha256(benchmark) != answers_sha256(changed), "right answers are not"
    assert method.queries.identity() != method.database.identity()
    again = extract(MeanColour(), benchmark.database, tmp_path / "again", progress=False)
    assert again.identity() == method.database.identity()


def test_a_row_of_other_packages_is_made_again(world, tmp_path, monkeypatch):
    benchmark, method = world
    ResultCache(tmp_path, benchmark, method, {}).put(finished(benchmark, method))
    assert ResultCache(tmp_path, benchmark, method, {}).get("global") is not None
    monkeypatch.setattr(versions, "PACKAGES", (*versions.PACKAGES, "absl-py"))
    assert ResultCache(tmp_path, benchmark, method, {}).get("global") is None

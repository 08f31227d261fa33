"""The runner: junk before reranking, rows by name, skipped images, memory of finished rows."""

import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.identity import answers_sha256, identify_benchmark
from evaluation.benchmarks.protocols import Truth
from evaluation.benchmarks.table import build_benchmark
from evaluation.run import runner, versions
from evaluation.run import search as stages
from evaluation.run.method import JUNK, Method
from evaluation.run.result_cache import Ledger
from evaluation.run.search import Search
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

    def __init__(self):
        self.given = []

    def __call__(self, queries, database, ranking):
        self.given.append([[database.names[i] for i in ranking.row(q)] for q in range(len(ranking))])
        indices = np.full_like(ranking.indices, -1)
        for q in range(len(ranking)):
            row = ranking.row(q)
            indices[q, : len(row)] = row[::-1]
        return Ranking(indices, np.zeros_like(ranking.scores))


def test_first_stage_uses_the_crop_and_ranks_by_similarity(world):
    benchmark, method = world
    search = Search(benchmark, method)
    ((_, stage),) = search.stages()
    ranking = stage.head(None)
    assert [method.database.names[i] for i in ranking.row(0)][:3] == ["a", "c", "b"]
    assert method.database.names[ranking.row(1)[0]] == "d"
    assert search.ms_per_query > 0
    found = runner.evaluate(search)
    scores, top = found.scores, found.top
    assert {p: s.ap.tolist() for p, s in scores.items() if p != "hard"} == {"easy": [1.0, 1.0], "medium": [1.0, 1.0]}
    assert scores["hard"].ap[0] == 1.0 and np.isnan(scores["hard"].ap[1])
    assert top["medium"][0][:2].tolist() == [0, 1] and top["medium"].shape == (2, 10)
    assert found.seconds == 0.0


def test_junk_of_each_protocol_is_taken_out_before_reranking(world):
    benchmark, method = world
    reranker = Reverse()
    found = runner.evaluate(Search(benchmark, method), reranker)
    top = found.top
    first = [[row for row in given[0] if row in "abc"] for given in reranker.given]
    assert first == [["a"], ["a", "b"], ["b"]]  # easy: b, c are junk; medium: c; hard: a, c
    assert sorted(reranker.given[0][1]) == list("abcde")
    assert top["easy"][0].tolist()[:4] == [4, 3, 0, -1] or top["easy"][0].tolist()[:4] == [3, 4, 0, -1]
    assert found.seconds > 0


def test_time_is_that_of_the_first_protocol(world):
    benchmark, method = world

    class Remembers(Reverse):
        def __call__(self, *given):
            if not self.given:
                time.sleep(0.1)
            return super().__call__(*given)

    assert runner.evaluate(Search(benchmark, method), Remembers()).seconds >= 0.1


def test_scores_follow_the_reranked_order(world):
    benchmark, method = world
    scores = runner.evaluate(Search(benchmark, method), Reverse()).scores
    assert scores["easy"].ap[0] == pytest.approx((0 + 1 / 3) / 2)
    # medium without c: e, d, b, a -> ranks 2 and 3
    assert scores["medium"].ap[0] == pytest.approx(((0 / 2 + 1 / 3) / 2 + (1 / 3 + 2 / 4) / 2) / 2)


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
    found = runner.evaluate(Search(benchmark, method))
    scores, top = found.scores, found.top
    assert scores["all"].ap.tolist() == [0.0, 0.5]
    assert top["all"][0].tolist() == [-1] * 10
    assert top["all"][1][:2].tolist() == [1, -1]


def test_stores_of_other_images_are_refused(world):
    benchmark, method = world
    other = Method("global", method.queries, method.queries)
    with pytest.raises(InputError, match="not of this benchmark: 5 of its 5 images are missing and 2 are unknown"):
        Search(benchmark, other)


def test_rows_are_named_and_remembered(world, tmp_path):
    benchmark, method = world
    reranker = Reverse()
    ledger = Ledger(tmp_path / "results", benchmark, method, {"reverse": "reverse()"})
    outcomes = runner.run(benchmark, method, {"reverse": reranker}, ledger.recall, ledger.keep)
    assert [o.method for o in outcomes] == ["global", "global+reverse"]
    assert outcomes[0].ms_per_query["rerank"] == 0.0 and outcomes[1].ms_per_query["rerank"] > 0
    assert outcomes[0].ms_per_query["search"] == outcomes[1].ms_per_query["search"] > 0
    assert outcomes[0].bytes_per_image == {"global": 12.0, "local": pytest.approx(0.0, abs=64)}
    again = runner.run(benchmark, method, {"reverse": reranker}, ledger.recall, ledger.keep)
    assert len(reranker.given) == 3, "the rows were run once more"
    for first, second in zip(outcomes, again):
        assert first.ms_per_query == second.ms_per_query
        for protocol in benchmark.protocols:
            np.testing.assert_array_equal(first.scores[protocol].ap, second.scores[protocol].ap)
            np.testing.assert_array_equal(first.top[protocol], second.top[protocol])
    other = Ledger(tmp_path / "results", benchmark, method, {"reverse": "reverse(k=2)"})
    assert other.recall("global") is not None and other.recall("global+reverse") is None


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
    for entries in (stages.ENTRIES, 2 * 30):
        monkeypatch.setattr(stages, "ENTRIES", entries)
        kept = {}
        rerankers = {"r": build_reranker(text)} if text else {}
        keep = Mock(top_k=7, side_effect=lambda row, protocol, head, kept=kept: kept.update({(row, protocol): head}))
        found.append((runner.run(benchmark, method, rerankers, junk=junk, keep=keep), kept))
        assert len(Search(benchmark, method).parts) == (1 if entries > 60 else 5)
    (whole, rankings), (parts, others) = found
    assert len(rankings) == len(others) == 2 * len(whole)
    for key, head in rankings.items():
        np.testing.assert_array_equal(head.indices, others[key].indices)
        assert head.indices.shape == (10, 7) and head.indices.base is None, "a view keeps the whole ranking"
    for one, other in zip(whole, parts, strict=True):
        for protocol in truths:
            for name in ("ap", "precisions", "recalls"):
                np.testing.assert_array_equal(*(getattr(o.scores[protocol], name) for o in (one, other)))
            np.testing.assert_array_equal(one.top[protocol], other.top[protocol])
        assert other.ms_per_query["search"] > 0 and (other.ms_per_query["rerank"] > 0) == ("+" in other.method)


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


def test_a_row_of_other_packages_is_not_remembered(world, tmp_path, monkeypatch):
    benchmark, method = world
    runner.run(benchmark, method, {}, finished=Ledger(tmp_path, benchmark, method, {}).keep)
    assert Ledger(tmp_path, benchmark, method, {}).recall("global") is not None
    monkeypatch.setattr(versions, "PACKAGES", (*versions.PACKAGES, "absl-py"))
    assert Ledger(tmp_path, benchmark, method, {}).recall("global") is None

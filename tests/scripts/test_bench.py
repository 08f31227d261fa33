"""The machinery of the benchmark, and that its references are what they say."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from matching.indexes.table import search
from matching.rerankers.superglobal import SuperGlobal
from matching.rerankers.table import RERANKERS
from scripts.bench import measure, ransac_rerank, rerank, run, superglobal_rerank

ROOT = Path(__file__).parents[2]


def test_rounds_take_turns_and_medians_are_taken(monkeypatch):
    calls, now = [], [0.0]
    naps = {"a": [1.0, 50.0, 2.0], "b": [30.0, 40.0, 0.0]}

    def action(name, turn):
        calls.append(f"{name}{turn}")
        now[0] += naps[name][turn]

    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    actions = {name: partial(action, name) for name in naps}
    seconds = measure.interleaved(actions, 3)
    assert calls == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert seconds == {"a": 2.0, "b": 30.0}


def test_added_memory_is_the_highest_mark():
    """In a process of its own, as every row is: this one may hold freed memory that is used again."""
    lines = [
        "import numpy as np",
        "from scripts.bench.measure import added_memory",
        "print(added_memory(lambda: np.ones(10_000_000).sum()), added_memory(lambda: None))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    large, none = done.stdout.split()
    if large == "None":
        pytest.skip("the kernel does not tell")
    assert 75e6 < float(large) < 110e6
    assert float(none) < 5e6


def test_results_that_differ_end_the_row():
    measure.check(True, "nothing")
    with pytest.raises(RuntimeError, match="Not timed, because results differ: the rankings"):
        measure.check(False, "the rankings")


def row(name, ours=0.5):
    return {"name": name, "ours": ours, "reference": 2.0, "unit": "pair", "ratio": 4.0, "bound": None, "of_bound": None}


def test_rows_are_kept_in_order_and_replaced_by_name(tmp_path):
    path, order = tmp_path / "bench.json", ("one", "two", "three")
    for entry in (row("three"), row("one"), row("three", 0.25)):
        run.merge(path, entry, order)
    document = json.loads(path.read_text())
    assert [(entry["name"], entry["ours"]) for entry in document["rows"]] == [("one", 0.5), ("three", 0.25)]
    assert document["machine"]["cores"] >= 1
    assert document["versions"]["numpy"] == np.__version__


def test_the_table_is_in_milliseconds():
    lines = run.table([row("one") | {"notes": {"recall": 0.5}}]).splitlines()
    assert lines[1].split() == ["one", "500.000", "2000.000", "4.0", "x", "-", "-", "pair"]
    assert lines[2].strip() == "recall: 0.5"


def test_a_row_is_completed_with_its_ratios(monkeypatch):
    found = {"name": "fake", "ours": 0.5, "reference": 2.0, "unit": "query", "bound": 0.25, "notes": {"x": 1}}
    monkeypatch.setattr(superglobal_rerank, "row", lambda options: found | {"more": 1})
    complete = found | {"ratio": 4.0, "of_bound": 0.5}
    assert run.measured("superglobal_rerank", measure.Options()) == complete | {"name": "superglobal_rerank"}
    monkeypatch.setattr(superglobal_rerank, "row", lambda options: {"name": "fake", "ours": 1.0, "unit": "query"})
    assert run.measured("superglobal_rerank", measure.Options())["ratio"] is None


def test_the_literal_form_and_ours_rank_alike():
    queries, database = superglobal_rerank.descriptors(6, 200, 32)
    np.testing.assert_allclose(np.linalg.norm(database, axis=1), 1, atol=1e-6)
    first = search(queries, database)
    expected = [superglobal_rerank.literal(query, database, order, 50) for query, order in zip(queries, first.indices)]
    sources = superglobal_rerank.source(queries), superglobal_rerank.source(database)
    assert superglobal_rerank.same(SuperGlobal(50)(*sources, first), expected)
    assert not superglobal_rerank.same(SuperGlobal(50, k=8)(*sources, first), expected)
    assert not superglobal_rerank.same(first, expected)


def test_the_reference_of_ransac_finds_what_the_released_code_found():
    pytest.importorskip("skimage")
    from scripts.bench import ransac_rerank, released_matching

    released_matching.check_golden()
    query, candidates, truths = ransac_rerank.scene(0.3, seed=0)
    assert (len(query), len(candidates), len(truths[0])) == (1000, 100, 300)
    pairs, inliers = released_matching.reference(query, candidates[0])
    assert len(pairs) == 1000
    assert ransac_rerank.recall(inliers, truths[0]) > 0.95
    assert ransac_rerank.recall(inliers[:0], truths[0]) == 0


def test_a_row_may_name_its_size(monkeypatch):
    from scripts.bench import search_1m_exact

    monkeypatch.setattr(search_1m_exact, "row", lambda options: {"name": "x", "ours": 1.0, "notes": options.rows})
    found = run.measured("search_1m_exact@10000", measure.Options())
    assert (found["name"], found["notes"]) == ("search_1m_exact@10000", 10_000)
    assert set(run.SUBJECTS["growth"]) >= {"search_1m_exact@1000000", "search_1m_index@10000"}


@pytest.mark.parametrize("sizes", [[], [10_000], [10_000, 100_000, 1_000_000]])
def test_growth_is_drawn_of_what_there_is(sizes, tmp_path):
    pytest.importorskip("matplotlib")
    from scripts.bench import growth_plot

    for module in ("search_1m_exact", "search_1m_index"):
        for size in sizes:
            notes = {"one query alone, ms": 3.0} | ({"index, MB": size / 5000} if module.endswith("index") else {})
            run.merge(tmp_path / "growth.json", row(f"{module}@{size}") | {"notes": notes}, run.SUBJECTS["growth"])
    if not sizes:
        (tmp_path / "growth.json").write_text('{"rows": []}')
    picture = growth_plot.draw(tmp_path / "growth.json", tmp_path / "growth.svg").read_text(encoding="utf-8")
    assert "global descriptors, float16" in picture
    assert ("ivf_pq: in memory" in picture) == bool(sizes)


def test_the_index_grows_by_the_rows_of_its_lists():
    pytest.importorskip("matplotlib")
    from scripts.bench import growth_plot

    paper = growth_plot.index_on_paper(2.0)
    assert paper[0] == 2
    assert paper[3] == pytest.approx(2 + 1000 * 16 * (1e9 - 1e6) / 4096 * 128 / 5e9)


def test_every_reranker_has_a_row():
    assert rerank.WORKS.keys() == RERANKERS.keys()


@pytest.mark.parametrize("kind", ["superglobal", "fused"])
def test_a_row_of_a_reranker(kind, monkeypatch):
    monkeypatch.setattr(rerank, "CANDIDATES", 5)
    monkeypatch.setattr(ransac_rerank, "CANDIDATES", 5)
    measured = run.measured(f"rerank:{kind}@20", measure.Options(repeats=1, threads=2))
    assert measured["bound"] > 0 and measured["ours"] > 0
    assert {"on 1 thread, ms", "on 2 threads, ms"} <= measured["notes"].keys()
    assert "20 features" in measured["unit"]

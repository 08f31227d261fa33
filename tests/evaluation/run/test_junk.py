"""When junk leaves a ranking, and rankings as files of other programs."""

from dataclasses import replace
from unittest.mock import Mock

import pytest

from delg.common.errors import InputError
from delg.common.files import read_json
from evaluation.benchmarks.method import Method
from evaluation.benchmarks.table import build_benchmark
from evaluation.run import pipeline
from evaluation.run.result_cache import ResultCache
from extraction.pipeline import extract
from tests.evaluation.options import Config
from tests.evaluation.run.test_search import Reverse, ap, finished
from tests.evaluation.tiny import RED, MeanColour, paint, revisited_set


def run(config):
    return pipeline.benchmark(config, lambda line: None)


@pytest.fixture
def config(tmp_path):
    folder = revisited_set(tmp_path / "set")
    return Config(
        "landmarks", str(folder), output_dir=str(tmp_path / "out"), model="histogram", rerank=("superglobal(m=3, k=1)",)
    )


def test_kept_junk_is_seen_by_the_reranker_and_passed_over_in_scores(tmp_path):
    benchmark = build_benchmark("landmarks", str(revisited_set(tmp_path / "set")))
    stores = [
        extract(MeanColour(), images, tmp_path / name, progress=False)
        for name, images in (("queries", benchmark.queries), ("database", benchmark.database))
    ]
    method, reranker = Method("global", *stores), Reverse()
    row = finished(benchmark, method, reranker, junk="keep")
    values, top = ap(row), row.top
    assert len(reranker.given) == 1, "one ranking serves all protocols"
    assert reranker.given[0][0][:3] == ["a", "c", "b"]
    assert {tuple(rows[0]) for rows in top.values()} == {tuple(top["easy"][0])}
    # reversed: e or d first, then b (hard), c (junk), a (easy); without c and b, easy has a at rank 2
    assert values["easy"][0] == pytest.approx((0 + 1 / 3) / 2)
    assert values["medium"][0] == pytest.approx(((0 / 2 + 1 / 3) / 2 + (1 / 3 + 2 / 4) / 2) / 2)


def test_the_policy_is_recorded_and_gives_another_report(config, tmp_path):
    first = run(config)
    assert first.settings["junk"] == "remove_before_rerank"
    kept = run(replace(config, junk="keep"))
    assert kept.settings["junk"] == "keep" and kept.settings["fingerprint"] != first.settings["fingerprint"]
    assert "junk is passed over when it is scored" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(InputError, match="--junk"):
        run(replace(config, junk="drop"))


def test_keeping_the_query_itself_is_refused(config, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / "x").mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / "x" / f"{name}.jpg").write_bytes((tmp_path / "set" / "jpg" / f"{name}.jpg").read_bytes())
    own = replace(config, benchmark="folders", data_dir=str(tmp_path / "photos"), junk="keep")
    with pytest.raises(InputError, match="junk of folders holds the query itself"):
        run(own)


def test_rankings_are_written_for_other_programs(config, tmp_path):
    config = replace(config, predictions=("trec", "gldv2", "msls"), predictions_top_k=2)
    run(config)
    folder = tmp_path / "out" / "predictions"
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 2 * 3 * 3  # rows, protocols, formats
    found = {name.split("-")[0] + name[name.index(".") :]: (folder / name).read_text() for name in files}
    easy = found["global.easy.trec"].splitlines()
    assert easy[0].split() == ["q0", "Q0", "a", "1", "2", "global"]
    assert all(len(line.split()) == 6 for line in easy) and len(easy) == 4
    assert {line.split()[2] for line in easy[:2]}.isdisjoint({"b", "c"}), "junk of the easy protocol was written"
    assert found["global.medium.gldv2"].splitlines()[0] == "id,images"
    assert found["global.medium.gldv2"].splitlines()[1].startswith("q0,a ")
    assert found["global.medium.msls"].splitlines()[0].split()[:2] == ["q0", "a"]
    assert read_json(tmp_path / "out" / "report.json")["settings"]["predictions"] == {
        "formats": ["gldv2", "msls", "trec"],
        "top_k": 2,
    }


def test_lost_predictions_are_written_again(config, tmp_path):
    config = replace(config, predictions=("trec",))
    run(config)
    lost = next((tmp_path / "out" / "predictions").iterdir())
    text = lost.read_text()
    lost.unlink()
    run(config)
    assert lost.read_text() == text


def test_rows_stay_when_predictions_are_turned_off_and_on(config, tmp_path):
    times = []
    for predictions in (("trec",), (), ("trec",)):
        said = []
        pipeline.benchmark(replace(config, predictions=predictions), said.append)
        times.append({path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "predictions").iterdir()})
        assert sum(line.endswith("(cached)") for line in said) == (2 if len(times) > 1 else 0)
    assert times[0] == times[2]
    pipeline.benchmark(replace(config, predictions=("trec",), predictions_top_k=1), said.append)
    assert all(path.stat().st_mtime_ns != time for path, time in times[0].items()), "shorter rankings are written"


def test_rankings_of_other_features_do_not_stay(config, tmp_path):
    """A run on other features that stops after its first rankings leaves none of them to the run before it."""
    config = replace(config, predictions=("trec",), rerank=())
    run(config)
    folder = tmp_path / "out" / "predictions"
    before = {path.name: path.read_text() for path in folder.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResultCache, "put", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(replace(config, model="rootsift", features_dir=str(tmp_path / "other")))
    assert {path.name: path.read_text() for path in folder.iterdir()} != before
    run(config)
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": ("csv",)}, "--predictions"),
        ({"predictions": ("trec",), "predictions_top_k": 0}, "--predictions_top_k"),
    ],
)
def test_wrong_predictions_end_in_a_sentence_before_any_work(config, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        run(replace(config, **change))
    assert not (tmp_path / "out" / "features").exists()


@pytest.mark.parametrize("stem", ["a b", "a,b", 'a"b', "a\nb", "a\xa0b"])
@pytest.mark.parametrize("folder", ["database", "queries"])
def test_ids_that_a_submission_cannot_hold_are_refused_before_any_work(tmp_path, stem, folder):
    for name in ("database/one 1/x", "database/two/y", "queries/one 1/z", f"{folder}/two/{stem}"):
        paint(tmp_path / f"{name}.png", RED)
    given = {"queries_dir": str(tmp_path / "queries"), "rerank": ()}
    config = Config("folders", str(tmp_path / "database"), output_dir=str(tmp_path / "out"), model="histogram", **given)
    with pytest.raises(InputError, match=r"^--predictions=gldv2 cannot write the image '.*': an id of a submission"):
        run(replace(config, predictions=("gldv2",)))
    assert not (tmp_path / "out" / "features").exists()
    run(replace(config, predictions=("trec",)))


@pytest.mark.parametrize("form", ["gldv2", "msls"])
def test_ids_that_do_not_tell_images_apart_are_refused(tmp_path, form):
    for name in ("one/0", "one/1", "two/0"):
        paint(tmp_path / "photos" / f"{name}.png", RED)
    config = Config(
        "folders", str(tmp_path / "photos"), output_dir=str(tmp_path / "out"), model="histogram", predictions=(form,)
    )
    with pytest.raises(InputError, match=rf"--predictions={form} would write 'one/0' and 'two/0' with one id, 0\."):
        run(config)

"""The whole benchmark: from photos to report, interrupted and continued, and what a mistake is answered with."""

import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from delg.common.errors import InputError
from evaluation.run import features, pipeline, search
from evaluation.run.rerank_rows import reranker_names
from tests import processes
from tests.evaluation.options import Config
from tests.evaluation.tiny import revisited_set

FILES = ["metrics.txt", "report.html", "report.json", "report.md"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three instances, three views each: a texture of its own, shifted, with noise."""
    folder = tmp_path_factory.mktemp("world") / "photos"
    for instance in range(3):
        random = np.random.default_rng(instance)
        texture = np.kron(random.integers(0, 255, (24, 24, 3)), np.ones((8, 8, 1)))
        for view in range(3):
            part = texture[4 * view : 4 * view + 144, 6 * view : 6 * view + 160]
            noisy = np.clip(part + random.normal(0, 4, part.shape), 0, 255).astype(np.uint8)
            path = folder / f"object{instance}" / f"{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy).save(path)
    return folder


@pytest.fixture
def config(photos, tmp_path):
    model = "rootsift(max_feature_num=60)"
    return Config(
        "folders",
        str(photos),
        output_dir=str(tmp_path / "out"),
        model=model,
        rerank=("ransac", "superglobal(m=5, k=2)"),
    )


def run(config):
    said = []
    return pipeline.benchmark(config, said.append), "\n".join(said)


def delg(*arguments, cwd):
    return processes.run("benchmark", *arguments, cwd=cwd)


def test_the_command_goes_from_photos_to_a_report(photos, tmp_path):
    arguments = ("--benchmark=folders", f"--data_dir={photos}", "--model=rootsift(max_feature_num=60)")
    done = delg(*arguments, "--baselines=histogram", "--output_dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(FILES) <= {path.name for path in (tmp_path / "out").iterdir()}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    methods = ["global", "global+ransac", "global+superglobal"]
    methods += ["histogram", "histogram+ransac", "histogram+superglobal"]
    assert [row["method"] for row in report["rows"]] == methods
    for row in report["rows"]:
        named = ["mAP", "mP@1", "mP@5", "mP@10", "R@1", "R@5", "R@10"]
        assert list(row["metrics"]) == ["all"] and list(row["metrics"]["all"]) == named
        assert all(0 <= value <= 100 for value in row["metrics"]["all"].values())
        assert list(row["ms_per_query"]) == ["search", "rerank"] and list(row["bytes_per_image"]) == ["global", "local"]
    assert report["rows"][1]["metrics"]["all"]["mAP"] == 100.0
    assert report["settings"]["leave_one_out"] and not (tmp_path / "out" / "features" / "global" / "queries").exists()
    assert report["rows"][1]["metrics"]["all"]["R@1"] == 100.0
    matched = report["settings"]["rerank"]["ransac"]
    assert matched["mutual"] and matched["one_per_place"] and matched["residual_share"] == 0.015, "own photos"
    page = (tmp_path / "out" / "report.md").read_text()
    assert "R@1 all" in page and "R@k is the share of queries with any right image" in page
    assert "\n  R@k[ 1  5 10] [100. 100. 100.]\n" in (tmp_path / "out" / "metrics.txt").read_text()
    assert "global+ransac" in done.stdout and done.stdout.rstrip().endswith(str(tmp_path / "out" / "report.html"))
    assert (tmp_path / "out" / "report.html").stat().st_size < 4_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data_dir=x", "--model=rootsift", "--output_dir=out"], "--benchmark"),
        (["--benchmark=oxford", "--data_dir=x", "--model=rootsift", "--output_dir=out"], "choices are csv, folders"),
    ],
)
def test_the_command_ends_in_one_sentence(tmp_path, arguments, message):
    done = delg(*arguments, cwd=tmp_path)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_finished_report_is_found_and_repeats_nothing(config, monkeypatch):
    first, said = run(config)
    assert "already complete" not in said and "mAP all" in said
    monkeypatch.setattr(pipeline, "run", lambda *_: pytest.fail("a finished stage was repeated"))
    again, said = run(config)
    assert "report.json: the report of these features and rerankers is already complete." in said
    assert again == first or again.to_json() == first.to_json()
    assert "global+ransac" in said and "report.html" in said


def test_photos_that_came_later_are_shown_without_a_second_search(tmp_path, monkeypatch):
    folder = revisited_set(tmp_path / "set")
    run(Config("landmarks", str(folder), output_dir=str(tmp_path / "out"), model="histogram", rerank=()))
    made = tmp_path / "out" / "features" / "global"
    bare = Config(
        "landmarks", str(folder), output_dir=str(tmp_path / "two"), rerank=(), index_features_dir=str(made / "database")
    )
    bare = replace(bare, query_features_dir=str(made / "queries"))
    pages = []
    for old, new in (("jpg", "away"), ("away", "jpg")):
        (folder / old).rename(folder / new)
        run(bare)
        pages.append((tmp_path / "two" / "report.html").read_text())
        monkeypatch.setattr(search, "observe", lambda *given, **more: pytest.fail("a row was made again"))
    assert ["Missing images are not shown" in page for page in pages] == [True, False]
    assert pages[0].count("<img") < pages[1].count("<img")


def test_an_interrupted_run_keeps_its_rows(config, tmp_path, monkeypatch):
    first, _ = run(config)
    (tmp_path / "out" / "report.json").unlink()
    next((tmp_path / "out" / "results").glob("global+superglobal-*")).unlink()
    ran = []
    observe = search.observe
    monkeypatch.setattr(search, "observe", lambda *given, **more: ran.append(given[3]) or observe(*given, **more))
    again, _ = run(config)
    assert len(ran) == 1 and ran[0].top_k == 5
    assert again.rows[:2] == first.rows[:2]
    assert again.rows[2].metrics == first.rows[2].metrics


def test_other_rerankers_give_another_report(config):
    first, _ = run(config)
    other, said = run(replace(config, rerank=("superglobal(m=3, k=1)", "superglobal(m=4, k=1)")))
    assert "already complete." not in said
    assert [r.method for r in other.rows] == ["global", "global+superglobal(m=3, k=1)", "global+superglobal(m=4, k=1)"]
    assert other.settings["rerank"]["superglobal(m=3, k=1)"]["beta"] == 0.15
    assert other.rows[0] == first.rows[0]


def test_a_chain_is_one_row(photos, tmp_path):
    arguments = ("--benchmark=folders", f"--data_dir={photos}", "--model=rootsift(max_feature_num=60)")
    rerank = "--rerank=superglobal(m=5, k=2) | ransac(top_k=4), ransac"
    done = delg(*arguments, rerank, "--output_dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    name = "global+superglobal|ransac"
    assert [row["method"] for row in report["rows"]] == ["global", name, "global+ransac"]
    recorded = report["settings"]["rerank"]["superglobal|ransac"]
    assert recorded["name"] == "superglobal|ransac"
    assert (recorded["1"]["name"], recorded["1"]["m"], recorded["1"]["beta"]) == ("superglobal", 5, 0.15)
    assert (recorded["2"]["name"], recorded["2"]["top_k"]) == ("ransac", 4)
    row = next(line for line in (out / "report.md").read_text().splitlines() if line.startswith("| global+superglobal"))
    assert row.startswith(r"| global+superglobal\|ransac | ")
    assert "all_after_superglobal|ransac\n  mAP=" in (out / "metrics.txt").read_text()
    page = (out / "report.html").read_text()
    assert f"{name}</th>" in page.replace("\u200b", "") and 'id="matches"' in page  # lines may break inside of names
    assert name in done.stdout
    again = delg(*arguments, rerank, "--output_dir=out", cwd=tmp_path)
    assert "already complete" in again.stdout


def test_chains_with_the_same_links_are_told_apart():
    names = reranker_names(["superglobal|ransac", "superglobal | ransac(top_k=50)", "ransac"])
    assert list(names) == ["superglobal|ransac", "superglobal|ransac(top_k=50)", "ransac"]
    with pytest.raises(InputError, match="named twice"):
        reranker_names(["superglobal|ransac", "superglobal | ransac"])


def test_queries_are_cropped(tmp_path):
    folder = revisited_set(tmp_path / "set")
    config = Config(
        "landmarks", str(folder), output_dir=str(tmp_path / "out"), model="histogram", baselines=("rootsift",)
    )
    report, _ = run(replace(config, rerank=("superglobal(m=3, k=1)", "alpha_qe")))
    methods = ["global", "global+superglobal", "global+alpha_qe"]
    methods += ["rootsift", "rootsift+superglobal", "rootsift+alpha_qe"]
    assert [row.method for row in report.rows] == methods
    assert report.protocols == ["easy", "medium", "hard"] and "R@1" not in report.rows[0].metrics["easy"]
    assert report.rows[0].metrics["easy"]["mAP"] == 100.0, "the query was not cropped to its red half"
    assert report.settings["queries_cropped"] and report.settings["queries_without_positives"]["hard"] == 1
    assert np.isnan(report.queries["ap"]["global"]["hard"][1])
    assert report.queries["names"] == ["q0", "q1"] and report.queries["ap"]["global"]["easy"] == [100.0, 100.0]


def textured_set(folder):
    """That of :func:`revisited_set` with larger images that have local features, and whole queries."""
    random = np.random.default_rng(0)
    for path in sorted((revisited_set(folder) / "jpg").iterdir()):
        blocks = np.kron(random.integers(0, 256, (12, 16, 3)), np.ones((8, 8, 1)))
        Image.fromarray(blocks.astype(np.uint8)).save(path, quality=95)
    truth = folder / "gnd_landmarks.pkl"
    known = pickle.loads(truth.read_bytes())
    for query in known["gnd"]:
        query["bbx"] = [0.0, 0.0, 128.0, 96.0]
    truth.write_bytes(pickle.dumps(known, 2))
    return folder


def test_local_rerankers_expect_local_features(tmp_path):
    folder = revisited_set(tmp_path / "set")  # of one colour each: no keypoints
    config = Config("landmarks", str(folder), output_dir=str(tmp_path / "out"), model="histogram")
    for asked in ("ransac(top_k=9)", "superglobal(m=3, k=1) | ransac"):
        message = rf"^--rerank={re.escape(asked)} matches local features; .*queries holds none\.$"
        with pytest.raises(InputError, match=message):
            run(replace(config, rerank=("superglobal(m=3, k=1)", asked)))
    report, _ = run(config)
    assert [row.method for row in report.rows] == ["global", "global+superglobal"]


def test_inliers_are_measured_once(tmp_path, monkeypatch):
    folder = textured_set(tmp_path / "set")
    planes = {name: np.eye(3) for name in ("q0", "q1", *"abcde")}
    np.savez(folder / "homographies.npz", **planes)
    config = Config("landmarks", str(folder), output_dir=str(tmp_path / "out"), model="rootsift", rerank=("ransac",))
    measured, accuracy = [], {"percent": 1.0, "inliers": 9, "pairs": 3, "tolerance_px": 5.0}
    monkeypatch.setattr(pipeline, "inlier_accuracy", lambda *given: measured.append(given[3]["q0"][0, 0]) or accuracy)
    first, _ = run(config)
    (tmp_path / "out" / "report.json").unlink()
    again, _ = run(config)
    assert measured == [1.0], "measured once more"
    released = {"mutual": False, "one_per_place": False, "residual": 20.0, "residual_share": None}
    assert released.items() <= first.settings["rerank"]["ransac"].items(), "a published protocol"
    assert first.inlier_accuracy == again.inlier_accuracy == {"global+ransac": accuracy}
    np.savez(folder / "homographies.npz", **planes | {"q0": 2 * np.eye(3)})
    _, said = run(config)
    assert measured == [1.0, 2.0] and "already complete" not in said


def test_damaged_homographies_are_named_before_any_work(tmp_path):
    folder = revisited_set(tmp_path / "set")
    (folder / "homographies.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"homographies\.npz cannot be read"):
        run(Config("landmarks", str(folder), output_dir=str(tmp_path / "out"), model="histogram"))
    assert not (tmp_path / "out" / "features").exists()


def test_existing_stores_are_used_and_checked(tmp_path):
    folder = revisited_set(tmp_path / "set")
    config = Config("landmarks", str(folder), output_dir=str(tmp_path / "out"), model="histogram", rerank=())
    first, _ = run(config)
    made = tmp_path / "out" / "features" / "global"
    from_stores = replace(
        config, model=None, output_dir=str(tmp_path / "two"), index_features_dir=str(made / "database")
    )
    with pytest.raises(InputError, match="--query_features_dir"):
        run(from_stores)
    with pytest.raises(InputError, match=r"is not of this benchmark: 2 of its 2 images are missing and 5 are unknown"):
        run(replace(from_stores, query_features_dir=str(made / "database")))
    with pytest.raises(InputError, match="Expected no --features_dir and no --local_dtype: all features exist already"):
        run(replace(from_stores, features_dir=str(tmp_path / "kept"), local_dtype="float16"))
    assert not (tmp_path / "kept").exists()
    second, _ = run(replace(from_stores, query_features_dir=str(made / "queries")))
    assert [row.metrics["easy"] for row in second.rows] == [row.metrics["easy"] for row in first.rows]
    assert not (tmp_path / "two" / "features").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rerank": ("ransak",)}, "choices are alpha_dba, .*, ransac, superglobal"),
        ({"rerank": ("ransac(top=3)",)}, "its arguments are"),
        ({"rerank": ("ransac", "ransac")}, "named twice"),
        ({"baselines": ("sift",)}, "choices are .*histogram.*rootsift.*untrained"),
        ({"baselines": ("untrained",)}, "expects --model to be a model folder"),
        ({"baselines": ("rootsift", "rootsift")}, "named twice"),
        ({"index_features_dir": "x"}, "either --model, or --index_features_dir"),
        ({"query_features_dir": "x"}, "--query_features_dir"),
        ({"model": "no_such_folder"}, "neither a model folder nor an extractor"),
    ],
)
def test_mistakes_are_answered_before_any_work(config, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        run(replace(config, **change))
    assert not (tmp_path / "out" / "features").exists()


def test_an_output_folder_that_cannot_be_written(config, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        run(replace(config, output_dir=str(tmp_path / "file" / "out")))


def test_untrained_is_the_model_with_fresh_weights(tmp_path):
    assert features.sources(str(tmp_path), ["untrained"])[1].extractor == f"untrained(seed=0, model={str(tmp_path)!r})"
    model = "delg(model='m', max_image_size=64)"
    assert features.sources(model, ["untrained(seed=3)"])[1].extractor == (
        "untrained(seed=3, model='m', max_image_size=64)"
    )

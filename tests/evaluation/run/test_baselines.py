"""The row of RootSIFT + RANSAC: where it stands unasked, where not, and what is said then."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from delg.common.errors import InputError
from delg.common.files import read_json
from evaluation.benchmarks.table import build_benchmark
from evaluation.metrics.truth import Truth
from evaluation.run import baselines, pipeline
from extraction.extractors.histogram import Histogram
from extraction.extractors.rootsift import RootSift
from extraction.pipeline import extract
from tests import processes
from tests.evaluation.options import Config


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two walls of three photos each."""
    root, random = tmp_path_factory.mktemp("floor") / "photos", np.random.default_rng(0)
    for name in ("one", "two"):
        wall = random.integers(0, 255, (16, 16, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        (root / name).mkdir(parents=True)
        for n in range(3):
            Image.fromarray(wall[4 * n : 110 + 4 * n, 6 * n : 110 + 6 * n]).save(root / name / f"{n}.png")
    return root


def rows(report):
    return [row.method for row in report.rows]


def run(photos, output, **changes):
    given = {"baselines": None, "rerank": ("superglobal(m=3, k=1)",)} | changes
    return pipeline.benchmark(
        Config("folders", str(photos), output_dir=str(output), model="histogram", **given), lambda line: None
    )


def test_the_command_adds_it_on_photos(photos, tmp_path):
    command = ["benchmark", "--benchmark=folders", f"--data_dir={photos}", "--model=histogram"]
    command += ["--rerank=superglobal(m=3, k=1)", "--output_dir=out"]
    done = processes.run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = read_json(tmp_path / "out" / "report.json")
    found = ["global", "global+superglobal", "rootsift", "rootsift+superglobal", "rootsift+ransac"]
    assert [row["method"] for row in report["rows"]] == found
    assert report["rows"][-1]["metrics"]["all"]["mAP"] == 100
    assert report["settings"]["rerank"]["ransac"]["top_k"] == 100
    done = processes.run(*command, "--baselines=", cwd=tmp_path)
    assert done.returncode == 0 and "rootsift" not in done.stdout


def test_it_is_not_ransac_twice_and_not_beside_itself(photos, tmp_path):
    assert rows(run(photos, tmp_path / "a", rerank=("ransac(top_k=2)",))) == [
        "global",
        "global+ransac",
        "rootsift",
        "rootsift+ransac",
    ]
    own = baselines.choose(None, "rootsift(max_image_size=64)", build_benchmark("folders", str(photos)))
    assert own == baselines.Baselines(())


def test_without_a_model_and_weights_rootsift_is_measured_once(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DELG_OFFLINE", "1")
    config = Config(
        "folders", str(photos), output_dir=str(tmp_path / "out"), baselines=None, rerank=("superglobal(m=3, k=1)",)
    )
    report = pipeline.benchmark(config, lambda line: None)
    assert rows(report) == ["global", "global+superglobal"]
    assert report.settings["model"] == "rootsift"


def test_local_features_alone_are_refused_before_any_image(photos, tmp_path):
    with pytest.raises(InputError, match="pair"):
        run(photos, tmp_path, baselines=("tests.evaluation.run.test_baselines:LocalOnly",))
    assert not list(tmp_path.rglob("*.npy"))


class LocalOnly(RootSift):
    """RootSIFT without a global descriptor."""

    heads = ("local",)


def test_without_rerankers_it_is_verified_all_the_same(photos, tmp_path):
    assert rows(run(photos, tmp_path, rerank=())) == ["global", "rootsift", "rootsift+ransac"]


def test_where_it_is_left_out_the_report_says_so(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_IMAGES", 5)
    report = run(photos, tmp_path / "large")
    assert rows(report) == ["global", "global+superglobal"]
    text = (tmp_path / "large" / "report.md").read_text()
    assert "RootSIFT + RANSAC is left out: the set has 6 images and 6 queries; --baselines=rootsift adds it." in text
    monkeypatch.undo()
    store = extract(Histogram(), build_benchmark("folders", str(photos)).database, tmp_path / "store", progress=False)
    given = {"index_features_dir": str(store.folder), "model": None, "rerank": (), "baselines": None}
    report = pipeline.benchmark(
        Config("folders", str(photos), output_dir=str(tmp_path / "given"), **given), lambda line: None
    )
    assert "left out: the features under test exist already" in report.settings["rootsift_row"]


def test_drawn_landmarks_distractors_and_unlabelled_sets_have_none(photos):
    chosen = build_benchmark("folders", str(photos))
    assert baselines.choose(None, "histogram", replace(chosen, name="landmarks")) == baselines.Baselines(())
    assert "distractors" in baselines.choose(None, "histogram", chosen, streamed=True).left_out
    assert baselines.choose((), "histogram", chosen) == baselines.Baselines(())
    nothing = [Truth(np.zeros(0, np.int64), np.zeros(0, np.int64)) for _ in chosen.queries]
    assert baselines.choose(None, "histogram", replace(chosen, protocols={"all": nothing})) == baselines.Baselines(
        ()
    ), "unlabelled"

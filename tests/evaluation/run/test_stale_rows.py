"""A row is recalled only where everything that made it is unchanged: features, weights, reranker, metric, all code."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import delg
from delg.common.errors import InputError
from delg.common.files import read_json
from delg.common.sources import PACKAGES
from delg.presets import preset_config
from evaluation.run import pipeline
from extraction.extractors.table import build_extractor
from extraction.images import list_images
from extraction.pipeline import extract
from extraction.store.reader import FeatureStore
from matching.rerankers import table
from matching.rerankers.alpha_qe import AlphaQE
from tests.evaluation.options import Config
from tests.evaluation.run.test_distractors import store, unit
from tests.tiny import BACKBONE

ROOT = Path(__file__).parents[3]
ROWS = ("global", "global+ransac", "global+superglobal")


@pytest.fixture
def photos(tmp_path):
    """Two walls, three views each, cut at other places."""
    for wall in range(2):
        texture = np.random.default_rng(wall).integers(0, 255, (20, 20, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        (tmp_path / "photos" / f"wall{wall}").mkdir(parents=True)
        for view in range(3):
            Image.fromarray(texture[5 * view :, 7 * view :]).save(tmp_path / "photos" / f"wall{wall}" / f"{view}.png")
    return tmp_path / "photos"


class Program:
    """A copy of the program, which a test edits and runs; an edit changes the size, or Python would take old code."""

    def __init__(self, folder, photos):
        self.folder, self.photos = folder, photos
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, file, old, new):
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file} has changed; the test edits {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def __call__(self):
        """Runs it; the rows with their mAP, and those that were recalled."""
        command = [sys.executable, "-m", "delg", "benchmark", "--benchmark=folders", f"--data_dir={self.photos}"]
        command += ["--model=rootsift(max_feature_num=60)", "--baselines=", "--rerank=ransac,superglobal"]
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        command += [f"--output_dir={self.folder / 'out'}"]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return rows(done.stdout)


def rows(text):
    """``{row: mAP}`` of all rows, and the set of those that were recalled."""
    found = re.findall(r"^(global[\w+]*): mAP all (\S+)( \(cached\))?$", text, re.MULTILINE)
    return {name: float(value) for name, value, _ in found}, {name for name, _, cached in found if cached}


def test_edited_code_makes_rows_anew(photos, tmp_path):
    run = Program(tmp_path / "copy", photos)
    first, cached = run()
    assert tuple(first) == ROWS and not cached
    assert run() == (first, set(ROWS))

    run.edit("evaluation/metrics/ranking.py", "return float(np.sum((before", "return 0.5 * float(np.sum((before")
    halved, cached = run()
    assert not cached and halved == pytest.approx({row: value / 2 for row, value in first.items()}, abs=0.01)

    run.edit(
        "extraction/extractors/rootsift.py",
        "return unit.astype(np.float32)",
        "return (unit[::-1].copy()).astype(np.float32)",
    )
    made = run.folder / "out" / "features" / "global" / "database"
    before = np.load(made / "global.npy")
    _, cached = run()
    assert not cached
    np.testing.assert_array_equal(np.load(made / "global.npy"), before[:, ::-1])

    run.edit("matching/rerankers/ransac.py", "class Ransac(", "OTHER = 1\n\n\nclass Ransac(")
    _, cached = run()
    assert cached == {"global", "global+superglobal"}, "other rows do not depend on this reranker"


def model(folder, seed):
    config = preset_config("delg_small") | {
        "backbone": BACKBONE,
        "embedding_dim": 16,
        "local_head": None,
        "local_dim": None,
    }
    keras.utils.set_random_seed(seed)
    delg.save(delg.Delg(**config), folder)


def test_other_weights_behind_a_path_make_rows_anew(photos, tmp_path):
    def run():
        said = []
        config = Config(
            "folders",
            str(photos),
            output_dir=str(tmp_path / "out"),
            model=str(tmp_path / "model"),
            rerank=("alpha_qe",),
        )
        pipeline.benchmark(config, said.append)
        return rows("\n".join(said))

    made = tmp_path / "out" / "features" / "global" / "database"
    model(tmp_path / "model", 0)
    _, cached = run()
    assert not cached and run()[1] == {"global", "global+alpha_qe"}
    first, report = FeatureStore.open(made).settings, read_json(tmp_path / "out" / "report.json")
    model(tmp_path / "model", 1)
    _, cached = run()
    assert not cached
    again = FeatureStore.open(made).settings
    assert again["weights_sha256"] != first["weights_sha256"]
    assert read_json(tmp_path / "out" / "report.json")["settings"]["features"] != report["settings"]["features"]
    assert run()[1] == {"global", "global+alpha_qe"}


@pytest.mark.parametrize("changed", ["weights", "code"])
def test_features_that_others_share_are_not_removed(photos, tmp_path, monkeypatch, changed):
    """Those of --features_dir, and of delg-extract, are refused where what made them has changed."""
    model(tmp_path / "model", 0)
    given = Config("folders", str(photos), output_dir=str(tmp_path / "out"), model=str(tmp_path / "model"), rerank=())
    given = replace(given, features_dir=str(tmp_path / "shared"))
    pipeline.benchmark(given, lambda line: None)
    made = tmp_path / "shared" / "global" / "database"
    before = (made / "manifest.json").read_bytes()
    if changed == "weights":
        model(tmp_path / "model", 1)
    else:
        monkeypatch.setattr("extraction.settings.source_sha256", lambda *makers: "0" * 64)
    with pytest.raises(InputError, match="weights_sha256" if changed == "weights" else "source_sha256"):
        pipeline.benchmark(given, lambda line: None)
    with pytest.raises(InputError, match="other settings"):
        extract(build_extractor(str(tmp_path / "model")), list_images(photos), made, progress=False)
    assert (made / "manifest.json").read_bytes() == before


class Learned(AlphaQE):
    """A reranker with a file of weights."""

    def __init__(self, weights, top_k=2):
        super().__init__(top_k=top_k)
        self.weights = Path(weights).read_text()


def test_other_weights_of_a_reranker_make_its_row_anew(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(table.RERANKERS, "learned", Learned)
    weights = tmp_path / "weights.bin"

    def run(text):
        weights.write_text(text)
        said = []
        rerank = (f"learned(weights={str(weights)!r})", "alpha_qe")
        pipeline.benchmark(
            Config("folders", str(photos), output_dir=str(tmp_path / "out"), model="histogram", rerank=rerank),
            said.append,
        )
        return rows("\n".join(said))[1]

    assert run("one") == set()
    assert run("one") == {"global", "global+learned", "global+alpha_qe"}
    assert run("two") == {"global", "global+alpha_qe"}


def test_features_that_changed_behind_a_path_make_rows_anew(photos, tmp_path):
    """Also where size and time of the file are the old ones."""
    base = Config("folders", str(photos), output_dir=str(tmp_path / "one"), model="histogram", rerank=())
    pipeline.benchmark(base, lambda line: None)
    features = tmp_path / "one" / "features" / "global" / "database"

    def run():
        said = []
        given = Config(
            "folders", str(photos), output_dir=str(tmp_path / "two"), rerank=(), index_features_dir=str(features)
        )
        pipeline.benchmark(given, said.append)
        return rows("\n".join(said))[1]

    assert run() == set() and run() == {"global"}
    array = features / "shard-00000" / "scores.npy"
    times = array.stat()
    np.save(array, np.load(array) / 2)
    assert array.stat().st_size == times.st_size
    os.utime(array, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run() == set() and run() == {"global"}


def test_answers_to_gldv2_are_made_anew(tmp_path, monkeypatch):
    monkeypatch.setitem(table.RERANKERS, "learned", Learned)
    random, weights = np.random.default_rng(0), tmp_path / "weights.bin"
    store(tmp_path, "q", unit(random, 3, 8).astype(np.float32))
    store(tmp_path, "i", unit(random, 9, 8).astype(np.float32))
    (tmp_path / "solution.csv").write_text("id,images,Usage\nq0,i1 i2,Private\nq1,i3,Private\nq2,i4,Private\n")

    def run(text):
        weights.write_text(text)
        said = []
        given = {"query_features_dir": str(tmp_path / "q"), "index_features_dir": str(tmp_path / "i")}
        given |= {"solution_file": str(tmp_path / "solution.csv"), "rerank": (f"learned(weights={str(weights)!r})",)}
        pipeline.benchmark(Config("gldv2_retrieval", None, output_dir=str(tmp_path / "out"), **given), said.append)
        return set(re.findall(r"^(global[\w+]*):.*\(cached\)$", "\n".join(said), re.MULTILINE))

    assert run("one") == set() and run("one") == {"global", "global+learned"}
    assert run("two") == {"global"} and run("two") == {"global", "global+learned"}
    monkeypatch.setattr("evaluation.run.result_cache.source_sha256", lambda *makers: "other code")
    assert run("two") == set()

"""The benchmark over official files: rankings made by a rule give the released scores."""

import json
import os
import pickle
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from delg.common.errors import InputError
from evaluation.benchmarks import groundtruth
from evaluation.run import pipeline
from extraction.formats.official_writer import write_features
from protos.arrays import write_global
from tests import processes
from tests.evaluation.options import Config
from tests.extraction.pictures import features
from tests.golden import rule
from tests.golden.conftest import FIRST, PARTS, WHOLE

GND = WHOLE / "gnd"
CASES = json.loads((PARTS[FIRST] / "metrics.json").read_text(encoding="utf-8"))["revisited"]
PROTOCOLS = ("easy", "medium", "hard")


def write_ranking(folder, truth, ranks):
    """Folders of ``.delg_global`` whose first stage ranks the images of query ``q`` as ``ranks[q]``."""
    n = len(truth["imlist"])
    for name, row in zip(truth["imlist"], np.eye(n, dtype=np.float32)):
        write_global(folder / "index" / f"{name}.delg_global", row)
    for name, order in zip(truth["qimlist"], ranks):
        scores = np.zeros(n)
        scores[np.asarray(order)] = np.arange(n, 0, -1)
        write_global(folder / "query" / f"{name}.delg_global", scores / np.linalg.norm(scores))


def as_pickle(folder, truth):
    (folder / "gnd_tiny.pkl").write_bytes(pickle.dumps(truth, 2))
    return folder / "gnd_tiny.pkl"


def as_mat(folder, truth):
    """MATLAB's form: cells of text, a struct array, rows that count from 1."""
    cells = {key: np.array(truth[key], dtype=object)[None] for key in ("imlist", "qimlist")}
    names = ["bbx", "easy", "hard", "junk"]
    records = np.zeros((1, len(truth["gnd"])), [(name, object) for name in names])
    for i, entry in enumerate(truth["gnd"]):
        box = np.array(entry.get("bbx", [0, 0, 1, 1]), np.float64)
        records[0, i] = (box, *((np.array(entry[name], np.int64) + 1).astype(np.uint16) for name in names[1:]))
    savemat(folder / "gnd_tiny.mat", cells | {"gnd": records})
    return folder / "gnd_tiny.mat"


def dataset(case):
    n = len(case["ranks"][0])
    queries = [f"q{i}" for i in range(len(case["ground_truth"]))]
    return {"imlist": [f"i.{i}" for i in range(n)], "qimlist": queries, "gnd": case["ground_truth"]}


def run(config):
    said = []
    return pipeline.benchmark(config, said.append), "\n".join(said)


def config_for(folder, path):
    where = {"query_features_dir": str(folder / "query"), "index_features_dir": str(folder / "index")}
    return Config(None, None, output_dir=str(folder / "out"), dataset_file_path=str(path), **where)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
@pytest.mark.parametrize("form", [as_pickle, as_mat], ids=["pkl", "mat"])
def test_rankings_by_rule_give_the_released_scores(tmp_path, case, form):
    truth = dataset(case)
    write_ranking(tmp_path, truth, case["ranks"])
    report, _ = run(config_for(tmp_path, form(tmp_path, truth)))
    assert report.benchmark == "tiny" and report.protocols == list(PROTOCOLS)
    assert [row.method for row in report.rows] == ["global", "global+superglobal"]
    for protocol in PROTOCOLS:
        row, expected = report.rows[0].metrics[protocol], case[protocol]
        np.testing.assert_allclose(row["mAP"], 100 * np.array(expected["mAP"], np.float64), rtol=0, atol=1e-8)
        precisions = [row[f"mP@{k}"] for k in (1, 5, 10)]
        np.testing.assert_allclose(precisions, 100 * np.array(expected["mP"], np.float64), rtol=0, atol=1e-8)
        ap = np.array(expected["AP"], np.float64)
        np.testing.assert_allclose(report.queries["ap"]["global"][protocol], 100 * ap, rtol=0, atol=1e-8)


def test_the_command_needs_no_images(tmp_path):
    truth, case = dataset(CASES[0]), CASES[0]
    write_ranking(tmp_path, truth, case["ranks"])
    as_pickle(tmp_path, truth)
    arguments = ["--dataset_file_path=gnd_tiny.pkl", "--query_features_dir=query", "--index_features_dir=index"]
    done = processes.run("benchmark", *arguments, "--output_dir=out", "--rerank=", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "metrics.txt").read_text().splitlines()
    assert lines[::4] == ["easy", "hard", "medium"]
    assert lines[9] == f"  mAP={np.around(100 * case['medium']['mAP'], 2)}" and lines[10].startswith(
        "  mP@k[ 1  5 10] ["
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Missing images are not shown." in page and "no image" in page and "data:image" not in page
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert settings["benchmark"] == "tiny" and settings["dataset_file_path"] == "gnd_tiny.pkl"
    assert "data_dir" not in settings and "tensorflow" not in done.stderr.lower()


def test_local_features_are_reranked(tmp_path):
    truth = {
        "imlist": ["a", "b", "c"],
        "qimlist": ["q"],
        "gnd": [{"bbx": [1.0, 1.0, 9.0, 9.0], "easy": [2], "hard": [1], "junk": []}],
    }
    for seed, name in enumerate(truth["imlist"]):
        write_features(tmp_path / "index", features(name, 60, seed, local_dim=16))
    write_features(tmp_path / "query", replace(features("c", 60, 2, local_dim=16), name="q"))
    config = config_for(tmp_path, as_pickle(tmp_path, truth))
    report, said = run(config)
    assert [row.method for row in report.rows] == ["global", "global+ransac", "global+superglobal"]
    assert report.rows[1].metrics["easy"]["mAP"] == 100.0 and "global+ransac" in said
    assert report.rows[1].bytes_per_image["local"] == np.mean([p.stat().st_size for p in tmp_path.glob("index/*local")])
    assert "easy_after_gv" in (tmp_path / "out" / "metrics.txt").read_text()
    again, said = run(config)
    assert "already complete" in said and again.to_json() == report.to_json()


@pytest.mark.parametrize("form", [as_pickle, as_mat], ids=["pkl", "mat"])
def test_a_dataset_file_finds_its_images(tmp_path, form):
    truth = dataset(CASES[0])
    truth["gnd"] = [entry | {"bbx": [1.5, 2.0, 30.0, 40.0]} for entry in truth["gnd"]]
    path = form(tmp_path, truth)

    def find(*given):
        return pipeline.find_benchmark(Config(*given, output_dir="out", dataset_file_path=str(path)))

    found = find(None, None)
    assert found.database[1].path == str(tmp_path / "jpg" / "i.1.jpg") and found.database[1].name == "i.1"
    assert found.queries[0].crop == (1.5, 2.0, 30.0, 40.0) and found.name == "tiny"
    assert find("roxford5k", "photos").name == "roxford5k"
    assert find(None, "photos").database[0].path == str(Path("photos") / "i.0.jpg")
    (tmp_path / "set" / "jpg").mkdir(parents=True)
    assert find(None, str(tmp_path / "set")).queries[0].path == str(tmp_path / "set" / "jpg" / "q0.jpg")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset_file_path": None}, "Expected --benchmark, or --dataset_file_path"),
        ({"benchmark": "folders"}, "--benchmark"),
        ({"queries_dir": "x"}, "--queries_dir"),
        ({"query_features_dir": None}, "Expected --query_features_dir"),
        ({"dataset_file_path": "none.mat"}, "none.mat cannot be read"),
        ({"index_features_dir": "none"}, "none holds no features"),
    ],
)
def test_mistakes_end_in_a_sentence(tmp_path, change, message):
    truth = dataset(CASES[0])
    write_ranking(tmp_path, truth, CASES[0]["ranks"])
    with pytest.raises(InputError, match=message):
        run(replace(config_for(tmp_path, as_pickle(tmp_path, truth)), **change))


def test_a_missing_and_a_damaged_file_are_named(tmp_path):
    truth = dataset(CASES[0])
    write_ranking(tmp_path, truth, CASES[0]["ranks"])
    config = config_for(tmp_path, as_pickle(tmp_path, truth))
    (tmp_path / "index" / "i.7.delg_global").write_bytes(b"\x0a\x03")
    with pytest.raises(InputError, match=r"i\.7\.delg_global is damaged"):
        run(config)
    (tmp_path / "index" / "i.7.delg_global").unlink()
    with pytest.raises(InputError, match=r"of 1 of 120 images; the first is i\.7\.delg_global"):
        run(config)


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_ground_truth_that_would_run_a_command_is_refused_and_nothing_runs(tmp_path):
    truth, trace = dataset(CASES[0]), tmp_path / "trace"
    path = as_pickle(tmp_path, truth | {"imlist": Runs(os.system, f"touch {trace}")})
    arguments = [f"--dataset_file_path={path}", "--query_features_dir=q", "--index_features_dir=i", "--output_dir=out"]
    done = processes.run("benchmark", *arguments, cwd=tmp_path)
    assert done.returncode == 1 and "is refused" in done.stderr and "system" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.strip().count("\n") == 0
    assert not trace.exists()
    pickle.loads(path.read_bytes())  # the file is a live one
    assert trace.exists()


def test_the_two_forms_hold_the_same(tmp_path):
    truth = dataset(CASES[1])
    left, right = (groundtruth.load(form(tmp_path, truth)) for form in (as_pickle, as_mat))
    assert (left.database, left.queries) == (right.database, right.queries)
    for one, two in zip(left.labels, right.labels, strict=True):
        for name in groundtruth.SETS:
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
            assert getattr(two, name).dtype == np.int64


def test_a_mat_file_of_one_query_and_one_row(tmp_path):
    truth = {"imlist": ["only"], "qimlist": ["q"], "gnd": [{"bbx": [1, 2, 3, 4], "easy": [0], "hard": [], "junk": []}]}
    found = groundtruth.load(as_mat(tmp_path, truth))
    assert (found.database, found.queries) == (["only"], ["q"])
    assert found.labels[0].easy.tolist() == [0] and found.labels[0].hard.tolist() == []
    assert found.labels[0].bbx == (1.0, 2.0, 3.0, 4.0)


def test_wrong_mat_files_end_in_a_sentence(tmp_path):
    truth = dataset(CASES[0])
    path = as_mat(tmp_path, truth | {"gnd": [entry | {"easy": [-1]} for entry in truth["gnd"]]})
    with pytest.raises(InputError, match=r"below 120\. Received: -1"):
        groundtruth.load(path)
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        groundtruth.load(path)
    savemat(path, {"imlist": ["a"], "other": 1})
    with pytest.raises(InputError, match=r"expects the variables imlist, qimlist and gnd\. Received: imlist, other\."):
        groundtruth.load(path)
    savemat(path, {"imlist": np.array(["a"], object), "qimlist": np.array(["q"], object), "gnd": 3.0})
    with pytest.raises(InputError, match=r"query 'q' expects the sets easy, hard and junk"):
        groundtruth.load(path)
    with pytest.raises(InputError, match=r"none\.mat cannot be read: No such file"):
        groundtruth.load(tmp_path / "none.mat")


@pytest.mark.slow
@pytest.mark.skipif(not GND.is_dir(), reason="needs the real ground truth")
def test_the_real_sizes_are_quick_and_right(tmp_path):
    expected = json.loads((PARTS[FIRST] / "metrics.json").read_text(encoding="utf-8"))["revisited_real"]["roxford5k"]
    path = GND / "gnd_roxford5k.pkl"
    truth = groundtruth.read_plain_pickle(path)
    ranks = rule.revisited_ranks(truth["gnd"], expected["n_images"], expected["seed"])
    write_ranking(tmp_path, truth, ranks.T)
    start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    arguments = [f"--{part}_features_dir={part}" for part in ("query", "index")]
    command = [sys.executable, "-m", "delg", "benchmark", f"--dataset_file_path={path}", *arguments, "--output_dir=out"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start < 60  # however busy the machine is
    found = json.loads((tmp_path / "out" / "report.json").read_text())["rows"][0]["metrics"]
    for protocol in PROTOCOLS:
        assert found[protocol]["mAP"] == pytest.approx(100 * expected[protocol]["mAP"], abs=1e-8)

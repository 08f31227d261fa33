"""GLDv2 from features: answers and scores against loops over all pairs."""

import subprocess
import sys

import numpy as np
import pytest

from evaluation import landmark_run
from evaluation.landmark_metrics import Prediction, gap, mean_average_precision
from evaluation.landmark_run import Config, run
from protos.errors import InputError
from tests.evaluation.test_distractors import store, unit

CLASSES, IMAGES, QUERIES, SIZE = 12, 10, 40, 16


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An index of 12 classes, 40 queries of them, four of none; solutions, and what loops would answer."""
    folder, random = tmp_path_factory.mktemp("gldv2"), np.random.default_rng(0)
    centres = unit(random, CLASSES, SIZE)
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    index = centres[labels] + 1.7 * unit(random, len(labels), SIZE)
    shown = random.integers(0, CLASSES, QUERIES)
    queries = centres[shown] + 1.7 * unit(random, QUERIES, SIZE)
    queries[-4:] = unit(random, 4, SIZE)
    index, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (index, queries))
    store(folder, "q", queries.astype(np.float32)), store(folder, "i", index.astype(np.float32))
    (folder / "labels.csv").write_text("id,url,landmark_id\n" + "".join(f"i{n},u,{c}\n" for n, c in enumerate(labels)))
    right = {f"q{q}": [int(c)] if q < QUERIES - 4 else [] for q, c in enumerate(shown)}
    relevant = {f"q{q}": [f"i{n}" for n in np.flatnonzero(labels == shown[q])] for q in range(QUERIES - 4)}
    lines = [f"{q},{' '.join(map(str, c))},Public\n" for q, c in right.items()]
    (folder / "recognition.csv").write_text("id,landmarks,Usage\n" + "".join(lines))
    lines = [f"{q},{' '.join(names)},Private\n" for q, names in relevant.items()]
    lines += [f"q{q},i0,Ignored\n" for q in range(QUERIES - 4, QUERIES)]
    (folder / "retrieval.csv").write_text("id,images,Usage\n" + "".join(lines))
    return folder, queries, index, labels, right, relevant


def config(folder, output, task, **changes):
    places = (str(folder / "q"), str(folder / "i"), str(folder / f"{task}.csv"), str(output))
    return Config(f"gldv2_{task}", *places, **changes)


def test_recognition_is_that_of_loops(world, tmp_path, monkeypatch):
    folder, queries, index, labels, right, _ = world
    monkeypatch.setattr(landmark_run, "QUERIES", 7)
    report = run(config(folder, tmp_path, "recognition", labels_file=str(folder / "labels.csv"), neighbours=5))
    expected = {}
    for q, query in enumerate(queries):
        similarity = [float(np.dot(query, image)) for image in index]
        best = sorted(range(len(index)), key=lambda i: -similarity[i])[:5]
        sums = {c: sum(similarity[i] for i in best if labels[i] == c) for c in {int(labels[i]) for i in best}}
        label = max(sums, key=sums.get)
        expected[f"q{q}"] = Prediction(label, sums[label])
    found = report["rows"][0]["metrics"]["public"]["GAP"]
    assert found == pytest.approx(100 * gap(expected, right), abs=1e-9) and 20 < found < 99


def test_retrieval_is_that_of_loops(world, tmp_path):
    folder, queries, index, _, _, relevant = world
    report = run(config(folder, tmp_path, "retrieval"))
    expected = {
        f"q{q}": [f"i{i}" for i in sorted(range(len(index)), key=lambda i: -float(np.dot(query, index[i])))[:100]]
        for q, query in enumerate(queries)
    }
    found = report["rows"][0]["metrics"]["private"]["mAP@100"]
    assert found == pytest.approx(100 * mean_average_precision(expected, relevant), abs=1e-9) and 20 < found < 99
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert lines[0] == "id,images" and lines[1] == f"q0,{' '.join(expected['q0'])}"


def test_the_command_answers_and_scores(world, tmp_path):
    folder = world[0]
    command = [sys.executable, "-m", "delg", "benchmark", "--benchmark=gldv2_recognition", "--output_dir=out"]
    command += [f"--query_features_dir={folder / 'q'}", f"--index_features_dir={folder / 'i'}"]
    command += [f"--solution_file={folder / 'recognition.csv'}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "expects --labels_file" in done.stderr and "Traceback" not in done.stderr
    command.append(f"--labels_file={folder / 'labels.csv'}")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "GAP=" in done.stdout, done.stderr


def test_wrong_files_end_in_a_sentence(world, tmp_path):
    folder = world[0]
    (tmp_path / "some.csv").write_text("id,landmark_id\ni0,1\n")
    (tmp_path / "bad.csv").write_text("id,landmark_id\ni0,x\n")
    recognition = config(folder, tmp_path, "recognition", labels_file=str(tmp_path / "some.csv"))
    with pytest.raises(InputError, match="gives 119 of 120 index images no class, such as i1"):
        run(recognition)
    for changed, message in (
        (config(folder, tmp_path, "recognition", labels_file=str(tmp_path / "bad.csv")), "line 2: expected a whole"),
        (config(folder, tmp_path, "recognition", labels_file="x", neighbours=0), "expects 1 or more"),
        (Config("gldv2_retrieval", "q", "i", str(folder / "recognition.csv"), "o"), "a solution of gldv2_recognition"),
    ):
        with pytest.raises(InputError, match=message):
            run(changed)

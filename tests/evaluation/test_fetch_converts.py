"""delg-fetch converts what it brings: weights to a model folder, ground truth to JSON; over connections that drop."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

import delg
from evaluation import groundtruth
from evaluation.catalogue import CATALOGUE, File
from evaluation.fetching import convert_ground_truth, fetch
from protos.errors import InputError
from protos.files import read_json
from tests.evaluation.test_fetch import archive, server  # noqa: F401
from tests.evaluation.tiny import revisited_set


def entry(server, name, **more):  # noqa: F811
    return {"name": name, "urls": [f"{server.url}/{name}"]} | more


def command(tmp_path, catalogue, *more):
    (tmp_path / "own.json").write_text(json.dumps({"mine": catalogue}))
    given = [sys.executable, "-m", "delg", "fetch", "mine", "--catalogue=own.json", "--output_dir=out", *more]
    return subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_weights_become_a_model_folder(server, tmp_path):  # noqa: F811
    model = delg.from_preset("delg_small", seed=3)
    delg.save(model, tmp_path / "made")
    names = ("config.json", "model.weights.h5")
    server.files |= {name: (tmp_path / "made" / name).read_bytes() for name in names}
    catalogue = [entry(server, names[0]), entry(server, names[1], convert="model")]
    done = command(tmp_path, catalogue, "--noconvert")
    assert done.returncode == 0 and not (tmp_path / "out" / "model").exists(), done.stderr
    assert len(server.asked) > 5, "no connection dropped"
    done = command(tmp_path, catalogue, "--offline")
    assert done.returncode == 0 and "model.weights.h5 (delg_weights) -> " in done.stdout, done.stderr
    converted = delg.load(tmp_path / "out" / "model")
    for ours, theirs in zip(converted.weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    done = command(tmp_path, catalogue)
    assert done.returncode == 0 and "already holds this conversion" in done.stdout


def test_an_exported_model_without_variables_stays_as_it_is(server, tmp_path):  # noqa: F811
    server.files["r50.tar.gz"] = archive(**{"r50__saved_model.pb": b"no variables"})
    done = command(tmp_path, [entry(server, "r50.tar.gz", unpack="tree", convert="model")])
    assert done.returncode == 0, done.stderr
    assert "It runs as it is: --model=out/r50" in done.stdout and not (tmp_path / "out" / "model").exists()
    server.files["bad.pth"] = b"no weights"
    done = command(tmp_path, [entry(server, "bad.pth", convert="model")])
    assert done.returncode == 1 and "neither a PyTorch file" in done.stderr and "Traceback" not in done.stderr


def test_a_ground_truth_is_checked_and_written_as_json(server, tmp_path):  # noqa: F811
    path = revisited_set(tmp_path / "set") / "gnd_landmarks.pkl"
    server.files["gnd_landmarks.pkl"] = path.read_bytes()
    wanted = File("gnd_landmarks.pkl", (f"{server.url}/gnd_landmarks.pkl",), convert="ground_truth")
    said = []
    converters = {"ground_truth": convert_ground_truth}
    fetch((wanted,), str(tmp_path / "out"), converters=converters, say=said.append)
    assert said[-1].endswith("gnd_landmarks.json: 2 queries, 5 database images.")
    assert "no hash is published; SHA256SUMS keeps this one, copy it to pin it" in said[0]
    found, expected = (groundtruth.load(p) for p in (tmp_path / "out" / "gnd_landmarks.json", path))
    assert groundtruth.to_json(found) == groundtruth.to_json(expected) == read_json(tmp_path / "out/gnd_landmarks.json")
    assert found.labels[0].bbx.x2 == 24.0
    server.files["gnd_landmarks.pkl"] = pickle.dumps({"imlist": []})
    with pytest.raises(InputError, match="expects a dictionary with imlist, qimlist and gnd"):
        fetch((wanted,), str(tmp_path / "other"), converters=converters, say=said.append)


def test_the_sums_of_another_machine_pin_a_file(server, tmp_path):  # noqa: F811
    server.files["x.bin"] = b"changed since"
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  x.bin\n")
    with pytest.raises(InputError, match=f"expected is {'0' * 64}"):
        fetch((File("x.bin", (f"{server.url}/x.bin",)),), str(tmp_path), say=lambda line: None)


def test_the_listing_says_which_hashes_are_known(tmp_path):
    given = [sys.executable, "-m", "delg", "fetch", "--list"]
    done = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == sorted(CATALOGUE)
    files = [file for files in CATALOGUE.values() for file in files]
    assert sum("no SHA-256 published; the first download prints it" in line for line in lines) == sum(
        file.sha256 is None for file in files
    )
    assert any("gnd_roxford5k.pkl" in line and CATALOGUE["roxford5k"][0].sha256 in line for line in lines)

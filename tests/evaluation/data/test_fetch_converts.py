"""delg-fetch converts what it brings: weights to a model folder, ground truth to JSON; over connections that drop."""

import hashlib
import json
import pickle

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.common.files import read_json, write_json
from evaluation.benchmarks import groundtruth
from evaluation.benchmarks.gldv2 import CHALLENGES, LABELS, VERSION
from evaluation.data.catalogue import CATALOGUE, File, read_catalogue
from evaluation.data.fetching import convert_ground_truth, fetch
from tests import processes
from tests.evaluation.data.test_fetch import archive, server  # noqa: F401
from tests.evaluation.tiny import revisited_set
from tests.tiny import BACKBONE


def entry(server, name, **more):  # noqa: F811
    return {"name": name, "urls": [f"{server.url}/{name}"]} | more


def command(tmp_path, catalogue, *more):
    (tmp_path / "own.json").write_text(json.dumps({"mine": catalogue}))
    return processes.run("fetch", "mine", "--catalogue=own.json", "--output_dir=out", *more, cwd=tmp_path)


def test_weights_become_a_model_folder(server, tmp_path):  # noqa: F811
    model = delg.create("delg_small", backbone=BACKBONE, seed=3)
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
    done = processes.run("fetch", "--list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {line for line in lines if not line.startswith(" ")} > set(CATALOGUE), "and models with published weights"
    assert sum("no SHA-256 published; the first download prints it" in line for line in lines) == 18
    assert any("gnd_roxford5k.pkl" in line and CATALOGUE["roxford5k"][0].sha256 in line for line in lines)
    index = next(line for line in lines if "index/images_000.tar:" in line)
    assert "md5sum/index/md5.images_000.txt), and 99 more up to index/images_099.tar" in index


def test_the_sets_are_complete_and_lie_where_the_benchmarks_look():
    sizes = {name: len(CATALOGUE[f"gldv2_{name}"]) for name in ("test", "index", "train")}
    assert sizes == {"test": 20, "index": 100, "train": 500}
    assert {f"{task.removeprefix('gldv2_')}_solution_{VERSION}.csv" for task in CHALLENGES} | set(LABELS) == {
        file.name for file in CATALOGUE["gldv2_lists"]
    }
    last = CATALOGUE["revisitop1m"][-1]
    assert last.name == "jpg/revisitop1m.100.tar.gz" and last.urls[0].endswith(
        "/revisitop1m/jpg/revisitop1m.100.tar.gz"
    )
    names = [file.name for files in CATALOGUE.values() for file in files]
    assert len(set(names)) == len(names)


def test_archives_of_published_md5_go_into_the_folder_of_their_split(server, tmp_path):  # noqa: F811
    for split, name in (("index", "0123"), ("test", "abcd")):
        data = archive(**{f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg": b"photo"})
        server.files[f"{split}/images_000.tar"] = data
        server.files[f"{split}/md5.images_000.txt"] = f"{hashlib.md5(data).hexdigest()}  images_000.tar\n".encode()
        fetch(CATALOGUE[f"gldv2_{split}"][:1], str(tmp_path), mirror=server.url, say=lambda line: None)
    assert (tmp_path / "index/0/1/2/0123.jpg").is_file() and (tmp_path / "test/a/b/c/abcd.jpg").is_file()
    said, asked = [], len(server.asked)
    fetch(CATALOGUE["gldv2_index"][:1], str(tmp_path), mirror=server.url, say=said.append)
    assert "there already, its hash is right" in said[0] and len(server.asked) == asked


def test_an_archive_of_another_md5_is_refused(server, tmp_path):  # noqa: F811
    server.files["index/images_000.tar"] = archive(**{"0/1/2/0123.jpg": b"photo"})
    server.files["index/md5.images_000.txt"] = f"{'0' * 32}  images_000.tar\n".encode()
    with pytest.raises(InputError, match=rf"images_000\.tar came with the MD5 \w+, published is {'0' * 32};"):
        fetch(CATALOGUE["gldv2_index"][:1], str(tmp_path), mirror=server.url, say=lambda line: None)
    assert not (tmp_path / "index" / "images_000.tar").exists() and not (tmp_path / "SHA256SUMS").exists()
    server.files["index/md5.images_000.txt"] = b"<html>"
    with pytest.raises(InputError, match="gives no MD5, as md5sum writes it"):
        fetch(CATALOGUE["gldv2_index"][:1], str(tmp_path), mirror=server.url, say=lambda line: None)


def test_a_catalogue_of_ones_own_names_places_of_md5(tmp_path):
    given = {"name": "a.tar", "urls": ["http://x/a.tar"], "md5_urls": ["http://x/a.md5"]}
    write_json(tmp_path / "c.json", {"mine": [given]})
    assert read_catalogue(tmp_path / "c.json")["mine"][0].md5_urls == ("http://x/a.md5",)
    write_json(tmp_path / "c.json", {"mine": [given | {"md5_urls": "http://x/a.md5"}]})
    with pytest.raises(InputError, match="expects a list of md5_urls"):
        read_catalogue(tmp_path / "c.json")

"""What a user can get wrong ends in one sentence of the command, or is said in its report."""

import json
import math
import re
from dataclasses import replace

import pytest

from delg.common.errors import InputError
from delg.common.files import read_json, write_json
from evaluation.benchmarks.groundtruth import load, to_json
from evaluation.benchmarks.identity import not_released
from evaluation.benchmarks.revisited import from_dataset
from evaluation.benchmarks.table import build_benchmark
from evaluation.run.pipeline import benchmark as job
from extraction.extractors.rootsift import RootSift
from extraction.images import list_images
from extraction.pipeline import extract
from tests import processes
from tests.evaluation.options import Config
from tests.evaluation.tiny import GREEN, RED, paint, revisited_set
from tests.golden.conftest import WHOLE


def delg(tmp_path, *arguments):
    return processes.run(*arguments, cwd=tmp_path)


def benchmark(tmp_path, *arguments):
    return delg(tmp_path, "benchmark", "--rerank=", "--baselines=", "--output_dir=out", *arguments)


def refused(done, sentence):
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and sentence in done.stderr, done.stderr


def test_features_of_another_protocol(tmp_path):
    for name in ("one/a", "one/b", "two/c"):
        paint(tmp_path / "photos" / f"{name}.png", RED if name < "two" else GREEN)
    for size in (16, 32):
        images = list_images(tmp_path / "photos")
        extract(RootSift(max_image_size=size), images, tmp_path / f"s{size}", progress=False)
    given = ("--benchmark=folders", "--data_dir=photos", "--query_features_dir=s16", "--index_features_dir=s32")
    done = benchmark(tmp_path, *given)
    refused(
        done, "s16 and s32 were made with different settings: max_image_size (16 and 32). --allow_protocol_mismatch"
    )
    done = benchmark(tmp_path, *given, "--allow_protocol_mismatch")
    assert done.returncode == 0 and "PROTOCOL MISMATCH: The feature stores s16 and s32" in done.stdout, done.stderr


def test_missing_images(tmp_path):
    folder = revisited_set(tmp_path / "set", "roxford5k")
    (folder / "jpg" / "c.jpg").unlink()
    done = benchmark(tmp_path, "--benchmark=roxford5k", "--data_dir=set", "--model=histogram")
    refused(done, "roxford5k misses 1 of its 7 images; the first is set/jpg/c.jpg.")
    done = benchmark(tmp_path, "--benchmark=roxford5k", "--data_dir=none", "--model=histogram")
    refused(done, "none/gnd_roxford5k.pkl cannot be read: No such file or directory.")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x80\x02}q\x00X\x06", "expected a pickle of lists, text and numbers, but it ends too early"),
        (b"not a pickle", "expected a pickle of lists, text and numbers, but "),
        (b"\x80\x02}q\x00.", "expects a dictionary with imlist, qimlist and gnd. Received: nothing."),
    ],
)
def test_a_damaged_ground_truth(tmp_path, content, sentence):
    revisited_set(tmp_path / "set", "roxford5k")
    (tmp_path / "set" / "gnd_roxford5k.pkl").write_bytes(content)
    done = benchmark(tmp_path, "--benchmark=roxford5k", "--data_dir=set", "--model=histogram")
    refused(done, sentence)


def test_a_ground_truth_of_another_set_is_reported(tmp_path):
    revisited_set(tmp_path / "set", "roxford5k")
    done = benchmark(tmp_path, "--benchmark=roxford5k", "--data_dir=set", "--model=histogram")
    assert done.returncode == 0, done.stderr
    warning = "GROUND TRUTH: The ground truth set/gnd_roxford5k.pkl is not the released one of roxford5k"
    assert warning in done.stdout and warning in (tmp_path / "out" / "report.md").read_text()
    assert len(read_json(tmp_path / "out" / "report.json")["settings"]["ground_truth_sha256"]) == 64
    assert not_released(build_benchmark("landmarks", str(revisited_set(tmp_path / "own")))) is None


@pytest.mark.skipif(not (WHOLE / "gnd").is_dir(), reason="the real ground truth is not here")
@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_a_ground_truth_is_known_in_any_form(tmp_path, name):
    truth = load(WHOLE / "gnd" / f"gnd_{name}.pkl")
    write_json(tmp_path / f"gnd_{name}.json", to_json(truth))
    chosen = from_dataset(str(tmp_path / f"gnd_{name}.json"))
    assert chosen.name == name and not_released(chosen) is None
    truth.labels[3].easy[0], truth.labels[3].hard[0] = truth.labels[3].hard[0], truth.labels[3].easy[0]
    write_json(tmp_path / f"gnd_{name}.json", to_json(truth))
    assert f"is not the released one of {name}" in str(not_released(from_dataset(str(tmp_path / f"gnd_{name}.json"))))


def test_queries_without_positives(tmp_path):
    for name in ("one/a", "one/b", "two/c"):
        paint(tmp_path / "photos" / f"{name}.png", RED if name < "two" else GREEN)
    done = benchmark(tmp_path, "--benchmark=folders", "--data_dir=photos", "--model=histogram")
    said = "1 query has no positives under the protocol all, such as two/c."
    assert done.returncode == 0 and said in done.stdout, done.stderr
    assert json.loads((tmp_path / "out" / "report.json").read_text())["rows"][0]["metrics"]["all"]["mAP"] == 100
    (tmp_path / "photos" / "one" / "b.png").unlink()
    done = benchmark(tmp_path, "--benchmark=folders", "--data_dir=photos", "--model=histogram")
    refused(done, "No query of photos has an image of its instance in photos")


@pytest.fixture
def photos(tmp_path):
    """Three photos of two things, and what a run of them is asked for; it is given what was said."""
    for name in ("one/a", "one/b", "two/c"):
        paint(tmp_path / "photos" / f"{name}.png", RED if name < "two" else GREEN)
    return Config("folders", str(tmp_path / "photos"), output_dir=str(tmp_path / "out"), model="histogram", rerank=())


def test_a_published_model_without_values_of_the_benchmark(photos):
    message = (
        r"No value of superglobal_r101 on folders is known; there are some on roxford5k, roxford5k\+r1m, rparis6k\."
    )
    with pytest.raises(InputError, match=message):
        job(replace(photos, published="superglobal_r101"), lambda line: None)


def test_photos_that_cannot_be_read_are_told_at_the_end(photos, tmp_path):
    (tmp_path / "photos" / "one" / "z.png").write_bytes(b"no picture")
    said = []
    job(photos, said.append)
    assert any(line.startswith("1 database image could not be read and counts as not found: one/z (") for line in said)


def test_queries_of_very_few_things_are_told(photos, tmp_path):
    for name in ("one/d", "one/e", "two/f", "two/g", "two/h"):
        paint(tmp_path / "photos" / f"{name}.png", RED if name < "two" else GREEN)
    report = job(photos, lambda line: None)
    found = report.statistics["intervals"]["global"]["all"]
    assert len(set(report.queries["groups"])) == 2 and math.isnan(found["low"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "over 2 groups of queries that share right answers." in page and "Fewer than 3 groups have no" in page


def test_two_photos_of_a_thing_are_one_group(photos, tmp_path):
    for name in ("two/d", *(f"{thing}/{photo}" for thing in range(6) for photo in "ab")):
        paint(tmp_path / "photos" / f"{name}.png", GREEN)
    report = job(photos, lambda line: None)
    numbers = dict(zip(report.queries["names"], report.queries["groups"], strict=True))
    assert numbers["one/a"] == numbers["one/b"] != numbers["two/c"] == numbers["two/d"]
    assert len(set(numbers.values())) == 8


def test_a_changed_photo_is_named(photos, tmp_path):
    job(photos, lambda line: None)
    paint(tmp_path / "photos" / "one" / "b.png", GREEN, (90, 70))
    with pytest.raises(InputError) as refusal:
        job(photos, lambda line: None)
    place = re.escape(str(tmp_path / "photos" / "one" / "b.png"))
    assert re.search(f"are of other photos: {place} changed since\\. Remove that folder", str(refusal.value))


def test_what_was_right_is_recorded_where_no_file_says_it(photos, tmp_path):
    first = job(photos, lambda line: None).settings["answers_sha256"]
    (tmp_path / "photos").rename(tmp_path / "moved")
    moved = replace(photos, data_dir=str(tmp_path / "moved"), output_dir=str(tmp_path / "second"))
    assert job(moved, lambda line: None).settings["answers_sha256"] == first and len(first) == 64
    (tmp_path / "moved" / "two" / "c.png").rename(tmp_path / "moved" / "one" / "c.png")
    other = replace(moved, output_dir=str(tmp_path / "third"))
    assert job(other, lambda line: None).settings["answers_sha256"] != first
    (tmp_path / "moved" / "database.csv").write_text("path,label\none/a.png,x\none/b.png,x\none/c.png,y\n")
    listed = replace(other, benchmark="csv", output_dir=str(tmp_path / "fourth"))
    assert len(job(listed, lambda line: None).settings["answers_sha256"]) == 64


def test_queries_of_unknown_position_are_written_or_refused(photos, tmp_path):
    unlabelled = replace(photos, benchmark="vpr(labelled=False)", queries_dir=photos.data_dir)
    with pytest.raises(InputError, match="No query of vpr has a right image, so nothing is scored; expected --predic"):
        job(unlabelled, lambda line: None)
    said = []
    job(replace(unlabelled, predictions=("msls",)), said.append)
    assert not any("nan" in line for line in said) and list((tmp_path / "out" / "predictions").iterdir())

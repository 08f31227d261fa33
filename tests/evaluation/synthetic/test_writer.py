"""The folder of a set: the same bytes from any number of processes, whatever interrupted the writing."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.files import atomic_path
from evaluation.synthetic.dataset import LandmarkSetOptions
from evaluation.synthetic.truth import load_homographies
from evaluation.synthetic.writer import write_set
from tests.processes import HANGS

ROOT = Path(__file__).resolve().parents[3]
TINY = LandmarkSetOptions(
    seed=7, num_classes=3, views_per_class=2, num_queries=2, easy_per_query=2, hard_per_query=2, junk_per_query=1,
    num_distractors=3, image_size=64,
)  # fmt: skip
IMAGES = 3 * 2 + 2 * 6 + 3


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.jpg"))}


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    manifest = write_set(TINY, folder, progress=False)
    assert manifest["written"] == IMAGES
    return folder


def test_layout(reference):
    found = files(reference)
    assert len(found) == IMAGES
    assert {"train/0000/00.jpg", "train/0002/01.jpg", "jpg/0000_query.jpg", "jpg/distractor_0002.jpg"} <= set(found)
    truth = pickle.loads((reference / "gnd_landmarks.pkl").read_bytes())
    names = [*truth["imlist"], *truth["qimlist"]]
    assert sorted(f"jpg/{name}.jpg" for name in names) == [name for name in found if name.startswith("jpg/")]
    views = json.loads((reference / "views.json").read_text())
    homographies = load_homographies(reference)
    assert (
        set(views) == set(homographies) == {*names, *(n.removesuffix(".jpg") for n in found if n.startswith("train"))}
    )
    assert all(h.shape == (3, 3) and h.dtype == np.float64 and h[2, 2] == 1 for h in homographies.values())
    for query, record in zip(truth["qimlist"], truth["gnd"]):
        assert record["bbx"] == views[query]["bbx"]
        for kind in ("easy", "hard", "junk"):
            for index in record[kind]:
                assert views[truth["imlist"][index]]["kind"] == kind
                assert views[truth["imlist"][index]]["landmark"] == views[query]["landmark"]
    manifest = json.loads((reference / "manifest.json").read_text())
    assert manifest["counts"] == {"training_images": 6, "queries": 2, "database_images": 13}
    assert manifest["config"]["seed"] == 7


def test_images_have_the_size_asked_for(reference):
    from PIL import Image

    sizes = {Image.open(reference / name).size for name in files(reference)}
    assert sizes == {(64, 48), (48, 64)}
    record = json.loads((reference / "views.json").read_text())["0000_query"]
    assert tuple(record["size"]) == Image.open(reference / "jpg/0000_query.jpg").size


def test_same_seed_same_bytes_with_worker_processes(reference, tmp_path):
    write_set(TINY, tmp_path, workers=2, progress=False)
    assert files(tmp_path) == files(reference)
    assert (tmp_path / "gnd_landmarks.pkl").read_bytes() == (reference / "gnd_landmarks.pkl").read_bytes()


def test_other_seed_other_bytes(reference, tmp_path):
    write_set(replace(TINY, seed=8), tmp_path, progress=False)
    other, first = files(tmp_path), files(reference)
    assert set(other) == set(first)
    assert all(other[name] != first[name] for name in first)


def test_resumes_with_the_same_bytes_and_repeats_nothing(tmp_path):
    write_set(TINY, tmp_path, progress=False)
    before = files(tmp_path)
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in before}
    gone = ["train/0001/01.jpg", "jpg/0001_hard_1.jpg"]
    for name in [*gone, "manifest.json", "homographies.npz"]:
        (tmp_path / name).unlink()
    killed = [atomic_path(tmp_path / name) for name in (*gone, "homographies.npz")]
    strays = [one.__enter__() for one in killed]
    for stray in strays:
        stray.write_bytes(b"half")
    assert write_set(TINY, tmp_path, progress=False)["written"] == 2
    assert files(tmp_path) == before
    assert not any(stray.exists() for stray in strays)
    assert all((tmp_path / n).stat().st_mtime_ns == times[n] for n in before if n not in gone)
    assert len(load_homographies(tmp_path)) == IMAGES
    assert write_set(TINY, tmp_path, progress=False)["written"] == 0


def test_other_settings_in_the_same_folder_are_an_input_error(reference):
    with pytest.raises(InputError, match="seed, image_size"):
        write_set(replace(TINY, seed=1, image_size=80), reference, progress=False)


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_set(TINY, tmp_path / "file", progress=False)
    (tmp_path / "mine" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match="not a landmark set"):
        write_set(TINY, tmp_path / "mine", progress=False)
    with pytest.raises(InputError, match="--num_workers"):
        write_set(TINY, tmp_path / "new", workers=0)


def command(folder: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "delg", "landmarks", f"--output_dir={folder}", *flags]


def flags_of(config: LandmarkSetOptions) -> list[str]:
    from dataclasses import asdict

    return [f"--{name}={value}" for name, value in asdict(config).items()]


def children(pid: int) -> list[int]:
    place = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in place.read_text().split()] if place.exists() else []


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_killed_and_continued(tmp_path):
    config = replace(TINY, num_classes=40, image_size=128)
    arguments = command(tmp_path, *flags_of(config), "--num_workers=2")
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + HANGS
    while len(list(tmp_path.glob("train/*/*.jpg"))) < 6 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while any(alive(pid) for pid in workers) and time.monotonic() < limit:  # they leave with their parent
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)
    begun = files(tmp_path)
    assert 6 <= len(begun) < 40 * 2 + 15 and not (tmp_path / "manifest.json").exists()
    again = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "80 training images, 2 queries, 13 database images" in again.stdout
    assert files(tmp_path).items() >= {n: d for n, d in begun.items() if "/." not in n}.items()
    assert len(files(tmp_path)) == 95 and not list(tmp_path.rglob(".*"))
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "already complete" in done.stdout


def test_missing_output_dir_is_one_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "delg", "landmarks"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "--output_dir" in done.stderr

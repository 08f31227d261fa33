"""The command delg-extract as it is typed, with the classical extractor (which starts fast)."""

import pickle
import signal
import subprocess
import sys

from extraction.store.reader import FeatureStore
from tests import processes
from tests.extraction.pictures import tree, write_picture
from tests.processes import HANGS, Started
from tests.published import published


def start(folder, killed=None, **flags):
    arguments = [f"--{key}={value}" for key, value in flags.items()]
    return Started("extract", *arguments, cwd=folder, killed=killed)


def run(folder, **flags):
    done = start(folder, **flags).finished()
    return done.returncode, done.stdout, done.stderr


def test_killed_and_continued_gives_the_same_bytes(tmp_path):
    for i in range(140):
        write_picture(tmp_path / "photos" / f"{i:03d}.jpg", 90, 120, seed=i)
    (tmp_path / "photos" / "bad.jpg").write_text("hello")
    flags = {"images_dir": "photos", "model": "rootsift", "output_dir": "part"}
    assert start(tmp_path, killed="shard-00001", **flags).finished().returncode == -signal.SIGKILL
    first = tree(tmp_path / "part" / "shard-00000")
    command = [sys.executable, "-m", "delg", "extract", *(f"--{key}={value}" for key, value in flags.items())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=HANGS)
    code, printed, errors = done.returncode, done.stdout, done.stderr
    assert code == 0, errors
    assert printed == "part: 140 images, 1 skipped: bad (not an image that Pillow can decode)\n"
    assert "64/141" in errors  # the progress line starts after the first shard
    assert tree(tmp_path / "part" / "shard-00000") == first
    run(tmp_path, images_dir="photos", model="rootsift", output_dir="whole")
    assert tree(tmp_path / "part") == tree(tmp_path / "whole")
    code, _, errors = run(tmp_path, images_dir="photos", model="rootsift", output_dir="part")
    assert code == 0
    assert "already complete" in errors


def test_benchmark_queries_are_cropped(tmp_path):
    for name in ("a", "b", "c"):
        write_picture(tmp_path / "jpg" / f"{name}.jpg", 120, 160)
    truth = {
        "imlist": ["a", "b"],
        "qimlist": ["c"],
        "gnd": [{"bbx": [40.0, 30.0, 120.0, 90.0], "easy": [0], "hard": [1], "junk": []}],
    }
    (tmp_path / "gnd.pkl").write_bytes(pickle.dumps(truth))
    common = {"dataset_file_path": "gnd.pkl", "images_dir": "jpg", "model": "rootsift"}
    for part in ("query", "index"):
        code, _, errors = run(tmp_path, image_set=part, output_dir=part, **common)
        assert code == 0, errors
    queries, database = FeatureStore.open(tmp_path / "query"), FeatureStore.open(tmp_path / "index")
    queries.check_compatible(database)
    assert (queries.names, database.names) == (["c"], ["a", "b"])
    features = queries.features(0)
    assert features.image_size == (160, 120)
    assert len(features) > 5
    assert features.keypoints.min(0).tolist() >= [40, 30]
    assert features.keypoints.max(0).tolist() <= [120, 90]


def test_without_a_model_features_need_no_training(tmp_path):
    write_picture(tmp_path / "photos" / "a.jpg")
    offline = {"DELG_HOME": str(tmp_path / "home"), "DELG_OFFLINE": "1"}
    done = processes.run("extract", "--images_dir=photos", "--output_dir=offline", cwd=tmp_path, **offline)
    assert done.returncode == 0 and "efficientnet_lite2" in done.stderr and "--model=auto is rootsift" in done.stderr
    assert FeatureStore.open(tmp_path / "offline").settings["extractor"] == "rootsift"
    published("efficientnet_lite2")
    done = processes.run("extract", "--images_dir=photos", "--output_dir=online", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    store = FeatureStore.open(tmp_path / "online")
    assert store.global_descriptors.shape == (1, 1280) and store.features(0).descriptors.shape[1] == 128
    assert store.settings["extractor"] == "pair"
    done = processes.run("search", "--query=photos/a.jpg", "--features_dir=online", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines()[1].split() == ["1", "1.0000", "a.jpg"], done.stderr


def test_mistakes_end_in_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    write_picture(tmp_path / "photos" / "a.jpg")
    cases = [
        ({"images_dir": "photos", "model": "rootsift"}, "--output_dir is required"),
        ({"model": "rootsift", "output_dir": "o"}, "--images_dir"),
        ({"images_dir": "absent", "model": "rootsift", "output_dir": "o"}, "does not exist"),
        ({"images_dir": "empty", "model": "rootsift", "output_dir": "o"}, "holds no image"),
        ({"images_dir": "photos", "model": "surf", "output_dir": "o"}, "histogram, pair, rootsift"),
        ({"images_dir": "photos", "model": "rootsift", "output_dir": "photos/a.jpg"}, "cannot be written"),
        ({"images_dir": "photos", "model": "rootsift", "output_dir": "o", "image_set": "query"}, "--dataset_file_path"),
    ]
    numbers = start(tmp_path, images_dir="photos", model="rootsift", output_dir="o", image_scales="x").finished()
    assert numbers.returncode == 1 and "--image_scales=x" in numbers.stderr and "Traceback" not in numbers.stderr
    running = [(start(tmp_path, **flags), said) for flags, said in cases]
    for process, said in running:
        done = process.finished()
        assert done.returncode == 1, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not done.stdout
        assert done.stderr.strip().count("\n") == 0
    assert not list(tmp_path.glob("o/*"))

"""The ground truth reader: what it admits, what it refuses, and that it runs nothing."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from evaluation import groundtruth
from evaluation.protocols import revisited
from protos.errors import InputError

GND = Path(__file__).parents[3] / "shared" / "gnd"


def entry(easy=(0,), hard=(1,), junk=(2,), bbx=(1.0, 2.0, 30.0, 40.0)):
    return {"bbx": list(bbx), "easy": list(easy), "hard": list(hard), "junk": list(junk)}


def data(*entries):
    entries = entries or (entry(),)
    return {"imlist": list("abcd"), "qimlist": [f"q{i}" for i in range(len(entries))], "gnd": list(entries)}


def write(folder, value, protocol=3):
    path = folder / "gnd_x.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


def test_a_plain_file_is_read(tmp_path):
    truth = groundtruth.load(write(tmp_path, data(entry(easy=[3], hard=[], junk=[0, 2]))))
    assert truth.database == list("abcd") and truth.queries == ["q0"]
    label = truth.labels[0]
    assert label.bbx == groundtruth.Box(x1=1.0, y1=2.0, x2=30.0, y2=40.0)
    assert (label.easy.tolist(), label.hard.tolist(), label.junk.tolist()) == ([3], [], [0, 2])


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_content_is_read_at_every_pickle_protocol(tmp_path, protocol):
    value = data()
    value["gnd"][0] |= {"easy": np.array([3]), "hard": [np.int64(1)], "bbx": np.array([1.5, 2, 30, 40], np.float32)}
    value["imlist"] = np.array(value["imlist"])
    label = groundtruth.load(write(tmp_path, value, protocol)).labels[0]
    assert label.easy.tolist() == [3] and label.hard.tolist() == [1] and label.bbx == (1.5, 2, 30, 40)


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_both_module_names_of_numpy_are_read(tmp_path, core):
    value = data()
    value["gnd"][0]["easy"] = np.array([3])
    text = pickle.dumps(value, 2).replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", core)
    assert groundtruth.load(write(tmp_path, text)).labels[0].easy.tolist() == [3]


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_file_that_would_run_a_command_is_refused_and_nothing_runs(tmp_path, protocol):
    trace = tmp_path / "trace"
    value = data() | {"extra": Runs(os.system, f"touch {trace}")}
    with pytest.raises(InputError, match=r"refused.*system"):
        groundtruth.load(write(tmp_path, value, protocol))
    assert not trace.exists()
    pickle.loads((tmp_path / "gnd_x.pkl").read_bytes())  # the file is a live one
    assert trace.exists()


@pytest.mark.parametrize("function", [eval, getattr, __import__, np.load, np.fromfile], ids=lambda f: f.__name__)
def test_other_functions_are_refused(tmp_path, function):
    with pytest.raises(InputError, match="refused"):
        groundtruth.load(write(tmp_path, data() | {"extra": Runs(function, "1")}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"not a pickle", "refused"),
        (b"", "refused"),
        ([1, 2], "imlist, qimlist and gnd"),
        ({"imlist": ["a"], "qimlist": ["q"]}, "imlist, qimlist and gnd"),
        (data() | {"qimlist": []}, "one entry of gnd per query"),
        (data() | {"imlist": ["a", "a", "b", "c"]}, "each once"),
        (data(entry(easy=[4])), "below 4"),
        (data(entry(easy=[-1])), "below 4"),
        (data(entry(easy=[0.5])), "0-based database rows"),
        (data(entry(easy=[1], hard=[1])), "twice"),
        (data(entry(bbx=[5, 5, 3, 9])), "x1 < x2"),
        (data(entry(bbx=[3, 9, 5, 9])), "y1 < y2"),
        (data(entry(bbx=[1, 2, 3])), "x1, y1, x2, y2"),
        (data({"ok": [1], "junk": []}), "easy, hard and junk"),
    ],
)
def test_a_wrong_file_ends_in_a_sentence(tmp_path, value, message):
    with pytest.raises(InputError, match=message):
        groundtruth.load(write(tmp_path, value))


def test_a_missing_file_ends_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        groundtruth.load(tmp_path / "none.pkl")


def test_protocols():
    label = groundtruth.Labels(None, np.array([1, 2]), np.array([3]), np.array([4]))
    found = {p: (t.positives.tolist(), sorted(t.junk.tolist())) for p, (t,) in revisited([label]).items()}
    assert found == {"easy": ([1, 2], [3, 4]), "medium": ([1, 2, 3], [4]), "hard": ([3], [1, 2, 4])}


@pytest.mark.skipif(not GND.is_dir(), reason="needs the real ground truth")
@pytest.mark.parametrize(("name", "images"), [("roxford5k", 4993), ("rparis6k", 6322)])
def test_the_real_files_are_read(name, images):
    truth = groundtruth.load(GND / f"gnd_{name}.pkl")
    assert len(truth.database) == images and len(truth.queries) == len(truth.labels) == 70
    assert all(label.bbx is not None for label in truth.labels)

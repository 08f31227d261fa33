"""The ground truth reader: what it admits, what it refuses, and that it runs nothing."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.benchmarks import groundtruth
from evaluation.benchmarks.revisited import revisited
from tests.processes import HANGS

GND = Path(__file__).parents[4] / "shared" / "gnd"


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


OBJECTS = np.dtype("O")
FIELDS = Runs(np.dtype, "V8", False, True)
FIELDS.call += ((3, "|", None, ("f0",), {"f0": (OBJECTS, 0)}, 8, 1, 0),)
REBUILT = Runs(np.zeros(1).__reduce__()[0], np.ndarray, (0,), b"b")
REBUILT.call += ((1, (1,), FIELDS, False, b"AAAAAAAA"),)


@pytest.mark.parametrize(
    "evil",
    [
        Runs(np.ndarray, (1,), OBJECTS, b"AAAAAAAA"),
        REBUILT,
        Runs(np.zeros(1).__reduce_ex__(5)[0], b"AAAAAAAA", OBJECTS, (1,), "C"),
        Runs(np.float64(1).__reduce__()[0], OBJECTS, b"AAAAAAAA"),
        Runs(np.dtype, [("f0", "O")]),
        Runs(bytearray, 10**11),
        Runs(bytes, 10**11),
        Runs(np.zeros(1).__reduce_ex__(5)[0], b"", np.dtype("f8"), (0, 10**14), "F"),
    ],
    ids=["objects", "fields", "frombuffer", "scalar", "dtype", "bytearray", "bytes", "axis"],
)
def test_addresses_and_sizes_of_the_file_are_not_believed(tmp_path, evil):
    path = write(tmp_path, data() | {"extra": evil})
    program = (
        "import resource, sys\n"
        "from evaluation.benchmarks import groundtruth; from delg.common.errors import InputError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))\n"
        "try: str(groundtruth.read_plain_pickle(sys.argv[1])); print('read')\n"
        "except InputError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert "MemoryError" not in done.stdout
    empty = isinstance(evil.call[1][0], bytes) and evil.call[1][0] == b""
    assert done.stdout == "read\n" if empty else "is refused" in done.stdout


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (pickle.BINBYTES8 + (10**12).to_bytes(8, "little") + b"x.", "refused"),
        (pickle.BYTEARRAY8 + (10**12).to_bytes(8, "little") + b"x.", "ends too early"),
        (pickle.FRAME + (10**12).to_bytes(8, "little") + b"x.", "refused"),
    ],
)
def test_declared_lengths_are_not_allocated(tmp_path, code, message):
    with pytest.raises(InputError, match=message) as caught:
        groundtruth.read_plain_pickle(write(tmp_path, pickle.PROTO + b"\5" + code))
    assert not isinstance(caught.value.__cause__, MemoryError)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.array([[1.5]], "<f2"),
        np.array(["a", "bcd"]),
        np.array([True, False]),
        np.array([None, "x", [1, 2]], object),
        np.zeros((0, 4)),
        np.zeros(0, np.uint8),
    ],
    ids=repr,
)
def test_arrays_come_as_lists(tmp_path, protocol, array):
    found = groundtruth.read_plain_pickle(write(tmp_path, [array, array.dtype.str], protocol))
    assert found == [array.tolist() if array.size else [], array.dtype.str]


def test_arrays_of_python_2_are_read(tmp_path):
    content = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n"
        b"(S'S2'\nI0\nI1\ntR(I3\nS'|'\nNNNI2\nI1\nI0\ntbI00\nS'ab\\xe9\\x00'\ntb."
    )
    assert pickle.loads(content, encoding="latin1").tolist() == [b"ab", b"\xe9"]  # a live one
    assert groundtruth.read_plain_pickle(write(tmp_path, content)) == ["ab", "\xe9"]


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a\\..\\x", "", "a\0b"])
@pytest.mark.parametrize("key", ["imlist", "qimlist"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, key, name):
    value = data()
    value[key][0] = name
    with pytest.raises(InputError, match=rf"{key} expects names of images relative to their folder and without '\.\.'"):
        groundtruth.load(write(tmp_path, value))


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
        (data(entry(easy=[0, [1]])), "0-based database rows"),
        (data() | {"imlist": 3}, "imlist expects a list. Received: int"),
        (data() | {"qimlist": "q"}, "qimlist expects a list. Received: str"),
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

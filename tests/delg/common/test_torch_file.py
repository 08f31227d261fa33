"""PyTorch's files without PyTorch: values, damage, and files that would run a command."""

import argparse
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.torch_file import is_torch_file, read_torch, state_dict
from delg.common.torch_pickle import PARTS, Storage, StorageType, Tensor, TensorUnpickler
from tests.delg.importers.torch_writer import MAGIC_NUMBER, SavedStorage, SavedTensor, TorchFile, tensor, zeros

DATA = Path(__file__).parents[1] / "importers" / "data"
CONTAINERS = pytest.mark.parametrize("write", [TorchFile.archive, TorchFile.stream], ids=["archive", "stream"])


@pytest.mark.parametrize("name", ["archive.pth", "stream.pth"])
def test_values_are_those_of_pytorch(name):
    document = read_torch(DATA / name)
    assert document["epoch"] == 3 and document["odd"]["size"] == (2, 12)
    assert document["optimizer_state"]["param_groups"][0]["momentum"] == 0.9
    compared = 0
    with np.load(DATA / "expected.npz") as expected:
        for key in expected:
            group, part = key.split("/")
            found = document[group][part].array()
            assert found.dtype == expected[key].dtype and found.shape == expected[key].shape, key
            np.testing.assert_array_equal(found, expected[key], err_msg=key)
            compared += 1
    assert compared == 20 and is_torch_file(DATA / name)
    assert document["model_state"]["bn.num_batches_tracked"].array() == 1


@pytest.mark.parametrize("name", ["archive.pth", "stream.pth"])
def test_the_state_of_a_checkpoint(name):
    state = state_dict(DATA / name)
    assert list(state)[:2] == ["conv.weight", "conv.bias"] and state["conv.weight"].shape == (4, 3, 3, 3)


@CONTAINERS
def test_a_bare_state_views_and_byte_order(write, tmp_path):
    storage = SavedStorage(np.arange(12, dtype="f4"))
    state = {"a": SavedTensor(storage, 2, (2, 3), (1, 3)), "b": tensor(np.float64([[1, 2]])), "c": zeros((4,), storage)}
    for order in "<>":
        found = state_dict(write(TorchFile(state, order=order), tmp_path / f"{order}.pth"))
        assert found["a"].array().tolist() == [[2, 5, 8], [3, 6, 9]]
        assert found["b"].array().tolist() == [[1, 2]] and found["c"].array().tolist() == [0, 1, 2, 3]
        assert found["a"].array().dtype == np.float32 and found["a"].array().dtype.isnative


@pytest.mark.parametrize("prefix", ["", "archive/", "CVPR2022_CVNet_R50/", "one/archive/"])
def test_prefixes_of_the_archive(prefix, tmp_path):
    path = TorchFile({"a": tensor(np.float32([3]))}, prefix=prefix).archive(tmp_path / "a.pth")
    assert is_torch_file(path) and state_dict(path)["a"].array() == 3


@CONTAINERS
def test_configurations_are_read_as_plain_items(write, tmp_path, monkeypatch):
    module = types.ModuleType("yacs.config")
    module.CfgNode = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    config = module.CfgNode(MODEL=module.CfgNode(DEPTH=50))
    config.__dict__["__immutable__"] = config.__dict__["pop"] = True
    extras = {"args": argparse.Namespace(lr=1), "best": np.float64(0.5), "steps": Counter([5]), "seen": {1}}
    document = {"cfg": config, "text": "MODEL:\n", "model_state": OrderedDict(a=tensor(np.float32([1]))), **extras}
    path = write(TorchFile(document), tmp_path / "a.pth")
    monkeypatch.undo()
    found = read_torch(path)
    assert found["cfg"] == {"MODEL": {"DEPTH": 50}} and found["steps"] == {5: 1} and list(found["seen"]) == [1]
    assert found["cfg"].pop("MODEL") and state_dict(path)["a"].array() == 1


class Runs:
    """Unpickled, it runs a command."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def harmful(tmp_path):
    command = f"touch {tmp_path / 'ran'}"
    touch = f"open({str(tmp_path / 'ran')!r}, 'w')"
    yield Runs(os.system, command), "posix.system"
    yield Runs(eval, touch), "builtin.*eval"
    yield Runs(exec, touch), "builtin.*exec"
    yield Runs(open, str(tmp_path / "ran"), "w"), "open"
    yield Runs(__import__, "os"), "builtin.*__import__"
    yield Runs(os.makedirs, str(tmp_path / "ran")), "os.makedirs"


NESTED = {
    "bare": lambda evil: evil,
    "state": lambda evil: {"model_state": {"a": tensor(np.float32([1])), "b": evil}},
    "cfg": lambda evil: {"cfg": OrderedDict(a=[evil]), "model_state": {"a": tensor(np.float32([1]))}},
    "key": lambda evil: {"model_state": {(1, evil): 1}},
}


@CONTAINERS
@pytest.mark.parametrize("place", NESTED)
def test_a_file_that_would_run_a_command_is_refused(write, place, tmp_path):
    for i, (evil, name) in enumerate(harmful(tmp_path)):
        path = write(TorchFile(NESTED[place](evil)), tmp_path / f"{i}.pth")
        with pytest.raises(InputError, match=f"{name}.*nothing of the file was run"):
            read_torch(path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(Runs(os.makedirs, str(tmp_path / "ran"))))
    assert (tmp_path / "ran").exists()  # the same objects do run where they are admitted


@pytest.mark.parametrize("position", range(4))
def test_no_pickle_of_the_stream_runs_a_command(position, tmp_path):
    evil = Runs(os.makedirs, str(tmp_path / "ran"))
    parts = [1001, {"little_endian": True}, {}, []]
    parts[position] = evil
    path = tmp_path / "a.pth"
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in [MAGIC_NUMBER, *parts]))
    with pytest.raises(InputError, match=r"os\.makedirs"):
        read_torch(path)
    assert not (tmp_path / "ran").exists()


def program(code: bytes) -> bytes:
    return b"\x80\x04" + code + b"."


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


PROGRAMS = {
    "dotted name": program(short("collections") + short("OrderedDict.__init__") + b"\x93"),
    "extension": program(b"\x82\x01"),
    "attribute of a part": program(short("torch") + short("Size.__call__") + b"\x93"),
    "state of a function": program(b"ctorch._utils\n_rebuild_tensor_v2\n" + b"N}" + short("__defaults__") + b")s\x86b"),
    "state of a class": program(b"ccollections\nOrderedDict\n" + b"}" + short("__setstate__") + b"Nsb"),
    "state of a storage type": program(b"ctorch\nFloatStorage\n" + b"}" + short("name") + short("x") + b"sb"),
    "call of a type": program(b"ctorch\nFloatStorage\n)R"),
    "object of a class": program(b"(cposix\nsystem\n" + short("true") + b"o"),
    "instance": program(b"(" + short("true") + b"iposix\nsystem\n"),
    "huge memo": program(b"Nr\xff\xff\xff\xff"),
    "huge text": program(b"X\xff\xff\xff\x7f"),
    "nothing": b"",
    "no pickle": b"hello",
    "tensor of a number": program(b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00K\x01\x85K\x01\x85tR"),
    "parameter of a number": program(b"ctorch._utils\n_rebuild_parameter\nK\x01\x85R"),
    "foreign id": program(b"K\x01Q"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_hand_written_programs_are_refused(name, tmp_path):
    before = {key: vars(part) if hasattr(part, "__dict__") else None for key, part in PARTS.items()}
    path = TorchFile({}, entries={"data.pkl": PROGRAMS[name]}).archive(tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        state_dict(path)
    assert before == {key: vars(part) if hasattr(part, "__dict__") else None for key, part in PARTS.items()}


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (9, (2,), (1,)),
        (0, (11,), (1,)),
        (10, (1,), (1,)),
        (0, (2, 2), (9, 1)),
        (0, (4, 4), (0, 1)),
        (0, (2**40,), (0,)),
    ],
)
def test_views_outside_their_storage_are_refused(offset, shape, strides, tmp_path):
    view = SavedTensor(SavedStorage(np.arange(10, dtype="f4")), offset, shape, strides)
    path = TorchFile({"a": view}).archive(tmp_path / "a.pth")
    with pytest.raises(InputError, match="does not lie in its storage 0 of 10 elements"):
        state_dict(path)["a"].array()


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(-1, (2,), (1,)), (5, (2,), (-1,)), (0, (-2,), (1,)), (0, (2,), (1, 1)), (0, (True,), (1,))],
)
def test_absurd_views_are_refused(offset, shape, strides, tmp_path):
    view = SavedTensor(SavedStorage(np.arange(10, dtype="f4")), offset, shape, strides)
    with pytest.raises(InputError, match=r"refused.* a tensor "):
        read_torch(TorchFile({"a": view}).archive(tmp_path / "a.pth"))


def test_views_that_just_fit():
    storage = Storage(StorageType("HalfStorage"), "0", 10, lambda _: np.arange(10, dtype="f2").tobytes())
    assert Tensor(storage, 9, (1,), (1,)).array() == 9
    assert Tensor(storage, 1, (2, 3), (6, 1)).array().tolist() == [[1, 2, 3], [7, 8, 9]]
    assert Tensor(storage, 99, (0, 3), (3, 1)).array().shape == (0, 3)
    assert Tensor(storage, 3, (), ()).array() == 3


def test_a_storage_of_another_size_is_refused():
    storage = Storage(StorageType("FloatStorage"), "7", 3, lambda _: bytes(8))
    with pytest.raises(InputError, match="storage 7 should have 12 bytes and has 8"):
        Tensor(storage, 0, (1,), (1,)).array()


def test_damaged_archives_are_refused(tmp_path):
    whole = TorchFile({"a": tensor(np.arange(1000, dtype="f4"))})
    path = whole.archive(tmp_path / "a.pth")
    data = path.read_bytes()
    spot = data.index(np.arange(500, 510, dtype="f4").tobytes())
    path.write_bytes(data[:spot] + b"\1" + data[spot + 1 :])
    with pytest.raises(InputError, match=r"damaged: the entry archive/data/0"):
        state_dict(path)["a"].array()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cannot be read as a PyTorch file"):
        read_torch(path)
    packed = TorchFile(whole.document, compression=zipfile.ZIP_DEFLATED).archive(tmp_path / "b.pth")
    with pytest.raises(InputError, match="is compressed"):
        read_torch(packed)
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as file:
        file.writestr("x/data.pkl", TorchFile({}).archive(tmp_path / "d.pth").read_bytes())
        file.writestr("y/data.pkl", b"")
    with pytest.raises(InputError, match=r"expected one data\.pkl, found 2"):
        read_torch(tmp_path / "c.pth")


def test_a_missing_storage_is_named(tmp_path):
    path = TorchFile({"a": tensor(np.float32([1]))}).archive(tmp_path / "a.pth")
    with zipfile.ZipFile(path) as file:
        index = file.read("archive/data.pkl")
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as file:
        file.writestr("archive/data.pkl", index)
    with pytest.raises(InputError, match="lacks the entry archive/data/0"):
        state_dict(tmp_path / "b.pth")["a"].array()


def test_damaged_streams_are_refused(tmp_path):
    path = TorchFile({"a": tensor(np.arange(9, dtype="f4"))}).stream(tmp_path / "a.pth")
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match="ends inside the storage 0"):
        read_torch(path)
    count = data.rindex(struct.pack("<q", 9))
    path.write_bytes(data[:count] + struct.pack("<q", 8) + data[count + 8 :])
    with pytest.raises(InputError, match="storage 0 is not where it should be"):
        read_torch(path)
    path.write_bytes(data[: count - 20])
    with pytest.raises(InputError, match="ends too early"):
        read_torch(path)


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps({"a": 1})])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    assert not is_torch_file(path)
    with pytest.raises(InputError, match="not a file of PyTorch"):
        read_torch(path)


@pytest.mark.parametrize(
    ("document", "message"),
    [({}, "no weights by name"), ([1], "no weights by name"), ({"model_state": {"a": 1}}, "'a' is a int")],
)
def test_files_without_named_tensors_are_refused(document, message, tmp_path):
    with pytest.raises(InputError, match=message):
        state_dict(TorchFile(document).archive(tmp_path / "a.pth"))


def test_old_views_of_storages_are_refused():
    with pytest.raises(pickle.UnpicklingError, match=r"before 0\.4"):
        reader = TensorUnpickler(open(os.devnull, "rb"), "x", lambda *_: None)  # noqa: PTH123, SIM115
        reader.persistent_load(("storage", StorageType("FloatStorage"), "0", "cpu", 4, ("1", 0, 2)))

"""Neighbour files of other rerankers: what a program with PyTorch finds in them."""

import pickle
import pickletools

import numpy as np
import pytest

from evaluation.benchmarks.table import build_benchmark
from evaluation.predictions.neighbours import filled, write
from evaluation.run import pipeline
from tests.evaluation.options import Config
from tests.evaluation.tiny import revisited_set


class Reader(pickle.Unpickler):
    """Reads such a file with NumPy in the place of PyTorch, and nothing but such a file."""

    def find_class(self, module, name):
        assert (module, name) == ("torch", "tensor")
        return lambda values: np.array(values, np.float32)


def read(path):
    with path.open("rb") as file:
        return Reader(file).load()


def test_the_pickle_is_one_call_of_torch(tmp_path):
    tensor = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    with (tmp_path / "x.pkl").open("wb") as file:
        write(file, tensor)
    np.testing.assert_array_equal(read(tmp_path / "x.pkl"), tensor)
    named = [text for code, text, _ in pickletools.genops((tmp_path / "x.pkl").read_bytes()) if code.name == "GLOBAL"]
    assert named == ["torch tensor"]


def test_the_pickle_is_a_tensor_where_pytorch_is(tmp_path):
    torch = pytest.importorskip("torch")
    with (tmp_path / "x.pkl").open("wb") as file:
        write(file, np.ones((2, 3, 5), np.float32))
    found = pickle.loads((tmp_path / "x.pkl").read_bytes())
    assert found.dtype == torch.float32 and found.shape == (2, 3, 5)


def test_short_rankings_are_filled_with_the_other_images():
    order = [np.array([4, 1, 0]), np.zeros(0, np.int64)]
    scores = [np.array([0.9, 0.5, 0.1], np.float32), np.zeros(0, np.float32)]
    found = filled(order, scores, images=5, top_k=9)
    assert found[1].tolist() == [[4, 1, 0, 2, 3], [0, 1, 2, 3, 4]]
    assert found[0, 0].tolist() == pytest.approx([0.9, 0.5, 0.1, 0.1, 0.1]) and not found[0, 1].any()
    assert filled(order, scores, images=5, top_k=2)[1].tolist() == [[4, 1], [0, 1]]


def test_the_benchmark_writes_them_and_junk_stands_last(tmp_path):
    folder = revisited_set(tmp_path / "set")
    given = Config("landmarks", str(folder), output_dir=str(tmp_path / "out"), model="histogram", rerank=())
    pipeline.benchmark(given, lambda line: None)
    again = Config(**vars(given) | {"predictions": ("neighbours",), "predictions_top_k": 10})
    pipeline.benchmark(again, lambda line: None)
    files = {path.name.split(".")[1]: path for path in (tmp_path / "out" / "predictions").iterdir()}
    assert sorted(files) == ["easy", "hard", "medium"]
    benchmark = build_benchmark("landmarks", str(folder))
    for protocol, path in files.items():
        similarities, rows = read(path)
        assert rows.shape == (2, 5) and (np.sort(rows, axis=1) == np.arange(5)).all()
        assert (np.diff(similarities, axis=1) <= 0).all()
        for row, truth in zip(rows, benchmark.protocols[protocol]):
            junk = truth.junk.tolist()
            assert sorted(row[len(row) - len(junk) :].astype(int)) == sorted(junk)

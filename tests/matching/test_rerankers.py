"""What every reranker of the table must hold."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from matching.rerankers import RERANKERS, build_reranker
from matching.source import MemorySource
from protos.errors import InputError
from tests.matching.helpers import local, ranking, scene, unit

ROOT = Path(__file__).parents[2]
COMMANDS = ("matching.match", "matching.search")


@pytest.fixture
def sources():
    rng = np.random.default_rng(0)
    keypoints, descriptors = scene(n=20)
    images = []
    for i in range(12):
        rows = rng.permutation(20)[: 8 + i]
        images.append(local(keypoints[rows], descriptors[rows], f"image{i}", unit(rng.normal(size=8))))
    return MemorySource(images[:3]), MemorySource(images)


@pytest.mark.parametrize("name", sorted(RERANKERS))
def test_permutes_the_head_and_keeps_the_rest(name, sources):
    text = {"ransac": "ransac(top_k=5)", "superglobal": "superglobal(m=5, k=2)"}[name]
    before = ranking(
        [[0, 3, 6, 9, 1, 4, 7, 10], [11, 2, 5, 8, -1, -1, -1, -1], [-1] * 8],
        [np.linspace(0.9, 0.1, 8), [0.8, 0.6, 0.4, 0.2] + [-np.inf] * 4, [-np.inf] * 8],
    )
    kept = before.indices.copy(), before.scores.copy()
    reranker = build_reranker(text)
    assert reranker.head == 5
    after = reranker(*sources, before)
    np.testing.assert_array_equal(np.sort(after.indices[:, :5]), np.sort(before.indices[:, :5]))
    np.testing.assert_array_equal(after.indices[:, 5:], before.indices[:, 5:])
    assert (after.indices != before.indices).any()
    for row, scores in zip(after.indices, after.scores):
        n = int((row >= 0).sum())
        assert (row[:n] >= 0).all(), "the filling stays at the end"
        assert (np.diff(scores[:n]) <= 0).all()
        assert np.isneginf(scores[n:]).all()
    np.testing.assert_array_equal(before.indices, kept[0])
    np.testing.assert_array_equal(before.scores, kept[1])


def test_built_from_text_with_the_released_defaults():
    ransac, superglobal = build_reranker("ransac"), build_reranker("superglobal")
    assert (ransac.head, superglobal.head) == (100, 400)
    assert ransac._options == {
        "matching_threshold": 1.0,
        "ratio": None,
        "residual": 20.0,
        "trials": 1000,
        "seed": 0,
        "model": "affine",
        "mutual": False,
        "plausible_only": True,
    }
    assert build_reranker("ransac(top_k=7, model='homography')").head == 7


def test_unknown_names_and_arguments_answer_with_the_choices():
    with pytest.raises(InputError, match=r"Unknown reranker 'asmk'; the choices are .*ransac.*superglobal"):
        build_reranker("asmk")
    with pytest.raises(InputError, match="its arguments are m, k, beta"):
        build_reranker("superglobal(top=3)")
    with pytest.raises(InputError, match="name"):
        build_reranker("superglobal(m=")


def test_memory_source():
    image = local(np.zeros((0, 2)), np.zeros((0, 0)), "a", [1.0, 0.0])
    source = MemorySource([image, local(np.zeros((0, 2)), np.zeros((0, 0)), "b", [0.0, 1.0])])
    assert len(source) == 2
    assert source.names == ["a", "b"]
    assert source.global_descriptors.tolist() == [[1, 0], [0, 1]]
    assert source.features(0) is image
    assert MemorySource([]).global_descriptors.shape == (0, 0)
    with pytest.raises(InputError, match=r"one dimension. Received: \[0, 2\]"):
        MemorySource([image, local(np.zeros((0, 2)), np.zeros((0, 0)))])


def test_no_module_imports_tensorflow_or_keras():
    modules = [f"matching.{path.stem}" for path in (ROOT / "matching").glob("*.py") if path.stem != "__init__"]
    assert len(modules) > 10
    rooms = [name for name in modules if name not in COMMANDS]
    for group in (rooms, *([name] for name in COMMANDS)):
        code = f"import sys, importlib; [importlib.import_module(m) for m in {group}]; "
        code += "print([m for m in ('tensorflow', 'keras', 'torch', 'jax') if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "[]", done.stderr

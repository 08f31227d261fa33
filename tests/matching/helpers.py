"""Small features and sources for the tests of the matching room."""

from pathlib import Path

import numpy as np

from extraction.features import Features
from matching.ranking import Ranking
from matching.source import MemorySource

DATA = Path(__file__).parent / "data"
GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def local(keypoints, descriptors, name="image", global_descriptor=()):
    n = len(keypoints)
    return Features(
        name=name,
        image_size=(1000, 1000),
        global_descriptor=np.array(global_descriptor, np.float32),
        keypoints=np.array(keypoints, np.float32).reshape(n, 2),
        descriptors=np.array(descriptors, np.float32),
        scores=np.ones(n, np.float32),
        scales=np.ones(n, np.float32),
    )


def global_source(descriptors):
    return MemorySource(
        [
            Features(name=str(i), image_size=(1, 1), global_descriptor=np.asarray(row, np.float32))
            for i, row in enumerate(descriptors)
        ]
    )


def ranking(indices, scores):
    return Ranking(np.array(indices, np.int64), np.array(scores, np.float32))


def scene(seed=0, n=60):
    """An image of ``n`` distinct features: keypoints in 400 x 400 pixels, descriptors far from each other."""
    rng = np.random.default_rng(seed)
    return rng.random((n, 2)) * 400, unit(rng.normal(size=(n, 128)))


def view(keypoints, descriptors, transform, agreeing, name="view"):
    """The scene seen through a (2, 3) transform; only the first ``agreeing`` keypoints follow it."""
    moved = keypoints @ np.array(transform)[:, :2].T + np.array(transform)[:, 2]
    rng = np.random.default_rng(99)
    moved[agreeing:] = (
        rng.random((len(moved) - agreeing, 2)) * 400 + 5000 * (1 + np.arange(len(moved) - agreeing))[:, None]
    )
    return local(moved, descriptors, name)

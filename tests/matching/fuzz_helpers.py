"""What the tests with broken input share."""

from contextlib import contextmanager

import numpy as np
import pytest

from protos.errors import InputError
from tests.matching.helpers import local, scene, view


@contextmanager
def refused():
    """Within it an InputError of one line is expected; anything else is a fault."""
    with pytest.raises(InputError) as caught:
        yield
    message = str(caught.value)
    assert message and "\n" not in message, message


def check_ranked(before, after):
    """Proves that a ranking is another's, in new order."""
    assert after.indices.shape == before.indices.shape == after.scores.shape
    for was, row, scores in zip(before.indices, after.indices, after.scores):
        assert sorted(was.tolist()) == sorted(row.tolist())
        n = int((row >= 0).sum())
        assert (row[:n] >= 0).all() and np.isfinite(scores[:n]).all() and (np.diff(scores[:n]) <= 0).all()


def images_of(rng, descriptors):
    """Images of the same scene seen from elsewhere, with these global descriptors."""
    keypoints, own = scene(n=24)
    images = []
    for i, vector in enumerate(descriptors):
        n = int(rng.integers(0, 25)) if rng.random() < 0.8 else 0
        seen = view(keypoints[:n], own[:n], [[0.9, 0.1, 5], [-0.1, 0.9, 3]], int(rng.integers(0, n + 1)), f"image{i}")
        images.append(local(seen.keypoints, own[:n], f"image{i}", vector))
    return images

"""What the tests with broken input share."""

from contextlib import contextmanager

import numpy as np
import pytest

from delg.common.errors import InputError
from matching.source import MemorySource
from tests.matching.helpers import local, ranking, scene, unit, view


@contextmanager
def refused():
    """Within it an InputError of one line is expected; anything else is a fault."""
    with pytest.raises(InputError) as caught:
        yield
    message = str(caught.value)
    assert message and "\n" not in message, message


def check_ranked(before, after):
    """Checks that a ranking holds the images of another one, in new order."""
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


def first_stage(rng, queries, images, width=9):
    """A ranking of random rows, some of them short."""
    width = min(width, images)
    indices = np.array([rng.permutation(images)[:width] for _ in range(queries)]).reshape(queries, width)
    scores = -np.sort(-rng.normal(size=(queries, width)))
    for q in range(queries):
        n = int(rng.integers(0, width + 1)) if rng.random() < 0.3 else width
        indices[q, n:], scores[q, n:] = -1, -np.inf
    return ranking(indices, scores)


def sources(rng, queries, images, dimension):
    """Queries and a database, both sound."""
    both = [unit(rng.normal(size=(n, dimension))) for n in (queries, images)]
    return [MemorySource(images_of(rng, rows)) for rows in both]


def check_found(answer, queries, database, atol=0.02):
    for query, row, scores in zip(queries, answer.indices, answer.scores):
        found = row[row >= 0]
        assert len(set(found.tolist())) == len(found) > 0 and (row[len(found) :] == -1).all()
        assert (np.diff(scores[: len(found)]) <= 0).all()
        np.testing.assert_allclose(scores[: len(found)], database[found] @ query, atol=atol)

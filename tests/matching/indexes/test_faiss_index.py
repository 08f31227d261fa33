import numpy as np
import pytest

from matching.indexes import faiss_index
from matching.indexes.faiss_index import assigned, centroids
from tests.matching.helpers import unit


@pytest.mark.parametrize("piece", [1, 3, 1024])
def test_each_row_goes_to_the_centre_of_the_largest_product(piece, monkeypatch):
    monkeypatch.setattr(faiss_index, "PIECE", piece)
    rng = np.random.default_rng(0)
    rows, centres = (rng.integers(-3, 4, (n, 5)).astype(np.float32) for n in (70, 9))
    centres[7] = centres[2]  # of equal ones the first
    owners = assigned(rows, centres)
    assert owners.dtype == np.int64
    assert owners.tolist() == (rows.astype(np.float64) @ centres.T.astype(np.float64)).argmax(axis=1).tolist()
    assert 7 not in owners
    assert assigned(rows[:0], centres).shape == (0,)


def test_centres_of_far_groups_are_their_mean_directions():
    axes = np.eye(6, dtype=np.float32)[:4]
    rng = np.random.default_rng(1)
    groups = unit(np.repeat(axes, 50, axis=0) + 0.05 * rng.normal(size=(200, 6)))
    best = max((centroids(groups, 4, seed) for seed in range(20)), key=lambda c: (groups @ c.T).max(axis=1).sum())
    np.testing.assert_allclose(np.linalg.norm(best, axis=1), 1, atol=1e-6)
    owners = assigned(axes, best)
    assert sorted(owners.tolist()) == [0, 1, 2, 3]
    for axis, owner in enumerate(owners):
        np.testing.assert_allclose(best[owner], unit(groups[50 * axis : 50 * axis + 50].sum(axis=0)), atol=1e-6)


def test_centres_follow_the_seed_and_none_is_lost():
    twins = np.repeat(unit(np.random.default_rng(2).normal(size=(3, 8))), 10, axis=0)
    first = centroids(twins, 12, 5)
    assert first.shape == (12, 8)
    np.testing.assert_array_equal(first, centroids(twins, 12, 5))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    assert not np.array_equal(first, centroids(twins, 12, 6))
    assert np.allclose((first @ twins.T).max(axis=1), 1, atol=1e-6)

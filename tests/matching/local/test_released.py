import numpy as np
import pytest
from scipy.spatial import cKDTree

from delg.common.errors import InputError
from matching.local import released
from tests.matching.helpers import DATA, scene, view
from tests.matching.helpers import local as features

TRANSFORM = [[0.9, -0.3, 40.0], [0.3, 0.9, 10.0]]


@pytest.mark.parametrize(
    "case", ["affine_easy", "affine_clutter", "affine_low_ratio", "homography", "nonmatch_clutter"]
)
def test_reproduces_the_released_inliers(case):
    golden = np.load(DATA / "local_match.npz")
    source, target = golden[f"{case}/index"], golden[f"{case}/query"]
    counts = golden[f"{case}/inliers_seeds0_9"]
    mask = released.ransac(source, target, residual=20.0, trials=1000, seed=0)
    np.testing.assert_array_equal(mask, golden[f"{case}/inlier_mask"])
    for seed in (1, 4):
        assert released.ransac(source, target, residual=20.0, trials=1000, seed=seed).sum() == counts[seed]


def test_trials_end_early_as_released():
    assert released.trials_needed(0.5) == 270
    assert released.trials_needed(1.0) == 1
    assert released.trials_needed(0.01) > 1e7


def test_it_stops_when_more_samples_cannot_help(monkeypatch):
    drawn = []
    real = released.squared_residuals
    monkeypatch.setattr(released, "squared_residuals", lambda a, b, s: drawn.append(len(s)) or real(a, b, s))
    points = np.random.default_rng(0).random((30, 2)) * 100
    assert released.ransac(points, points, residual=5.0, trials=1000, seed=0).all()
    assert sum(drawn) == released.CHUNK


@pytest.mark.parametrize("seed", range(4))
def test_of_samples_with_equally_many_inliers_the_one_nearer_to_all_pairs_wins(seed):
    """Four pairs stay, four move by 100, one moves by 90: moving by 100 is nearer to the one that fits neither."""
    source = np.random.default_rng(1).random((9, 2)) * 400
    target = source + np.array([0] * 4 + [100] * 4 + [90])[:, None]
    mask = released.ransac(source, target, residual=0.5, trials=1000, seed=seed)
    assert np.flatnonzero(mask).tolist() == [4, 5, 6, 7]


def test_match_and_its_transform():
    keypoints, descriptors = scene()
    query, index = view(keypoints, descriptors, TRANSFORM, agreeing=40), features(keypoints, descriptors)
    found = released.match(query, index)
    assert found.tentative == 60
    assert found.pairs.tolist() == [[i, i] for i in range(40)]
    np.testing.assert_allclose(found.transform, TRANSFORM, atol=1e-4)


def test_tentative_matches_by_hand():
    index = features([[0, 0]] * 2, [[0, 0], [3, 0]])
    query = features([[0, 0]] * 3, [[1, 0], [1.25, 0], [3, 0]])
    assert released.tentative(query, index, 1.25, None).tolist() == [[0, 0], [2, 1]]
    assert released.tentative(query, index, 0.1, 0.51).tolist() == [[0, 0], [2, 1]], "the ratio replaces the threshold"
    assert released.tentative(query, index.top(1), 9.0, None).tolist() == [[0, 0], [1, 0], [2, 0]]


def test_little_to_match():
    keypoints, descriptors = scene(n=4)
    full, none = features(keypoints, descriptors), features(np.zeros((0, 2)), np.zeros((0, 0)))
    assert len(released.match(full, full)) == 4
    three = released.match(full.top(3), full)
    assert (len(three), three.tentative, three.transform) == (0, 3, None)
    assert len(released.match(full, none)) == len(released.match(none, full)) == 0
    spot = features(np.zeros((4, 2)), descriptors)
    assert len(released.match(full, spot)) == 0, "every sample is degenerate"
    with pytest.raises(InputError, match="differ in dimension"):
        released.match(full, features(keypoints, descriptors[:, :7]))
    with pytest.raises(InputError, match="residual"):
        released.match(full, full, residual=0.0)


def test_of_exact_copies_the_neighbour_is_that_of_one_nearest_neighbour():
    """As the released ``index_tree.query(query, distance_upper_bound=threshold)``; k = 2 finds other copies."""
    rng = np.random.default_rng(0)
    _, descriptors = scene(n=200, seed=3)
    index = features(rng.random((800, 2)) * 400, np.tile(descriptors, (4, 1))[rng.permutation(800)])
    query = features(rng.random((200, 2)) * 400, descriptors)
    distances, rows = cKDTree(index.descriptors).query(query.descriptors, distance_upper_bound=0.9)
    np.testing.assert_array_equal(released.tentative(query, index, 0.9, None)[:, 1], rows[np.isfinite(distances)])
    two = cKDTree(index.descriptors).query(query.descriptors, k=2)[1][:, 0]
    assert (two != rows).any(), "this set tells the two apart"

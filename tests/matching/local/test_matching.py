import numpy as np
import pytest

from delg.common.errors import InputError
from matching.local import matching, released
from matching.local.matching import match, nearest
from tests.matching.helpers import DATA, scene, view
from tests.matching.helpers import local as features

TRANSFORM = [[0.9, -0.3, 40.0], [0.3, 0.9, 10.0]]


def rows(*values):
    return np.array(values, np.float32)


def test_nearest_by_hand():
    query = rows([1, 0], [0, 1], [0.6, 0.8], [-1, 0])
    index = rows([0, 1], [0.8, 0.6], [1, 0])
    pairs, distances = nearest(query, index, threshold=1.0)
    assert pairs.tolist() == [[0, 2], [1, 0], [2, 1]]
    np.testing.assert_allclose(distances, [0, 0, np.sqrt(0.08)], atol=1e-7)


def test_the_threshold_is_strict_and_euclidean():
    query, index = rows([0, 0.75], [0, 0.5]), rows([0, 0])
    assert nearest(query, index, threshold=0.75)[0].tolist() == [[1, 0]]
    assert nearest(query, index, threshold=0.7501)[0].tolist() == [[0, 0], [1, 0]]
    assert nearest(query, index, threshold=0.5)[0].tolist() == []


def test_many_to_one_and_the_lower_row_of_equals():
    query, index = rows([1, 0], [1, 0]), rows([0, 1], [1, 0], [1, 0])
    assert nearest(query, index)[0].tolist() == [[0, 1], [1, 1]]


def test_the_nearest_is_by_distance_not_by_product():
    """Rows that are not quite unit, as float16 leaves them: a longer one must not win by its length."""
    query, index = rows([1, 0]), rows([1.5, 0], [1.1, 0])
    assert nearest(query, index)[0].tolist() == [[0, 1]]


def test_ratio_by_hand():
    index = rows([0, 0], [3, 0])
    query = rows([1, 0], [1.25, 0], [3, 0])  # ratios 1/2, 1.25/1.75, 0
    assert nearest(query, index, 9, ratio=0.5)[0].tolist() == [[2, 1]], "strict"
    assert nearest(query, index, 9, ratio=0.51)[0].tolist() == [[0, 0], [2, 1]]
    assert nearest(query, index, 9, ratio=0.72)[0].tolist() == [[0, 0], [1, 0], [2, 1]]
    assert nearest(query, index, 1.1, ratio=0.72)[0].tolist() == [[0, 0], [2, 1]], "the threshold holds, too"
    assert nearest(query, index[:1], 9, ratio=0.1)[0].tolist() == [[0, 0], [1, 0], [2, 0]], "no second nearest"
    twins = rows([0, 0], [0, 0])
    assert nearest(rows([0, 0]), twins, 9, ratio=1.0)[0].tolist() == []


def test_mutual_by_hand():
    index = rows([0, 0], [4, 0])
    query = rows([1, 0], [0.5, 0], [5, 0], [2.5, 0])
    assert nearest(query, index, 9)[0].tolist() == [[0, 0], [1, 0], [2, 1], [3, 1]]
    assert nearest(query, index, 9, mutual=True)[0].tolist() == [[1, 0], [2, 1]]
    same = rows([0, 0], [0, 0])
    assert nearest(same, same[:1], 9, mutual=True)[0].tolist() == [[0, 0]]


@pytest.mark.parametrize("options", [{}, {"ratio": 0.9}, {"mutual": True}, {"ratio": 0.95, "mutual": True}])
def test_blocks_change_nothing(options, monkeypatch):
    rng = np.random.default_rng(0)
    query, index = (rng.integers(-2, 3, (n, 6)).astype(np.float32) for n in (53, 31))
    whole = nearest(query, index, 3.0, **options)
    monkeypatch.setattr(matching, "BLOCK", 31 * 4)
    blocks = nearest(query, index, 3.0, **options)
    assert len(whole[0]) > 3
    np.testing.assert_array_equal(blocks[0], whole[0])
    np.testing.assert_array_equal(blocks[1], whole[1])


def test_golden_tentative_matches():
    golden = np.load(DATA / "local_match.npz")
    query, index = (golden[f"descriptors/{side}"].astype(np.float32) for side in ("query", "index"))
    np.testing.assert_array_equal(nearest(query, index)[0], golden["descriptors/putative_pairs"])


def test_match_gives_the_pairs_that_agree_and_their_transform():
    keypoints, descriptors = scene()
    index = features(keypoints, descriptors, "index")
    shuffled = np.random.default_rng(5).permutation(60)
    seen = view(keypoints, descriptors, TRANSFORM, agreeing=40)
    query = features(seen.keypoints[shuffled], seen.descriptors[shuffled], "query")
    found = match(query, index)
    assert found.tentative == 60
    assert len(found) == 40
    assert found.pairs.dtype == np.int64
    assert sorted(found.pairs[:, 1]) == list(range(40))
    np.testing.assert_array_equal(shuffled[found.pairs[:, 0]], found.pairs[:, 1])
    assert (np.diff(found.pairs[:, 0]) > 0).all(), "in the order of the query's features"
    np.testing.assert_allclose(found.transform, TRANSFORM, atol=1e-3)
    again = match(query, index)
    np.testing.assert_array_equal(again.pairs, found.pairs)
    np.testing.assert_array_equal(again.transform, found.transform)


def test_nearer_descriptors_are_tried_first_and_pairs_come_in_the_querys_order():
    keypoints, descriptors = scene(n=300)
    rng = np.random.default_rng(8)
    noise = rng.normal(size=descriptors.shape) * 0.03
    noise[270:] *= 0.3 + 0.7 * rng.random((30, 1))  # the right ones, of unequal distance
    seen = view(keypoints[::-1], descriptors[::-1], TRANSFORM, agreeing=30)
    query, index = features(seen.keypoints[::-1], descriptors + noise), features(keypoints, descriptors)
    assert match(query, index).tentative == 300
    found = match(query, index, trials=40)
    assert found.pairs.tolist() == [[i, i] for i in range(270, 300)]


def test_the_residual_is_in_pixels_of_the_query():
    """The query is seven times as large: an error of 4 pixels there is about half a pixel in the index image."""
    keypoints, descriptors = scene()
    error = np.random.default_rng(1).choice([-1, 1], (60, 2)) * 4 / np.sqrt(2)
    large = features(7 * keypoints + error, descriptors)
    small = features(keypoints, descriptors)
    assert len(match(large, small, residual=20.0)) == 60
    assert len(match(large, small, residual=2.0)) < 30
    assert len(match(small, large, residual=2.0)) == 60


def test_three_tentative_matches_or_fewer_are_none():
    keypoints, descriptors = scene(n=4)
    index = features(keypoints, descriptors)
    assert len(match(index, index)) == 4
    found = match(features(keypoints[:3], descriptors[:3]), index)
    assert (len(found), found.tentative, found.transform) == (0, 3, None)


def test_images_without_features():
    keypoints, descriptors = scene(n=10)
    full, none = features(keypoints, descriptors), features(np.zeros((0, 2)), np.zeros((0, 0)))
    for query, index in ((full, none), (none, full), (none, none)):
        found = match(query, index)
        assert (len(found), found.tentative, found.transform) == (0, 0, None)
        assert found.pairs.shape == (0, 2)


def test_options_reach_the_matching_and_the_geometry():
    keypoints, descriptors = scene()
    index = features(keypoints, descriptors)
    mirrored = view(keypoints, descriptors, [[-1, 0, 400], [0, 1, 0]], agreeing=60)
    assert len(match(mirrored, index)) == 0
    assert len(match(mirrored, index, plausible_only=False)) == 60
    assert match(index, index, model="homography").transform.shape == (3, 3)
    assert len(match(index, index, min_matches=61)) == 0
    noisy = features(keypoints, np.roll(descriptors, 1, axis=1))
    assert match(noisy, index).tentative == 0
    assert match(noisy, index, matching_threshold=1.6).tentative == 60
    assert match(noisy, index, matching_threshold=1.6, mutual=True).tentative < 60
    assert match(noisy, index, matching_threshold=1.6, ratio=0.9).tentative < 60


def test_bad_arguments_and_features_are_named():
    keypoints, descriptors = scene(n=5)
    good = features(keypoints, descriptors, "good")
    for options, message in (
        ({"matching_threshold": 0}, "matching_threshold expects"),
        ({"ratio": 1.5}, "ratio expects"),
        ({"ratio": 0}, "ratio expects"),
        ({"model": "rigid"}, "choices are affine"),
        ({"residual": -1.0}, "residual expects"),
    ):
        with pytest.raises(InputError, match=message):
            match(good, good, **options)
    with pytest.raises(InputError, match="'good' and 'short' differ in dimension: 128 and 5"):
        match(good, features(keypoints, descriptors[:, :5], "short"))
    broken = descriptors.copy()
    broken[2, 3] = np.nan
    with pytest.raises(InputError, match="'broken' hold values that are not finite"):
        match(good, features(keypoints, broken, "broken"))
    with pytest.raises(InputError, match="'broken' hold values that are not finite"):
        match(features(keypoints * np.inf, descriptors, "broken"), good)


@pytest.mark.parametrize("find", [match, released.match])
def test_descriptors_of_zero_match_nothing(find):
    """They are at distance 0 from each other, and nearer than most to any other."""
    keypoints, descriptors = scene(n=20)
    blank = descriptors.copy()
    blank[8:] = 0
    for threshold in (1.0, 1.3):
        found = find(features(keypoints, blank), features(keypoints, blank), matching_threshold=threshold)
        assert found.tentative == 8 and found.pairs.tolist() == [[i, i] for i in range(8)]
        unlike = features(keypoints, descriptors[:, ::-1])
        assert find(unlike, features(keypoints, blank), matching_threshold=threshold).tentative == 0

"""Local matching against the released code: tentative matches, RANSAC of one seed, and OpenCV's fits on true pairs."""

import numpy as np
import pytest

from matching.local import matching, released
from tests.matching.helpers import local as features

CASES_OF = "local_match"


def pair(case):
    return [
        features(case[f"{side}_locations"][:, ::-1], case[f"{side}_descriptors"].astype(np.float32), side)
        for side in ("query", "index")
    ]


def test_the_reference_mode(case):
    """Counts and inliers of seed 0 under each rule, and the counts of ten seeds."""
    query, index = pair(case)
    np.testing.assert_array_equal(matching.nearest(query.descriptors, index.descriptors)[0], case["putative_pairs"])
    for field, options in (("", {}), ("_thr0.9", {"matching_threshold": 0.9}), ("_ratio0.85", {"ratio": 0.85})):
        found = released.match(query, index, **options)
        assert found.tentative == case[f"putatives{field}"], field
        assert len(found) == case[f"inliers{field}"], field
    expected = case["putative_pairs"][case["inlier_mask"]] if case["inliers"] else np.zeros((0, 2))
    np.testing.assert_array_equal(released.match(query, index).pairs, expected)
    counts = [len(released.match(query, index, seed=seed)) for seed in range(10)]
    np.testing.assert_array_equal(counts, case["inliers_seeds0_9"])


@pytest.mark.parametrize("seed", range(3))
def test_opencv_finds_the_true_pairs(case, seed):
    query, index = pair(case)
    assert matching.match(query, index, matching_threshold=0.9).tentative == case["putatives_thr0.9"]
    assert matching.match(query, index, ratio=0.85).tentative == case["putatives_ratio0.85"]
    found = matching.match(query, index, seed=seed)
    assert found.tentative == case["putatives"]
    counts, true = case["inliers_seeds0_9"], {tuple(row) for row in case["true_pairs"].tolist()}
    if not true:
        assert len(found) <= counts.max()
        return
    assert len(found) >= counts.max()
    assert sum(tuple(row) in true for row in found.pairs.tolist()) >= 0.95 * len(found)
    moved = index.keypoints[found.pairs[:, 1]] @ found.transform[:, :2].T + found.transform[:, 2]
    assert np.linalg.norm(moved - query.keypoints[found.pairs[:, 0]], axis=1).max() < 20

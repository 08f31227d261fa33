"""Evidence of pairs whose agreement is known."""

import numpy as np
import pytest

from extraction.features import Features
from matching.local import geometry
from matching.local.matching import Inliers, match, points
from matching.verdict import ABSENT
from matching.verdict.calibration import shipped
from matching.verdict.evidence import Background, evidence_of
from tests.matching.helpers import DATA, local, scene, unit, view

TURN = [[0.9, -0.3, 40.0], [0.3, 0.9, -20.0]]


def evidence(query, index, residual=4.0, **options):
    return evidence_of(query, index, match(query, index, residual=residual, **options), residual=residual)


def test_a_true_pair_is_no_chance_and_unrelated_photos_are():
    keypoints, descriptors = scene(n=60)
    index = local(keypoints, descriptors)
    true = evidence(view(keypoints, descriptors, TURN, 30), index)
    assert (true.inliers, true.tentative) == (30, 60)
    assert true.surprise > 30
    np.testing.assert_allclose([true.scale, true.stretch], [0.9**0.5, 1], atol=0.02)
    noise = evidence(local(*scene(seed=5)), index, matching_threshold=2.0)
    assert noise.tentative == 60 and noise.surprise < 2


@pytest.mark.parametrize("pair", [0, 1])
def test_forty_inliers_of_a_palace_and_a_milk_carton_are_chance(pair):
    """RootSIFT of unrelated photos by the released settings: 1,000 one-way matches, a residual of 20 pixels.

    ``unrelated.npz`` holds keypoints and scales of a photo of a palace and of one of a milk carton, and the nearest
    descriptor of each: the matches with most inliers among photos of three places and of 781 groceries.
    """
    with np.load(DATA / "unrelated.npz") as file:
        query, index = (
            Features(
                name,
                tuple(file[f"{name}{pair}_size"].tolist()),
                keypoints=file[f"{name}{pair}"][:, :2],
                descriptors=np.zeros((len(file[f"{name}{pair}"]), 1), np.float32),
                scores=np.zeros(len(file[f"{name}{pair}"]), np.float32),
                scales=file[f"{name}{pair}"][:, 2],
            )
            for name in ("query", "index")
        )
        pairs = file[f"pairs{pair}"].astype(np.int64)
    fit = geometry.fit(*points(query, index, pairs))
    inliers = Inliers(pairs[fit.inliers], fit.transform, len(pairs))
    assert len(pairs) == 1000 and len(inliers) >= 35, "the released rule confirms the pair"
    seen = evidence_of(query, index, inliers, residual=20.0)
    assert seen.inliers > 20 and seen.surprise == 0
    for calibration in (one for one in shipped() if one.heads == ("local",)):
        assert calibration.verdict(seen).label == ABSENT


def test_inliers_of_one_place_count_once_and_cover_nothing():
    keypoints, descriptors = scene(n=40)
    crowded = keypoints.copy()
    crowded[8:] = crowded[8] + np.linspace(0, 0.01, 32)[:, None]
    wide, narrow = (evidence(local(points, descriptors), local(points, descriptors)) for points in (keypoints, crowded))
    assert wide.inliers == 40 and narrow.inliers <= 10
    assert wide.surprise > 2 * narrow.surprise
    assert wide.coverage > 2 * narrow.coverage > 0


def test_scales_that_fit_the_transform_add_to_the_surprise():
    keypoints, descriptors = scene(n=40)
    scales = 2.0 ** np.random.default_rng(3).uniform(-2, 2, 40)

    def scaled(points, factor):
        image = local(points, descriptors)
        return Features(**(vars(image) | {"scales": (scales * factor).astype(np.float32)}))

    fitting, not_fitting = (evidence(scaled(keypoints * 2, f), scaled(keypoints, 1)) for f in (2, 1 / 2))
    assert fitting.scale == pytest.approx(2) and fitting.inliers == not_fitting.inliers
    assert fitting.surprise > not_fitting.surprise + 5


def test_without_inliers_without_local_features_and_with_a_homography():
    keypoints, descriptors = scene(n=20)
    index = local(keypoints, descriptors)
    none = evidence(local(*scene(seed=1, n=20)), index)
    assert (none.inliers, none.surprise, none.coverage) == (0, 0, 0)
    assert evidence_of(index, index, None, residual=4.0).tentative is None
    bent = keypoints / (1 + 0.0002 * keypoints[:, :1])
    query = local(bent, descriptors)
    inliers = match(query, index, residual=2.0, model="homography")
    seen = evidence_of(query, index, inliers, residual=2.0, model="homography")
    assert seen.inliers == 20 and 0.9 < seen.scale < 1 and 1 < seen.stretch < 1.2


def test_the_gap_tells_a_high_similarity_from_a_usual_one():
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(1000, 64)))
    background = Background.of(rows)
    assert len(background.descriptors) == 256
    near = unit(rows[0] + 0.05 * rng.normal(size=64))
    usual = [background.gap(near, float(near @ row)) for row in rows[1:200]]
    assert abs(np.mean(usual)) < 0.3 and np.std(usual) == pytest.approx(1, abs=0.2)
    assert background.gap(near, float(near @ rows[0])) > 5
    assert Background.of(np.zeros((5, 0), np.float32)).gap(near, 1.0) is None
    assert Background.of(rows[:0]).gap(near, 1.0) is None
    assert Background.of(rows[:19]).gap(near, 1.0) is None, "few similarities do not say what is usual"

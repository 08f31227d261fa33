"""Multi-scale extraction against the released extractor: 7 scales, three of them global, at most 200 features."""

from pathlib import Path

import numpy as np
import pytest

from extraction.delg_extractor import DelgExtractor, ExtractionConfig
from extraction.resize import limited_size, resize
from tests.golden import rule

DATA = Path(__file__).parent / "data" / "delg_extract_small.npz"
SCALES = (0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0)
IMAGE = rule.synthetic_image(13, 225, 289)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA) as file:
        return dict(file)


def test_the_resized_image_is_the_released_one(golden):
    size = limited_size(IMAGE.shape[1], IMAGE.shape[0], max_image_size=160)
    assert size == (160, 125)
    np.testing.assert_array_equal(resize(IMAGE, size), golden["resized_image"])


@pytest.mark.slow
@pytest.mark.parametrize(("case", "max_image_size"), [("extractor", -1), ("extractor_max160", 160)])
def test_features_equal_the_released_extractor(released, golden, case, max_image_size):
    prefix, model = released
    expected = {
        key: golden[f"{prefix}/{case}/{key}"]
        for key in ("global_descriptor", "locations", "descriptors", "scales", "attention", "threshold")
    }
    config = ExtractionConfig(
        image_scales=SCALES,
        global_scales_ind=(3, 4, 5),
        max_image_size=max_image_size,
        max_feature_num=200,
        score_threshold=float(expected["threshold"]),
        keypoints="released",
    )
    features = DelgExtractor(model, config)(IMAGE, "image")
    assert np.abs(features.global_descriptor - expected["global_descriptor"]).max() <= 1e-6
    order = same_order(features.scores, features.keypoints, features.scales, expected)
    np.testing.assert_allclose(features.keypoints[order][:, ::-1], expected["locations"], atol=1e-3)
    np.testing.assert_allclose(features.scales[order], expected["scales"], atol=1e-5)
    np.testing.assert_allclose(features.scores[order], expected["attention"], atol=5e-5)
    first = len(expected["descriptors"])
    assert np.abs(features.descriptors[order][:first] - expected["descriptors"]).max() <= 3e-6


def same_order(scores, keypoints, scales, expected):
    """Our rows in the order of the golden ones: neighbours may be swapped where scores are closer than 1e-4."""
    assert len(scores) == len(expected["attention"])
    place = np.column_stack([keypoints[:, ::-1], scales])
    theirs = np.column_stack([expected["locations"], expected["scales"]])
    order = np.array([int(np.abs(place - row).max(1).argmin()) for row in theirs])
    assert len(set(order.tolist())) == len(order)
    for row, column in enumerate(order):
        assert row == column or abs(scores[column] - scores[row]) < 1e-4
    return order

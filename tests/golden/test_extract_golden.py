"""Multi-scale extraction against the released extractor: 7 scales, three of them global, at most 200 features."""

import json

import numpy as np
import pytest

from extraction.extractors.delg import DelgExtractor, ExtractionConfig
from extraction.resize import limited_size, resize
from tests.golden import rule
from tests.golden.conftest import largest_difference, load_golden

SCALES = (0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0)
FEATURES = 200


@pytest.fixture(scope="module")
def golden(request) -> dict[str, np.ndarray]:
    return load_golden(request.config, "delg_extract")


@pytest.fixture(scope="module")
def meta(golden) -> dict:
    return json.loads(str(golden["meta"]))


@pytest.fixture(scope="module")
def image(meta) -> np.ndarray:
    return rule.synthetic_image(*meta["image"])


def test_the_resized_image_is_the_released_one(golden, meta, image):
    size = limited_size(image.shape[1], image.shape[0], max_image_size=meta["max_image_size"])
    for prefix in ("strides0", "strides1"):
        expected = golden[f"{prefix}/extractor_max160/resized_image"]
        np.testing.assert_array_equal(resize(image, size), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("released", "case"),
    [(True, "extractor"), (True, "extractor_max160"), (False, "extractor_max160")],
    indirect=["released"],
    scope="session",
)
def test_features_equal_the_released_extractor(released, golden, meta, image, case, measured):
    prefix, model = released
    names = ("global_descriptor", "locations", "descriptors", "scales", "attention", "threshold")
    expected = {name: golden[f"{prefix}/{case}/{name}"] for name in names}
    config = ExtractionConfig(
        image_scales=SCALES,
        global_scales_ind=(3, 4, 5),
        max_image_size=meta["max_image_size"] if case == "extractor_max160" else -1,
        max_feature_num=FEATURES,
        score_threshold=float(expected["threshold"]),
        keypoints="released",
    )
    found = DelgExtractor(model, config)(image, "image")
    difference = largest_difference(found.global_descriptor, expected["global_descriptor"])
    measured("DELG extraction: global descriptor", difference, 1e-6)
    order = same_order(found.scores, found.keypoints, found.scales, expected)
    for stage, ours, theirs, tolerance in (
        ("locations, px", found.keypoints[:, ::-1], expected["locations"], 1e-3),
        ("scales", found.scales, expected["scales"], 1e-5),
        ("attention", found.scores, expected["attention"], 5e-5),
        ("local descriptors", found.descriptors, expected["descriptors"], 3e-6),
    ):
        rows = order[: len(theirs)]  # a shortened copy holds the first descriptors only
        measured(f"DELG extraction: {stage}", largest_difference(ours[rows], theirs), tolerance)


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

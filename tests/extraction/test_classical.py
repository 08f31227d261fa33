import subprocess
import sys

import cv2
import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.extractors.histogram import Histogram, histogram
from extraction.extractors.rootsift import RootSift, codebook, vlad
from extraction.extractors.table import build_extractor
from tests.extraction.pictures import picture

CLASSICAL = ["rootsift", "histogram", "histogram(pyramid=True)"]
ODD_SIZES = [(1, 1), (3, 500), (500, 3), (2, 2), (17, 1)]


def blob(x, y, sigma, side=96):
    grid = np.mgrid[0:side, 0:side]
    value = 255 * np.exp(-((grid[1] - x) ** 2 + (grid[0] - y) ** 2) / (2 * sigma**2))
    return np.repeat(value[..., None], 3, -1).astype(np.uint8)


@pytest.mark.parametrize("text", CLASSICAL)
def test_invariants(text):
    features = build_extractor(text, max_feature_num=30)(picture(200, 300), "x")
    assert (features.name, features.image_size, len(features)) == ("x", (300, 200), 30)
    assert abs(np.linalg.norm(features.global_descriptor) - 1) < 1e-6
    np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1, atol=1e-5)
    assert features.descriptors.min() >= 0
    assert np.all(np.diff(features.scores) <= 0)
    assert np.all(features.keypoints > 0)
    assert np.all(features.keypoints < [300, 200])
    again = build_extractor(text, max_feature_num=30)(picture(200, 300), "x")
    np.testing.assert_array_equal(features.global_descriptor, again.global_descriptor)
    np.testing.assert_array_equal(features.descriptors, again.descriptors)


@pytest.mark.parametrize("text", CLASSICAL)
@pytest.mark.parametrize("size", ODD_SIZES)
def test_odd_images(text, size):
    features = build_extractor(text)(picture(*size), "x")
    assert abs(np.linalg.norm(features.global_descriptor) - 1) < 1e-6
    assert features.descriptors.shape == (len(features), 128)


def test_keypoints_and_scales_are_in_the_given_image():
    features = RootSift()(blob(50, 40, 6.0), "x")
    np.testing.assert_allclose(features.keypoints[0], [50, 40], atol=0.1)
    assert features.scales[0] == pytest.approx(6.0 * np.sqrt(2) * 1.25 / 3.2, rel=0.15)
    half = RootSift(max_image_size=48)(blob(50, 40, 6.0), "x")
    np.testing.assert_allclose(half.keypoints[0], [50, 40], atol=0.3)
    assert half.scales[0] == pytest.approx(features.scales[0], rel=0.1)
    cropped = RootSift(max_image_size=96)(blob(50, 40, 6.0), "x", resize_factor=0.5)
    np.testing.assert_array_equal(cropped.keypoints, half.keypoints)


def test_descriptors_are_square_roots_of_l1_normalised_sift():
    image = picture(120, 160)
    _, sift = cv2.SIFT_create(enable_precise_upscale=True).detectAndCompute(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None
    )
    expected = np.sqrt(sift / sift.sum(1, keepdims=True))
    ours = RootSift(max_feature_num=10000)(image, "x").descriptors
    assert len(ours) == len(expected)
    nearest = np.abs(ours[:, None] - expected[None]).max(-1).min(1)
    assert nearest.max() < 1e-6


def test_vlad_by_hand():
    centres = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    descriptors = np.array([[0.8, 0.6], [0.96, 0.28]], np.float32)
    block = np.array([-0.24, 0.88]) / np.hypot(0.24, 0.88)
    np.testing.assert_allclose(vlad(descriptors, centres), [*block, 0, 0], atol=1e-6)
    both = vlad(np.array([[0.8, 0.6], [0.6, 0.8]], np.float32), centres)
    first = np.array([-0.2, 0.6]) / np.hypot(0.2, 0.6)
    np.testing.assert_allclose(both, np.array([*first, *first[::-1]]) / np.sqrt(2), atol=1e-6)
    uneven = np.array([[0.8, 0.0], [0.0, 0.5]], np.float32)  # squared distances of (0.8, 0.6): 0.36 and 0.65
    np.testing.assert_allclose(vlad(descriptors[:1], uneven), [0, 1, 0, 0], atol=1e-6)
    near = np.array([[0.6, 0.0], [0.0, 0.4]], np.float32)  # of (0.3, 0.25): 0.1525 and 0.1125
    second = np.array([0.3, -0.15]) / np.hypot(0.3, 0.15)
    np.testing.assert_allclose(vlad(np.array([[0.3, 0.25]], np.float32), near), [0, 0, *second], atol=1e-6)
    np.testing.assert_allclose(vlad(np.zeros((0, 2), np.float32), centres), [0.5] * 4)


def test_the_codebook_is_spread():
    centres = codebook()
    assert centres.shape == (32, 128)
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    assert distances[~np.eye(32, dtype=bool)].min() > 0.2


def test_vlad_finds_the_shifted_view_of_a_scene():
    views = [picture(240, 320, seed) for seed in range(8)]
    extractor = RootSift()
    database = np.stack([extractor(view, "d").global_descriptor for view in views])
    queries = np.stack([extractor(view[20:, 30:], "q").global_descriptor for view in views])
    assert np.argmax(queries @ database.T, axis=1).tolist() == list(range(8))


def test_histogram_by_hand():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0] = image[0, 1] = image[1, 0] = (255, 0, 0)
    image[1, 1] = (0, 0, 255)
    vector = histogram(image, (3, 1, 1))  # hue 0, and hue 120 of 180
    np.testing.assert_allclose(vector, [np.sqrt(0.75), 0, np.sqrt(0.25)], atol=1e-6)
    one = Histogram(bins=(3, 1, 1), pyramid=True)(image, "x").global_descriptor
    red, blue = [1, 0, 0], [0, 0, 1]
    np.testing.assert_allclose(one, np.concatenate([vector, red, red, red, blue]) / np.sqrt(5), atol=1e-6)


def test_settings_record_what_matters():
    settings = build_extractor("histogram(bins=(8, 2, 2))", max_image_size=500).settings
    assert settings["extractor"] == "histogram"
    assert settings["bins"] == [8, 2, 2]
    assert settings["max_image_size"] == 500
    assert settings["max_feature_num"] == 1000
    assert settings["decoder"].startswith("pillow ")
    assert (settings["exif"], settings["truncated"], settings["crop_border"]) == ("orientation applied", "skip", "cut")
    assert {"opencv", "resize", "package_version"} <= settings.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("surf", "histogram, pair, rootsift, saved_model, untrained"),
        ("no/such/folder", "neither a model folder nor an extractor"),
        ("rootsift(size=3)", "max_image_size, max_feature_num"),
        ("rootsift(max_feature_num=0)", "max_feature_num expects 1 or more"),
        ("rootsift(max_feature_num='many')", "max_feature_num expects 1 or more"),
        ("rootsift(max_image_size=True)", "max_image_size expects 1 or more.*True"),
        ("histogram(max_feature_num=True)", "max_feature_num expects 1 or more.*True"),
        ("rootsift(max_image_size=0)", "max_image_size expects 1 or more"),
        ("histogram(bins=(0, 1, 1))", "three whole numbers"),
        ("histogram(bins=(4, 4))", "three whole numbers"),
        ("histogram(bins=4)", "three whole numbers"),
    ],
)
def test_bad_choices_are_a_sentence(text, said):
    with pytest.raises(InputError, match=said):
        build_extractor(text)


def test_an_option_that_the_extractor_lacks_is_refused():
    with pytest.raises(InputError, match="image_scales"):
        build_extractor("rootsift", image_scales=[1.0])
    assert build_extractor("rootsift", image_scales=None).settings["extractor"] == "rootsift"


def test_the_classical_extractors_need_no_keras():
    code = (
        "import sys; from extraction.extractors.table import build_extractor; build_extractor('rootsift'); "
        "import extraction.pipeline; print([m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"

import cv2
import numpy as np
import pytest

from extraction.scaling import SCALE_RULES, Pyramid
from tests.extraction.pictures import picture

IMAGE = picture(61, 83, seed=1)


def plain(x):
    return np.asarray(x, np.float32)


@pytest.mark.parametrize(
    ("rule", "scale", "expected"),
    [
        ("delg", 0.5, (42, 30)),  # 41.5 and 30.5 go to the even neighbour
        ("superglobal", 0.5, (41, 30)),
        ("cvnet", 0.5, (42, 30)),
        ("delg", 0.7071, (59, 43)),  # 58.7 and 43.1
        ("superglobal", 0.7071, (58, 43)),
        ("superglobal", 1.4142, (117, 86)),  # 117.4 and 86.3
        ("superglobal", 0.01, (0, 0)),
    ],
)
def test_sizes(rule, scale, expected):
    assert SCALE_RULES[rule].size((83, 61), scale) == expected


@pytest.mark.parametrize("rule", SCALE_RULES)
def test_scale_one_is_the_image(rule):
    scaled = Pyramid(IMAGE, SCALE_RULES[rule], False, plain)
    np.testing.assert_array_equal(scaled(1.0, (83, 61)), IMAGE[None].astype(np.float32))
    assert scaled.base == (83, 61)


@pytest.mark.parametrize("scale", [0.5, 0.7071, 1.4142])
def test_opencv_has_the_same_sizes_and_interpolates_by_the_factor(scale):
    rule = SCALE_RULES["cvnet"]
    size = rule.size((83, 61), scale)
    got = np.asarray(Pyramid(IMAGE, rule, False, plain)(scale, size))[0]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    expected = cv2.resize(IMAGE, None, fx=scale, fy=scale, interpolation=method)
    assert expected.shape[1::-1] == size
    np.testing.assert_array_equal(got, expected)
    if scale > 1:
        assert (cv2.resize(IMAGE, size, interpolation=method) != expected).any(), "by the ratio of the sides it differs"


def test_a_raised_size_is_obeyed():
    for rule in SCALE_RULES.values():
        assert np.asarray(Pyramid(IMAGE, rule, False, plain)(0.5, (90, 70))).shape == (1, 70, 90, 3)


def test_the_input_is_resized_after_it_was_normalised():
    calls = []

    def normalize(x):
        calls.append(x.shape)
        return plain(x) / 100

    scaled = Pyramid(IMAGE, SCALE_RULES["superglobal"], False, normalize)
    assert [np.asarray(scaled(s, z)).shape for s, z in ((0.5, (41, 30)), (2.0, (166, 122)))] == [
        (1, 30, 41, 3),
        (1, 122, 166, 3),
    ]
    assert calls == [(1, 61, 83, 3)]
    pixels = Pyramid(IMAGE, SCALE_RULES["cvnet"], False, normalize)
    pixels(0.5, (42, 30))
    assert calls[1:] == [(1, 30, 42, 3)]


def test_halving_by_hand_with_and_without_antialias():
    row = np.array([0, 100, 200, 100, 0, 0, 0, 0], np.uint8)
    image = np.repeat(np.repeat(row[None, :, None], 2, 0), 3, 2)
    off, on = (
        np.asarray(Pyramid(image, SCALE_RULES["delg"], antialias, plain)(0.5, (4, 2)))[0, 0, :, 0]
        for antialias in (False, True)
    )
    np.testing.assert_allclose(off, [50, 150, 0, 0], atol=1e-4)  # the mean of the two nearest pixels
    # a triangle of half-width 2 around each centre: weights 1/8, 3/8, 3/8, 1/8, renormalised at the border
    np.testing.assert_allclose(on, [(300 + 200) / 7, (100 + 600 + 300) / 8, 100 / 8, 0], atol=1e-3)

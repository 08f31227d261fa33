import numpy as np
import pytest

from extraction.resize import INTERPOLATIONS, limited_size, resize, to_source


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1600, 1200, 1024), (1024, 768)),
        ((1200, 1600, 1024), (768, 1024)),
        ((800, 600, 1024), (800, 600)),
        ((1024, 5, 1024), (1024, 5)),
        ((800, 600), (800, 600)),
        ((8, 5, 4), (4, 2)),  # 2.5 goes to the even neighbour
        ((8, 7, 4), (4, 4)),  # 3.5 likewise
        ((5000, 3, 1024), (1024, 1)),  # never less than a pixel
        ((100, 50, -1, 200), (200, 100)),
        ((100, 50, 1000, 200), (200, 100)),
        ((1600, 1200, 1024, -1, 0.5), (512, 384)),  # a crop's limit shrinks
    ],
)
def test_limited_size(arguments, expected):
    assert limited_size(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "multiple", "expected"),
    [
        ((1600, 1200, 518), 14, (518, 392)),  # 388.5 is 27.75 patches
        ((700, 20, 518), 14, (518, 14)),
        ((100, 50), 16, (96, 48)),
        ((5, 5), 16, (16, 16)),
    ],
)
def test_sides_are_multiples_of_a_patch(arguments, multiple, expected):
    assert limited_size(*arguments, multiple=multiple) == expected


def test_interpolations():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    exact = resize(image, (30, 24), "float_bilinear")
    assert exact.dtype == np.float32 and resize(image, (30, 24)).dtype == np.uint8
    assert np.abs(exact - resize(image, (30, 24))).max() <= 1
    assert 5 < np.abs(exact - resize(image, (30, 24), "bicubic")).max() < 100
    assert all(resize(image, (60, 40), how) is image for how in INTERPOLATIONS)


def test_both_sides_are_rounded_half_to_even():
    assert limited_size(103, 200, 100) == (52, 100)
    assert limited_size(200, 103, 100) == (100, 52)
    assert limited_size(101, 200, 100) == (50, 100)
    assert limited_size(200, 101, 100) == (100, 50)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1600, 1200, 1024), (1024, 1024)),
        ((600, 800, 1024), (800, 800)),
        ((100, 50, -1, 200), (200, 200)),
        ((1600, 1200, 1023, -1, 0.5), (512, 512)),
    ],
)
def test_squares_are_as_long_as_the_longest_side(arguments, expected):
    assert limited_size(*arguments, square=True) == expected


def test_resize_is_antialiased_and_leaves_the_right_size_alone():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, ::2] = 200
    assert resize(image, (8, 8)) is image
    small = resize(image, (2, 4))
    assert small.shape == (4, 2, 3)
    assert np.abs(small.astype(int) - 100).max() <= 20  # an average, where plain sampling gives 0 or 200


def test_to_source_maps_corners_of_the_pixel_grid():
    points = np.array([[-0.5, -0.5], [49.5, 19.5], [0.0, 0.0]])
    mapped = to_source(points, (50, 20), (100, 60))
    np.testing.assert_allclose(mapped, [[-0.5, -0.5], [99.5, 59.5], [0.5, 1.0]])

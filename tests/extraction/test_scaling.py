import cv2
import numpy as np
import pytest

from extraction.scaling import SCALE_RULES, Pass, Pyramid, plan_passes
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


def both(side: int) -> dict[str, int]:
    return {"global": side, "local": side}


def test_plan_runs_only_what_is_wanted_in_the_order_of_the_scales():
    assert plan_passes((2.0, 0.5, 1.0), (2, 0, 2), (100, 60), both(10)) == [
        Pass(2.0, (200, 120), ("global", "local")),
        Pass(0.5, (50, 30), ("local",)),
        Pass(1.0, (100, 60), ("global", "local")),
    ]


def test_plan_rounds_by_the_rule():
    assert [p.size for p in plan_passes((0.5,), (0,), (25, 27), both(2))] == [(12, 14)]
    assert [p.size for p in plan_passes((0.5,), (0,), (25, 27), both(2), SCALE_RULES["superglobal"])] == [(12, 13)]


def test_plan_leaves_out_scales_below_the_smallest_side():
    passes = plan_passes((0.25, 0.5, 1.0), (0, 1), (100, 40), both(20))
    assert passes == [Pass(0.5, (50, 20), ("global", "local")), Pass(1.0, (100, 40), ("local",))]


def test_plan_raises_the_sides_where_no_scale_is_left():
    assert plan_passes((0.5, 1.0), (1,), (500, 3), both(20)) == [Pass(1.0, (500, 20), ("global", "local"))]
    assert plan_passes((0.5, 1.0), (0, 1), (1, 1), both(20)) == [Pass(1.0, (20, 20), ("global", "local"))]
    assert plan_passes((0.5, 2.0), (0,), (30, 12), both(20)) == [  # the global scale is too small, the local one is not
        Pass(0.5, (20, 20), ("global",)),
        Pass(2.0, (60, 24), ("local",)),
    ]


def test_each_head_has_its_own_smallest_side():
    assert plan_passes((0.5, 1.0), (0, 1), (90, 80), {"global": 65, "local": 5}) == [
        Pass(0.5, (45, 40), ("local",)),
        Pass(1.0, (90, 80), ("global", "local")),
    ]
    assert plan_passes((0.5, 1.0), (0,), (90, 80), {"global": 65, "local": 5}) == [
        Pass(0.5, (65, 65), ("global", "local")),
        Pass(1.0, (90, 80), ("local",)),
    ]


def test_a_model_without_a_local_head_runs_at_the_global_scales_only():
    assert plan_passes((0.5, 1.0, 2.0), (1,), (90, 80), {"global": 5}) == [Pass(1.0, (90, 80), ("global",))]


def test_shares_of_the_long_side_enlarge_nothing_and_count_once():
    def plan(base, longest, sides=None):
        scales, rule = (0.5, 0.75, 1.0), SCALE_RULES["long_side"]
        return plan_passes(scales, (0, 1, 2), base, sides or {"global": 1}, rule, longest=longest)

    assert [(p.size, p.scale) for p in plan((512, 300), 512)] == [
        ((256, 150), 0.5), ((384, 225), 0.75), ((512, 300), 1.0),
    ]  # fmt: skip
    assert [p.size for p in plan((348, 348), 512)] == [(256, 256), (348, 348)]
    assert [(p.size, p.heads) for p in plan((40, 100), 512, both(1))] == [((40, 100), ("global", "local"))]
    assert [p.size for p in plan((348, 348), 464)] == [(232, 232), (348, 348)], "of a crop, the limit is smaller"
    assert [p.size for p in plan((512, 4), 512, {"global": 3})] == [(384, 3), (512, 4)]

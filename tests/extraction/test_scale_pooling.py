import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.scale_pooling import SCALE_POOLINGS, build_scale_pooling, unit

VECTORS = np.array([[3.0, -4.0], [0.0, -2.0]])


def test_unit_norm():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(unit(np.array([1e-7, 0.0])), [0.1, 0.0])  # the released floor: 1e-12 on the squared norm


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum", [0.6, -1.8]),
        ("mean", [1.5, -3.0]),
        ("scale_gem", [0.6, -0.8]),  # the largest with its sign, not the largest magnitude
        ("scale_gem(p=1)", [1.5, -3.0]),
        ("scale_gem(p=2)", [((49 + 16) / 2) ** 0.5 - 4, (4 / 2) ** 0.5 - 4]),  # raised by 4, the least of all scales
    ],
)
def test_by_hand(text, expected):
    np.testing.assert_allclose(build_scale_pooling(text)(VECTORS), expected, atol=1e-12)


def test_a_large_exponent_is_the_maximum_of_what_is_not_normalised():
    np.testing.assert_allclose(build_scale_pooling("scale_gem(p=5000)")(VECTORS), [3.0, -2.0], atol=2e-3)


@pytest.mark.parametrize("text", ["sum", "mean", "scale_gem", "scale_gem(p=10)"])
def test_one_scale_keeps_its_direction_and_the_order_of_scales_has_no_meaning(text):
    join = build_scale_pooling(text)
    rng = np.random.default_rng(0)
    one, many = rng.normal(size=(1, 9)), rng.normal(size=(4, 9))
    np.testing.assert_allclose(unit(join(one)), unit(one[0]), atol=1e-9)
    np.testing.assert_allclose(join(many), join(many[::-1]), atol=1e-12)
    assert np.isfinite(join(np.zeros((3, 9)))).all()
    assert np.isfinite(join(np.full((3, 9), 1e-30))).all()


@pytest.mark.parametrize("text", ["maximum", "scale_gem(p=0)", "scale_gem(p='x')", "scale_gem(q=1)", "mean(p=1)"])
def test_bad_choices_are_a_sentence(text):
    with pytest.raises(InputError, match=r"mean, scale_gem, sum|p of 1 or more|its arguments are"):
        build_scale_pooling(text)
    assert sorted(SCALE_POOLINGS) == ["mean", "scale_gem", "sum"]

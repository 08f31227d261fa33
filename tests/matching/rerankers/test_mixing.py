"""The released mixing: its ends, scores so large that float32 cannot tell them apart, and numbers out of range."""

import numpy as np
import pytest

from delg.common.errors import InputError
from matching.rerankers.mixing import check_mixing, mixed

SIMILARITIES = np.array([0.9, 0.5, 0.5], np.float32)


def test_the_ends_of_the_weight_are_the_orders_of_the_parts():
    scores = np.array([-3, 0, 2], np.float32)
    np.testing.assert_array_equal(mixed(SIMILARITIES, scores, 1, 0.5), SIMILARITIES.astype(np.float64))
    np.testing.assert_allclose(mixed(SIMILARITIES, scores, 0, 1), [1 / (1 + np.e**3), 0.5, 1 / (1 + np.e**-2)])
    np.testing.assert_allclose(mixed(SIMILARITIES, scores, 0.25, 0), 0.25 * SIMILARITIES + 0.375)


def test_large_scores_still_differ_and_no_score_overflows():
    high = mixed(SIMILARITIES[1:], np.array([40, 41], np.float32), 0.5, 0.5)
    assert high[1] > high[0]
    assert mixed(SIMILARITIES, np.array([-1e30, 0, 1e30], np.float32), 0, 1).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(("weight", "temperature"), [(1.1, 1), (-0.1, 1), (float("nan"), 1), (0.5, -1), (0.5, "1")])
def test_numbers_out_of_range_are_refused(weight, temperature):
    with pytest.raises(InputError, match=r"ames: (weight|temperature) expects"):
        check_mixing("ames", weight, temperature)
    check_mixing("ames", 0.5, 0.5)

"""Predicted probabilities against observed shares."""

import pytest

from matching.verdict.calibration import Calibration, Judged
from matching.verdict.evidence import Evidence
from matching.verdict.reliability import bins_of, calibration_error, held_out


def test_bins_count_the_right_answers_of_nearly_one_probability():
    bins = bins_of([0.95, 0.97, 1.0, 0.05], [True, True, False, False])
    assert [(one.count, one.right, one.observed) for one in bins] == [(1, 0, 0), (3, 2, pytest.approx(2 / 3))]
    assert bins[1].predicted == pytest.approx(0.97333, abs=1e-4)


def test_the_error_is_the_mean_distance():
    assert calibration_error(bins_of([0.95] * 20, [True] * 19 + [False])) == pytest.approx(0)
    uneven = bins_of([0.95] * 20 + [0.05] * 20, [True] * 10 + [False] * 30)
    assert calibration_error(uneven) == pytest.approx(0.25)


def test_each_half_is_judged_by_what_the_other_half_teaches():
    """The second half contradicts the first: by its own lesson every answer would be certain, and right."""
    strong, weak = Evidence(0.9, 5.0), Evidence(0.1, 0.0)
    first = [Judged((strong,), (True,)), Judged((weak,), (False,))] * 20
    second = [Judged((strong,), (False,)), Judged((weak,), (True,))] * 20

    def learn(judged):
        return Calibration.learn(judged, extractor="x", images=10, source="")

    same = held_out(first + first, learn)
    assert calibration_error(same) < 0.1 and sum(one.count for one in same) == 80
    assert calibration_error(held_out(first + second, learn)) > 0.4

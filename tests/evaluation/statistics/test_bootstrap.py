"""Intervals and paired tests: against exact values, by how often they are right, and over groups of queries."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from evaluation.benchmarks import groundtruth
from evaluation.benchmarks.revisited import revisited
from evaluation.run.published_values import MODELS, beside, overlap
from evaluation.statistics import bootstrap
from evaluation.statistics.bootstrap import Mean, compare, holm, interval, ratio
from evaluation.statistics.clusters import groups
from evaluation.statistics.summary import trusted

GND = Path(__file__).parents[4] / "shared" / "gnd"


def own(count):
    return np.arange(count)


def test_the_interval_of_many_values_is_that_of_the_normal():
    values = np.random.default_rng(0).normal(50, 20, 400)
    found = interval(values, own(400))
    error = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - error, abs=0.15)
    assert found.high == pytest.approx(values.mean() + error, abs=0.15)


def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 1000)
    random, held = np.random.default_rng(1), 0
    for _ in range(300):
        found = interval(random.beta(2, 1, 70), own(70))
        held += found.low <= 2 / 3 <= found.high
    assert 0.90 <= held / 300 <= 0.98, held


@pytest.mark.parametrize("number", [5, 8, 12])
def test_intervals_of_few_unequal_groups_hold_the_truth_as_often_as_they_say(number, monkeypatch):
    """Percentiles alone hold it 81, 85 and 88 times in 100."""
    monkeypatch.setattr(bootstrap, "DRAWS", 1000)
    random, held = np.random.default_rng(number), 0
    for _ in range(600):
        sizes = np.maximum(1, np.round(5 * np.exp(random.normal(0, 1, number)))).astype(int)
        mean = np.repeat(np.clip(random.beta(2, 1, number), 1e-6, 1 - 1e-6), sizes)
        values = random.beta(3 * mean, 3 * (1 - mean))
        found = interval(values, np.repeat(np.arange(number), sizes))
        held += found.low <= 2 / 3 <= found.high
    assert 0.93 <= held / 600 <= 0.985, held


def test_an_interval_of_percent_ends_where_percent_does():
    few = Mean([100.0, 100, 100, 0], own(4))
    assert few.interval().high == 100 and interval(few.values, own(4)).high > 100
    worse = few.change_from(Mean([100.0, 100, 100, 100], own(4)))
    assert (worse.difference, worse.low) == (-25, -100) and worse.high > 0


def test_groups_widen_the_interval_where_their_queries_agree():
    values = np.repeat(np.random.default_rng(2).uniform(0, 100, 14), 5)
    alone, grouped = interval(values, own(70)), interval(values, np.repeat(np.arange(14), 5))
    assert (grouped.high - grouped.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(5), rel=0.15)


def test_the_ratio_of_two_times_and_its_interval():
    random = np.random.default_rng(4)
    fast = random.uniform(1, 3, 300)
    slow = 50 * fast * random.uniform(0.9, 1.1, 300)
    found = ratio(slow, fast, own(300))
    assert found.mean == pytest.approx(slow.mean() / fast.mean())
    error = 1.96 * np.std(slow - found.mean * fast) / fast.mean() / math.sqrt(300)
    assert (found.low, found.high) == pytest.approx((found.mean - error, found.mean + error), abs=0.06)


def test_the_paired_test_is_the_exact_one(monkeypatch):
    change = np.array([3.0, 1.0, -0.5, 2.0, 0.25, -1.0, 4.0])
    sums = np.array([np.dot(signs, change) for signs in itertools.product((1, -1), repeat=7)])
    exact = np.mean(np.abs(sums) >= change.sum() - 1e-12)
    assert compare(np.zeros(7), change, own(7)).p == exact
    monkeypatch.setattr(bootstrap, "EVERY", 0)
    assert compare(np.zeros(7), change, own(7)).p == pytest.approx(exact, abs=0.015)
    assert compare(np.zeros(5), np.ones(5), own(5)).p == pytest.approx(2**-4, abs=0.01)


def test_noise_is_called_progress_as_seldom_as_it_says(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", 500)
    random = np.random.default_rng(3)
    p = [compare(random.normal(50, 20, 30), random.normal(50, 20, 30), own(30)).p for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.085


def test_methods_without_a_difference_and_values_without_a_number():
    values = np.array([10.0, np.nan, 30.0, 20.0])
    same = compare(values, values, own(4))
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert interval(values, own(4)).mean == 20
    lone = compare(values, values + 1, np.array([0, 1, 0, 0]))
    assert lone.difference == 1 and math.isnan(lone.p) and math.isnan(lone.low)
    two = compare(values, values + 1, np.array([0, 1, 0, 2]))
    assert two.p == 0.5 and math.isnan(two.low) and math.isnan(interval(values, np.array([0, 1, 0, 2])).low)
    assert math.isnan(interval([np.nan], own(1)).mean)


def test_corrected_values_keep_their_order_and_their_gaps():
    assert holm([0.5, math.nan, 0.5]) == pytest.approx([1.0, math.nan, 1.0], nan_ok=True)


def test_rows_stand_against_what_they_are_to_better():
    ap = {
        name: {"all": list(values)}
        for name, values in {
            "global": range(10),
            "global+ransac": range(1, 11),
            "rootsift": range(10),
            "rootsift+ransac": range(9, -1, -1),
        }.items()
    }
    found = trusted({"names": [f"q{q}" for q in range(10)], "ap": ap}, "mAP")
    assert {row: entry["against"] for row, entry in found["paired"].items()} == {
        "global+ransac": "global",
        "rootsift": "global",
        "rootsift+ransac": "rootsift",
    }
    change = found["paired"]["global+ransac"]["protocols"]["all"]
    assert change["difference"] == 1 and change["p"] < 0.01 and change["p"] <= change["p_corrected"] < 0.03


@pytest.mark.skipif(not GND.is_dir(), reason="the real ground truth is not here")
@pytest.mark.parametrize(("name", "number"), [("roxford5k", 12), ("rparis6k", 11)])
def test_the_queries_of_the_real_sets_are_of_few_landmarks(name, number):
    labels = groundtruth.load(GND / f"gnd_{name}.pkl").labels
    found = groups(revisited(labels)["medium"])
    assert len(found) == 70 and len(np.unique(found)) == number


def test_published_values_stand_beside_ours():
    ours = {"global": {"medium": 70.0, "hard": 45.0}}
    lines = beside("roxford5k", ours, "delg_r50_gldv1")
    mine = [line for line in lines if "difference" in line]
    assert [(line["row"], line["protocol"], line["published"]) for line in mine] == [
        ("global", "medium", 69.71),
        ("global", "hard", 45.11),
    ]
    assert mine[0]["difference"] == pytest.approx(0.29) and all(line["source"] for line in lines)
    assert not any("difference" in line for line in beside("roxford5k", ours))
    assert beside("folders", ours) == [] and overlap("folders") is None
    assert "RGLDv2-clean" in overlap("rparis6k+r1m") and "delg_r50_gldv1" in MODELS


def test_a_ratio_and_its_interval_are_positive():
    found = ratio([1.0, 1.0, 400.0], [1.0, 1.0, 2.0], np.arange(3))
    assert found.mean == pytest.approx(402 / 4) and 0 < found.low < 1 < found.mean < found.high
    swapped = ratio([1.0, 1.0, 2.0], [1.0, 1.0, 2.0], np.arange(3))
    assert (swapped.low, swapped.mean, swapped.high) == (1.0, 1.0, 1.0)

"""Metrics against hand-worked numbers and the released implementation's values."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from evaluation.benchmarks import groundtruth
from evaluation.benchmarks.revisited import revisited
from evaluation.metrics import ranking
from evaluation.metrics.truth import Truth

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "metrics.json").read_text())
GND = Path(__file__).parents[4] / "shared" / "gnd"
TOLERANCE = 1e-10


def rows(*values):
    return np.array(values, np.int64)


def nan(values):
    return np.array([math.nan if v is None else v for v in np.ravel(np.array(values, object))], np.float64)


def same(ours, golden):
    np.testing.assert_allclose(np.ravel(ours), nan(golden), rtol=0, atol=TOLERANCE)


def test_average_precision_by_hand():
    assert ranking.oxford_ap([0]) == 1.0
    # one positive at rank 3: (0/3 + 1/4) / 2
    assert ranking.oxford_ap([3]) == pytest.approx(0.125, abs=1e-15)
    # ranks 1 and 2: ((0/1 + 1/2)/2 + (1/2 + 2/3)/2) / 2
    assert ranking.oxford_ap([1, 2]) == pytest.approx((0.25 + 7 / 12) / 2, abs=1e-15)
    assert ranking.oxford_ap([]) == 0.0
    # the finite sum of other libraries would give 1/2 here
    assert ranking.oxford_ap([1]) == pytest.approx(0.25, abs=1e-15)


def test_positives_that_are_not_in_the_ranking_count_as_never_found():
    assert ranking.oxford_ap([0], num_positives=4) == 0.25
    assert ranking.precision_at([0], 5, num_positives=4) == 0.2
    assert ranking.recall_at([0], 5, num_positives=4) == 0.25


def test_precision_and_recall_by_hand():
    assert ranking.precision_at([0, 2], 1) == 1.0
    assert ranking.precision_at([0, 2], 10) == pytest.approx(2 / 3)  # the list ends at the last positive
    assert ranking.precision_at([1, 20], 10) == pytest.approx(0.1)
    assert ranking.precision_at([0, 4, 5], 5) == pytest.approx(0.4)  # rank 4 is the fifth result
    assert ranking.precision_at([], 5) == 0.0
    assert ranking.recall_at([0, 4, 5], 5) == pytest.approx(2 / 3)


def test_junk_moves_positives_up():
    truth = Truth(rows(7, 3), rows(5, 9))
    # 5 (junk), 7 (+), 1 (-), 9 (junk), 3 (+): without junk 7, 1, 3
    scores = ranking.evaluate([rows(5, 7, 1, 9, 3)], [truth])
    assert scores.ap[0] == pytest.approx(ranking.oxford_ap([0, 2]), abs=1e-15)
    assert scores.precisions[0].tolist() == pytest.approx([1.0, 2 / 3, 2 / 3])
    without = ranking.evaluate([rows(7, 1, 3, -1, -1)], [truth])
    assert without.ap[0] == scores.ap[0]


def values(metrics, prefix):
    """Values of the metrics whose names begin so."""
    return {name: metric.value for name, metric in metrics.items() if name.startswith(prefix)}


def test_queries_without_positives_have_no_part_in_the_means():
    none, one = Truth(rows(), rows(0)), Truth(rows(1), rows())
    scores = ranking.evaluate([rows(0, 1), rows(0, 1)], [none, one])
    assert math.isnan(scores.ap[0])
    assert scores.map == 0.25
    metrics = scores.metrics()
    assert values(metrics, "mP") == {"mP@1": 0.0, "mP@5": 50.0, "mP@10": 50.0}
    assert values(metrics, "mR") == {"mR@1": 0.0, "mR@5": 100.0, "mR@10": 100.0}
    assert metrics["mAP"].value == 25.0 and next(iter(metrics)) == "mAP" and not metrics["mR@1"].in_table
    np.testing.assert_array_equal(metrics["mAP"].per_query, [np.nan, 25.0])
    nothing = ranking.evaluate([rows(0)], [none]).metrics(any_recall=True)
    assert math.isnan(nothing["mAP"].value) and math.isnan(nothing["R@1"].value)


def test_any_recall_counts_queries():
    none, two = Truth(rows(), rows(0)), Truth(rows(1, 5), rows(2))
    scores = ranking.evaluate([rows(0, 1), rows(2, 1, 3, 5), rows(3, 4, 0, 5, 1)], [none, two, two])
    some, all_queries = scores.metrics(any_recall=True), scores.metrics(any_recall=True, count_all=True)
    assert values(some, "R@") == {"R@1": 50.0, "R@5": 100.0, "R@10": 100.0}
    assert some["mR@1"].value == 25.0  # one of two positives of one of two queries
    assert values(all_queries, "R@") == pytest.approx({"R@1": 100 / 3, "R@5": 200 / 3, "R@10": 200 / 3})
    assert all_queries["R@1"].per_query.tolist() == [0.0, 100.0, 0.0] and some["R@1"].compared
    assert np.isnan(some["R@1"].per_query[0])


def test_average_precision_of_a_cut_list_by_hand():
    """Right at places 1, 3 and 8 of four: (1/1 + 2/3) / 4 of five results, (1/1 + 2/3 + 3/8) / 4 of ten."""
    truth, order = Truth(rows(0, 2, 7, 99), rows()), [rows(*range(10))]
    metrics = ranking.evaluate(order, [truth], (1, 3, 5, 10)).metrics(cut_map=True)
    expected = {"mAP@1": 100.0, "mAP@3": 500 / 9, "mAP@5": 500 / 12, "mAP@10": 100 * (1 + 2 / 3 + 3 / 8) / 4}
    assert values(metrics, "mAP@") == pytest.approx(expected)
    with_junk = ranking.evaluate([rows(50, *range(10))], [Truth(truth.positives, rows(50))], (1, 3, 5, 10))
    assert values(with_junk.metrics(cut_map=True), "mAP@") == values(metrics, "mAP@"), "junk is passed over"


@pytest.mark.parametrize("case", GOLDEN["revisited"], ids=lambda case: case["note"][:20])
@pytest.mark.parametrize("protocol", ["easy", "medium", "hard"])
def test_released_values(case, protocol):
    labels = [groundtruth.Labels(None, *(rows(*g[k]) for k in groundtruth.SETS)) for g in case["ground_truth"]]
    scores = ranking.evaluate(np.array(case["ranks"]), revisited(labels)[protocol], case["kappas"])
    golden = case[protocol]
    for ours, name in (
        (scores.map, "mAP"),
        (scores.mean_precisions(), "mP"),
        (scores.mean_recalls(), "mR"),
        (scores.ap, "AP"),
        (scores.precisions, "P"),
        (scores.recalls, "R"),
    ):
        same(ours, golden[name])


def test_released_units():
    for case in GOLDEN["unit"]["average_precision"]:
        same(ranking.oxford_ap(case["positive_ranks"]), case["ap"])
    for case in GOLDEN["unit"]["adjust_positive_ranks"]:
        assert ranking.adjusted_ranks(case["positive"], case["junk"]).tolist() == case["adjusted"]
    for case in GOLDEN["unit"]["precision_recall"]:
        ranks = case["positive_ranks"]
        ours = [[f(ranks, k) for k in case["kappas"]] for f in (ranking.precision_at, ranking.recall_at)]
        same(ours, case["precision_recall"])


def rule_made_ranks(truth, seed):
    """The ranking rule that the golden values were made with."""
    random, ranks = np.random.RandomState(seed), []
    for entry in truth.labels:
        score = random.standard_normal(len(truth.database))
        for kind, shift in (("easy", 2.4), ("hard", 1.6), ("junk", 2.0)):
            score[getattr(entry, kind)] += shift
        ranks.append(np.argsort(-score, kind="stable"))
    return ranks


@pytest.mark.skipif(not GND.is_dir(), reason="needs the real ground truth")
@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_released_values_on_the_real_ground_truth(name):
    golden = GOLDEN["revisited_real"][name]
    truth = groundtruth.load(GND / f"gnd_{name}.pkl")
    assert (len(truth.database), len(truth.queries)) == (golden["n_images"], golden["n_queries"])
    ranks = rule_made_ranks(truth, golden["seed"])
    assert ranks[0][:10].tolist() == golden["first_ranks_query0"]
    for protocol, truths in revisited(truth.labels).items():
        scores = ranking.evaluate(ranks, truths)
        same(scores.map, golden[protocol]["mAP"])
        same(scores.mean_precisions(), golden[protocol]["mP@1,5,10"])
        same(scores.ap[:5], golden[protocol]["AP_first5"])
        assert np.isnan(scores.ap).sum() == golden[protocol]["queries_without_positives"]
        if "mR@1,5,10" in golden[protocol]:
            same(scores.mean_recalls(), golden[protocol]["mR@1,5,10"])

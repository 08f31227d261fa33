"""Every field of the golden metrics: the revisited protocol, its parts, and the two landmark tasks."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from evaluation.benchmarks import groundtruth
from evaluation.benchmarks.revisited import revisited
from evaluation.metrics import gldv2, ranking
from evaluation.metrics.gldv2 import Prediction, recognition
from evaluation.metrics.truth import Truth
from tests.golden import rule
from tests.golden.conftest import Measured, golden_path

GND = Path(__file__).resolve().parents[3] / "shared" / "gnd"
PROTOCOLS = ("easy", "medium", "hard")
TOLERANCE = 1e-10  # of fractions; the real ones are kept to as many digits


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> dict:
    return json.loads(golden_path(request.config, "metrics.json").read_text(encoding="utf-8"))


def numbers(value) -> np.ndarray:
    """A nested list as float64; null becomes NaN."""
    return np.array(value, dtype=np.float64)


def difference(ours, expected) -> float:
    """Largest absolute difference; NaN must meet NaN."""
    ours, expected = numbers(ours), numbers(expected)
    assert ours.shape == expected.shape
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(expected))
    return float(np.nan_to_num(np.abs(ours - expected)).max(initial=0.0))


def check(case: dict, ours: dict[str, object], inputs: set[str], measured: Measured, stage: str) -> None:
    """Every field of a case is an input or is compared."""
    assert set(case) == set(ours) | inputs, "a field is not tested"
    for name, value in ours.items():
        measured(stage, difference(value, case[name]), TOLERANCE)


def test_all_sections_are_tested(golden):
    assert set(golden) == {"revisited", "unit", "revisited_real", "gldv2_retrieval", "gldv2_recognition"}
    assert set(golden["unit"]) == {"average_precision", "adjust_positive_ranks", "precision_recall"}
    assert set(golden["revisited_real"]) == {"roxford5k", "rparis6k"}
    assert all(golden.values())


def protocol_values(scores: ranking.Scores) -> dict[str, object]:
    return {
        "mAP": scores.map,
        "mP": scores.mean_precisions(),
        "mR": scores.mean_recalls(),
        "AP": scores.ap,
        "P": scores.precisions,
        "R": scores.recalls,
    }


def test_revisited(golden, measured):
    for case in golden["revisited"]:
        assert set(case) == {"ground_truth", "ranks", "kappas", "note", *PROTOCOLS}
        truth = [{name: np.array(sets[name], np.int64) for name in groundtruth.SETS} for sets in case["ground_truth"]]
        truths = revisited([groundtruth.Labels(None, **sets) for sets in truth])
        for protocol in PROTOCOLS:
            scores = ranking.evaluate(case["ranks"], truths[protocol], case["kappas"])
            check(case[protocol], protocol_values(scores), set(), measured, "metrics: revisited protocol")


def test_average_precision_precision_recall_and_junk(golden, measured):
    stage = "metrics: average precision, precision, recall, junk"
    for case in golden["unit"]["average_precision"]:
        ranks = case["positive_ranks"]
        check(case, {"ap": ranking.oxford_ap(ranks)}, {"positive_ranks"}, measured, stage)
    for case in golden["unit"]["adjust_positive_ranks"]:
        adjusted = ranking.adjusted_ranks(case["positive"], case["junk"])
        check(case, {"adjusted": adjusted}, {"positive", "junk"}, measured, stage)
    for case in golden["unit"]["precision_recall"]:
        ranks, ks = case["positive_ranks"], case["kappas"]
        both = [[f(ranks, k) for k in ks] for f in (ranking.precision_at, ranking.recall_at)]
        check(case, {"precision_recall": both}, {"positive_ranks", "kappas"}, measured, stage)


@pytest.mark.skipif(not GND.is_dir(), reason="needs the real ground truth")
@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_revisited_on_the_real_ground_truth(name, golden, measured):
    case, path = golden["revisited_real"][name], GND / f"gnd_{name}.pkl"
    assert zlib.crc32(path.read_bytes()) == case["ground_truth_crc32"]
    truth = groundtruth.load(path)
    sets = [{key: getattr(entry, key) for key in groundtruth.SETS} for entry in truth.labels]
    ranks = rule.revisited_ranks(sets, len(truth.database), case["seed"]).T
    assert set(case) == {"n_images", "n_queries", "seed", "ground_truth_crc32", "first_ranks_query0", *PROTOCOLS}
    assert (len(truth.database), len(truth.queries)) == (case["n_images"], case["n_queries"])
    assert ranks[0, :10].tolist() == case["first_ranks_query0"]
    for protocol, truths in revisited(truth.labels).items():
        scores, expected = ranking.evaluate(ranks, truths), case[protocol]
        ours = {
            "mAP": scores.map,
            "mP@1,5,10": scores.mean_precisions(),
            "mR@1,5,10": scores.mean_recalls(),
            "AP_first5": scores.ap[:5],
            "queries_without_positives": int(np.isnan(scores.ap).sum()),
        }
        ours = {key: value for key, value in ours.items() if key in expected}
        check(expected, ours, set(), measured, "metrics: real ROxford5k, RParis6k")


def test_landmark_retrieval(golden, measured):
    for case in golden["gldv2_retrieval"]:
        asked, answers = case["solution"], case["predictions"]
        lengths = {int(key.split("@")[1]) for key in case if "@" in key}
        ours: dict[str, object] = {}
        for k in lengths:
            ours |= {
                f"map@{k}": gldv2.mean_of_valued(gldv2.average_precisions(answers, asked, k)),
                f"mean_precisions@{k}": gldv2.mean_precisions(answers, asked, k),
                f"mean_median_position@{k}": gldv2.first_positions(answers, asked, k),
            }
        check(case, ours, {"solution", "predictions", "note"}, measured, "metrics: GLDv2 retrieval")


def test_landmark_recognition(golden, measured):
    for case in golden["gldv2_recognition"]:
        asked = case["solution"]
        answers = {name: Prediction(entry["class"], entry["score"]) for name, entry in case["predictions"].items()}
        found = {name: metric.value for name, metric in recognition(answers, asked, ignore_non_landmarks=False).items()}
        ours = {
            "gap": found["GAP"] / 100,
            "gap_ignore_non_gt": recognition(answers, asked, ignore_non_landmarks=True)["GAP"].value / 100,
            "top1": found["top-1"] / 100,
        }
        check(case, ours, {"solution", "predictions", "note"}, measured, "metrics: GLDv2 recognition")


def test_recall_of_any_positive_follows_from_the_golden_ranks(golden):
    for case in golden["revisited"]:
        for sets, ranks in zip(case["ground_truth"], case["ranks"], strict=True):
            positives = sets["easy"] + sets["hard"]
            if not positives:
                continue
            kept = [row for row in ranks if row not in sets["junk"]]
            truth = Truth(np.array(positives), np.array(sets["junk"], np.int64))
            for k in case["kappas"]:
                expected = float(bool(set(kept[:k]) & set(positives)))
                assert ranking.evaluate([ranks], [truth], (k,)).any_recalls().tolist() == [expected]

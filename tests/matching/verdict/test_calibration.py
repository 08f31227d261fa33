"""Probabilities, thresholds and verdicts of calibrations."""

import json
from dataclasses import replace

import numpy as np
import pytest

from delg.common.errors import InputError
from matching.verdict import ABSENT, SAME, UNSURE, Calibration, Evidence
from matching.verdict.calibration import GENERIC, Judged, extractor_of, shipped
from matching.verdict.fitting import clopper_pearson, logistic, threshold, upper_bound


def example(rng, same):
    """Evidence of which true pairs mostly have more."""
    surprise = float(rng.gamma(6, 5) if same else rng.gamma(0.5, 4))
    similarity = float(np.clip(rng.normal(0.7 if same else 0.5, 0.08), -1, 1))
    return Evidence(similarity, 20 * similarity - 9, 100, 20, surprise, min(surprise / 60, 1.0))


def queries(seed, count=200, candidates=20):
    rng = np.random.default_rng(seed)
    judged = []
    for i in range(count):
        same = [i % 2 == 0 and place < 2 for place in range(candidates)]
        judged.append(Judged(tuple(example(rng, one) for one in same), tuple(same)))
    return judged


@pytest.fixture(scope="module")
def calibration():
    return Calibration.learn(queries(0), extractor="rootsift", images=1000, source="a test", matching={"mutual": True})


def test_more_evidence_is_more_probable(calibration):
    weak = Evidence(0.5, 1.0, 100, 5, 0.5, 0.05)
    assert calibration.probability(weak) < 0.1
    for change in ({"similarity": 0.7}, {"gap": 5.0}, {"surprise": 20.0}, {"surprise": 20.0, "coverage": 0.5}):
        assert calibration.probability(replace(weak, **change)) >= calibration.probability(weak)
    assert calibration.probability(Evidence(0.7, 5.0, 100, 40, 30.0, 0.5)) > 0.9


def test_queries_without_a_true_photo_are_rarely_called_the_same(calibration):
    """A rate of queries: any of 20 candidates can be the false one."""
    labels = {True: [], False: []}
    odds = []
    for one in queries(1, 400):
        best = max(one.evidence, key=calibration.log_odds)
        verdict = calibration.verdict(best, 0.05)
        labels[any(one.same)].append(verdict.label)
        odds.append((verdict.probability, any(one.same)))
    assert labels[False].count(SAME) <= 0.05 * 200
    assert labels[True].count(SAME) >= 0.9 * 200
    assert calibration.true_match_rate(0.05) == pytest.approx(labels[True].count(SAME) / 200, abs=0.07)
    assert calibration.true_match_rate(0.0001) < calibration.true_match_rate(0.05)
    assert labels[False].count(ABSENT) >= 0.5 * 200 > 20 >= labels[True].count(ABSENT)
    probability, right = np.array(odds).T
    assert abs(probability.mean() - right.mean()) < 0.05


def test_a_stricter_rate_more_candidates_and_more_images_ask_for_more(calibration):
    usual = calibration.threshold(0.05)
    assert calibration.threshold(0.01) > usual
    assert calibration.threshold(0.05, verified=100) > usual
    assert calibration.threshold(0.05, images=100_000) > usual
    assert calibration.threshold(0.05, verified=1, images=10) == usual
    for wrong in (0, 1, -0.1, float("nan")):
        with pytest.raises(InputError, match="false_match_rate"):
            calibration.threshold(wrong)


def test_a_query_is_answered_by_its_best_candidate(calibration):
    rule = calibration.rule()
    assert (rule.of_query([]).label, rule.of_query([]).probability) == (ABSENT, 0)
    evidence = [
        Evidence(0.4, 0.0, 100, 5, 0.0),
        Evidence(0.7, 5.0, 100, 40, 30.0, 0.5),
        Evidence(0.6, 3.0, 100, 9, 2.0),
    ]
    verdicts = [calibration.verdict(one) for one in evidence]
    assert rule.of_query(verdicts) == verdicts[1] and verdicts[1].label == SAME


def test_similar_photos_whose_local_features_agree_by_chance_are_not_called_the_same():
    calibration = Calibration("x", ("global", "local"), {"gap": 20.0}, -8.0, (0.1,) * 400, (), 20, 1000, "a test")
    alike = Evidence(0.9, 15.0, 100, 8, 2.0, 0.1)
    assert calibration.log_odds(alike) > calibration.threshold(0.01)
    assert calibration.verdict(alike).label == UNSURE
    assert calibration.verdict(replace(alike, surprise=4.0)).label == SAME
    assert calibration.verdict(replace(alike, surprise=4.0), verified=2000).label == UNSURE
    assert calibration.verdict(replace(alike, tentative=None)).label == SAME, "nothing local was compared"


def test_between_same_and_absent_is_unsure(calibration):
    limit = calibration.threshold(0.01)
    labels = [
        calibration.verdict(Evidence(0.6, gap, 100, 20, surprise, surprise / 60)).label
        for surprise in np.linspace(0, 30, 60)
        for gap in (3.0,)
    ]
    assert limit > 0 and labels[0] == ABSENT and labels[-1] == SAME and UNSURE in labels
    places = [labels.index(label) for label in (ABSENT, UNSURE, SAME)]
    assert labels == [ABSENT] * places[1] + [UNSURE] * (places[2] - places[1]) + [SAME] * (60 - places[2])


def test_saved_and_loaded(calibration, tmp_path):
    calibration.save(tmp_path / "verdicts.json")
    assert Calibration.load(tmp_path / "verdicts.json") == calibration
    document = json.loads((tmp_path / "verdicts.json").read_text())
    for damage in ({"absent": []}, {"weights": {"colour": 1.0}}, {"verified": 0}, {"absent": "x"}, {"more": 1}):
        (tmp_path / "damaged.json").write_text(json.dumps(document | damage))
        with pytest.raises(InputError, match=r"damaged\.json holds no calibration"):
            Calibration.load(tmp_path / "damaged.json")
    (tmp_path / "damaged.json").write_text("[1]")
    with pytest.raises(InputError, match="no calibration"):
        Calibration.load(tmp_path / "damaged.json")


def test_what_cannot_be_learned():
    same = Judged((Evidence(0.9, 5.0),), (True,))
    other = Judged((Evidence(0.2, 0.0),), (False,))
    for judged in ([], [same], [other]):
        with pytest.raises(InputError, match="calibration expects"):
            Calibration.learn(judged, extractor="x", images=2, source="")
    learned = Calibration.learn([same, other] * 9, extractor="x", images=2, source="")
    assert learned.heads == ("global",) and learned.probability(same.evidence[0]) > 0.5


def test_the_shipped_calibrations_and_the_generic_one():
    generic = {frozenset(one.heads) for one in shipped() if one.extractor == GENERIC}
    assert generic == {frozenset({"global", "local"}), frozenset({"local"}), frozenset({"global"})}
    for one in shipped():
        assert one.extractor != GENERIC or "similarity" not in one.weights, "its range differs between extractors"
        assert min(one.weights.values()) > 0 and one.verified == 20
        weak = Evidence(0.3, 0.0, 100, 5, 0.0, 0.1)
        assert one.probability(weak) < 0.1
    matching = {"mutual": True}
    own = Calibration.of({"extractor": "rootsift", "matching": matching})
    assert (own.extractor, own.matching) == ("rootsift", matching)
    other = Calibration.of({"extractor": "my_module:Mine"}, ["local"])
    assert (other.extractor, other.heads, other.matching) == (GENERIC, ("local",), {})
    with pytest.raises(InputError, match="global descriptors, local features, or both"):
        Calibration.of({}, [])
    with pytest.raises(InputError, match="colour"):
        Calibration.of({"extractor": "x", "matching": {"colour": 1}}).matcher()


def test_extractors_are_named_by_kind_and_weights():
    parts = {"global": {"extractor": "delg", "weights_sha256": "0123456789abcdef"}, "local": {"extractor": "rootsift"}}
    assert extractor_of({"extractor": "pair", "parts": parts}) == "pair(delg 0123456789ab, rootsift)"
    assert extractor_of({}) == GENERIC


def test_bounds_and_thresholds():
    np.testing.assert_allclose(clopper_pearson(0, 100), (0, 0.0362), atol=1e-4)
    np.testing.assert_allclose(clopper_pearson(5, 100), (0.0164, 0.1128), atol=1e-4)
    assert clopper_pearson(3, 3)[1] == 1
    assert upper_bound(0, 299) == pytest.approx(0.01, abs=1e-4)
    values = np.random.default_rng(0).exponential(size=400)
    limit = threshold(values, 0.05)
    count = int((values >= limit).sum())
    assert upper_bound(count, 400) <= 0.05 < upper_bound(count + 1, 400)
    assert values.max() < threshold(values, 0.001) < threshold(values, 0.0001) < values.max() + 8


def test_no_weight_is_below_zero():
    rng = np.random.default_rng(0)
    same = rng.random(500) < 0.5
    terms = np.column_stack([same + 0.5 * rng.normal(size=500), -1.0 * same, np.ones(500)])
    weights, _ = logistic(terms, same, np.ones(500))
    assert weights[0] > 1 and weights[1] == weights[2] == 0

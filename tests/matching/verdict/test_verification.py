"""Answers to queries whose truth is known."""

import numpy as np
import pytest

from delg.common.errors import InputError
from matching.rerankers.auto import Auto
from matching.source import MemorySource
from matching.verdict import ABSENT, SAME, Calibration, Verifier
from tests.matching.helpers import local, ranking, scene, unit, view

TURN = [[0.9, -0.3, 40.0], [0.3, 0.9, -20.0]]
TRUE = 4


@pytest.fixture(scope="module")
def collection():
    """Images of 30 different scenes; the query is another view of one of them, whose global descriptor is not best."""
    rng = np.random.default_rng(0)
    descriptors = unit(rng.normal(size=(30, 16)))
    images = [local(*scene(seed=i), f"image{i}", descriptors[i]) for i in range(30)]
    query = view(*scene(seed=TRUE), TURN, 40, "query")
    query = local(query.keypoints, query.descriptors, "query", unit(descriptors[TRUE] + 0.9 * descriptors[7]))
    return MemorySource(images), query


def first_stage(database, query):
    similarities = database.global_descriptors @ query.global_descriptor
    order = np.argsort(-similarities, kind="stable")
    return ranking([order], [similarities[order]])


@pytest.mark.parametrize("threads", [1, 3])
def test_a_true_photo_is_the_same_and_without_it_nothing_is(collection, threads):
    database, query = collection
    stage = first_stage(database, query)
    verifier = Verifier(database, Calibration.of({"extractor": "rootsift"}), top_k=10, threads=threads)
    answer = verifier(query, stage.row(0), stage.scores[0])
    assert answer.verdict.label == SAME and answer.verdict.probability > 0.9
    assert [candidate.row for candidate in answer.candidates] == stage.row(0)[:10].tolist()
    best = answer.candidates[answer.order[0]]
    assert (best.row, best.verdict) == (TRUE, answer.verdict)
    assert len(best.inliers) == 40
    np.testing.assert_allclose(best.transform, TURN, atol=0.05)
    np.testing.assert_allclose([c.similarity for c in answer.candidates], stage.scores[0, :10], atol=1e-6)
    odds = [answer.candidates[place].log_odds for place in answer.order]
    assert odds == sorted(odds, reverse=True)
    assert {c.verdict.label for c in answer.candidates if c.row != TRUE} == {ABSENT}
    without = verifier(query, stage.row(0)[stage.row(0) != TRUE])
    assert without.verdict.label == ABSENT
    assert without.candidates[0].similarity == pytest.approx(float(stage.scores[0, 1]), abs=1e-6)


def test_no_candidates(collection):
    database, query = collection
    answer = Verifier(database, Calibration.of({}))(query, np.zeros(0, np.int64))
    assert (answer.candidates, answer.verdict.label, answer.order) == ((), ABSENT, [])


def test_two_images_alone(collection):
    database, query = collection
    verifier = Verifier(database, Calibration.of({}))
    assert verifier.pair(query, database.features(TRUE)).verdict.label == SAME
    other = verifier.pair(query, database.features(9))
    assert (other.verdict.label, other.row) == (ABSENT, -1)


def test_global_descriptors_alone_and_local_features_alone(collection):
    database, query = collection
    stage = first_stage(database, query)
    alone = Verifier(database, Calibration.of({}, ["global"]), top_k=5)(query, stage.row(0))
    assert all(c.transform is None and c.evidence.tentative is None for c in alone.candidates)
    assert [c.row for c in alone.candidates] == [stage.row(0)[place] for place in alone.order], "as the similarity says"
    local_alone = MemorySource([local(i.keypoints, i.descriptors, i.name) for i in database.images])
    asked = local(query.keypoints, query.descriptors)
    answer = Verifier(local_alone, Calibration.of({}, ["local"]), top_k=30)(asked, np.arange(30))
    assert answer.candidates[answer.order[0]].row == TRUE and answer.verdict.label == SAME
    assert answer.candidates[0].similarity is None
    with pytest.raises(InputError, match="differ in dimension: 3 and 16"):
        Verifier(database, Calibration.of({}))(local(*scene(), "short", unit([1, 1, 1])), stage.row(0))


def test_the_reranker_brings_the_true_photo_first_and_keeps_the_order_of_equals(collection):
    database, query = collection
    stage = first_stage(database, query)
    assert stage.row(0)[0] != TRUE or stage.row(0)[1] == 7
    after = Auto(top_k=10)(MemorySource([query]), database, stage)
    assert after.row(0)[0] == TRUE
    np.testing.assert_array_equal(after.row(0)[10:], stage.row(0)[10:])
    rest = [row for row in stage.row(0)[:10] if row != TRUE]
    verifier = Verifier(database, Calibration.of({}), top_k=10)
    odds = {c.row: c.log_odds for c in verifier(query, stage.row(0)).candidates}
    assert after.row(0)[1:10].tolist() == sorted(rest, key=lambda row: -odds[row])
    reranker = Auto(matching={"mutual": True, "residual": 3.0})
    assert len(reranker.inliers(query, database.features(TRUE))) == 40


def test_a_learned_calibration_of_the_reranker(collection, tmp_path):
    database, query = collection
    stage = first_stage(database, query)
    path = tmp_path / "verdicts.json"
    Calibration("mine", ("global", "local"), {"gap": 1.0}, 0.0, (1.0,), (), 20, 30, "a test").save(path)
    after = Auto(top_k=10, calibration=str(path))(MemorySource([query]), database, stage)
    np.testing.assert_array_equal(after.row(0), stage.row(0))
    with pytest.raises(InputError, match="absent"):
        Auto(calibration=str(tmp_path / "absent.json"))
    with pytest.raises(InputError, match="matching as arguments"):
        Auto(matching=3)

"""Rerankers around another one: the sum of two scores, and queries that are spared."""

import json

import numpy as np
import pytest

from delg.common.errors import InputError
from matching.rerankers.ransac import Ransac
from matching.rerankers.table import build_reranker, suited
from matching.rerankers.wrapped import Fused, Gated
from matching.source import MemorySource
from tests.matching.helpers import local, ranking, scene

COUNTS = (0, 20, 6, 0, 10)  # features that the candidates share with the query


@pytest.fixture
def sources():
    keypoints, descriptors = scene(n=20)
    images = [local(keypoints[:n], descriptors[:n], f"image{n}", [1.0]) for n in COUNTS]
    return MemorySource([local(keypoints, descriptors, f"query{i}", [1.0]) for i in range(2)]), MemorySource(images)


@pytest.fixture
def before():
    """The first query is clear, the second is not."""
    rows = [[0, 1, 2, 3, 4]] * 2
    return ranking(rows, [[0.95, 0.6, 0.5, 0.3, 0.2], [0.7, 0.68, 0.5, 0.3, 0.2]])


def test_fused_adds_the_logarithm_of_inliers_to_the_score_before(sources, before):
    answer = Fused("ransac", weight=0.1)(*sources, before)
    expected = before.scores[0] + 0.1 * np.log(1 + np.array(COUNTS))
    np.testing.assert_array_equal(answer.indices[0], np.argsort(-expected))
    np.testing.assert_allclose(answer.scores[0], np.sort(expected)[::-1], atol=1e-6)
    np.testing.assert_array_equal(Fused("ransac", weight=0)(*sources, before).indices, before.indices)
    heavy = Fused("ransac", weight=1000)(*sources, before)
    np.testing.assert_array_equal(heavy.indices, Ransac()(*sources, before).indices)


def test_fused_adds_other_scores_as_they_are(sources, before):
    auto = build_reranker("auto")
    [odds, _] = auto.scores(*sources, before)
    [fused, _] = Fused("auto", weight=0.5).scores(*sources, before)
    np.testing.assert_allclose(fused, before.scores[0] + 0.5 * odds, rtol=1e-6)
    [chained, _] = Fused("auto | ransac", weight=0.5).scores(*sources, before)
    np.testing.assert_allclose(chained, before.scores[0] + 0.5 * np.log(1 + np.array(COUNTS)), rtol=1e-6)


@pytest.mark.parametrize(
    ("limits", "reranked"),
    [
        ({"similarity": 0.8}, [False, True]),
        ({"similarity": 0.6}, [False, False]),
        ({"gap": 0.1}, [False, True]),
        ({"similarity": 0.6, "gap": 0.01}, [False, False]),
        ({"similarity": 1.0, "gap": 0.01}, [True, True]),
    ],
)
def test_gated_reranks_where_the_first_result_is_weak(limits, reranked, sources, before):
    answer = Gated("ransac", **limits)(*sources, before)
    expected = Ransac()(*sources, before)
    for q, weak in enumerate(reranked):
        other = expected if weak else before
        np.testing.assert_array_equal(answer.indices[q], other.indices[q])
        np.testing.assert_array_equal(answer.scores[q], other.scores[q])


def test_local_features_of_spared_queries_are_not_read(sources, before):
    queries, database = sources
    queries.features = None  # a call would raise
    answer = Gated("ransac", similarity=0.1)(queries, database, before)
    np.testing.assert_array_equal(answer.indices, before.indices)


def test_wrappers_and_chains_in_each_other(sources, before):
    text = "gated(reranker=\"fused(reranker='ransac(top_k=4)', weight=0.1)\", similarity=0.8) | ransac(top_k=2)"
    answer = build_reranker(text)(*sources, before)
    fused = Fused("ransac(top_k=4)", weight=0.1)(*sources, before)
    first = np.stack([before.indices[0], fused.indices[1]])
    expected = Ransac(top_k=2)(*sources, ranking(first, before.scores))
    np.testing.assert_array_equal(answer.indices, expected.indices)


def test_own_photos_set_what_is_inside(sources):
    text = suited("fused(reranker='gated(reranker=\"ransac(top_k=7)\", gap=0.1)')", {"matching": {"mutual": True}})
    inner = build_reranker(text).inner.inner
    assert {"mutual": True, "one_per_place": True, "top_k": 7}.items() <= inner.arguments.items()


def test_the_identity_is_of_numbers_and_of_what_is_inside():
    texts = ["fused(reranker='ransac')", "fused(reranker='ransac(top_k=99)')", "fused(reranker='ransac', weight=2)"]
    texts += ["gated(reranker='ransac', gap=0.1)", "gated(reranker='ransac', gap=0.2)"]
    identities = [json.dumps(build_reranker(text).identity()) for text in texts]
    assert len(set(identities)) == len(texts)
    assert json.dumps(build_reranker("fused(reranker='ransac(top_k=100)')").identity()) == identities[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fused(reranker='asmk')", "asmk"),
        ("fused(reranker=3)", "reranker as the text"),
        ("fused(reranker='ransac', weight=-1)", "fused: weight"),
        ("fused(reranker='ransac(settled=5)')", "settled"),
        ("gated(reranker='ransac')", "similarity, gap"),
        ("gated(reranker='ransac', gap=-1)", "gated: gap"),
        ("gated", "reranker"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        build_reranker(text)

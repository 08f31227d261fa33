import numpy as np
import pytest

from delg.common.errors import InputError
from matching.indexes.table import search
from matching.rerankers.superglobal import SuperGlobal
from tests.matching.helpers import global_source, ranking, unit

TOLERANCE = 2e-6


def literal(query, database, m, k, beta, against="refined"):
    """The released steps one by one, in float64: gather, weigh, refine, expand, mean."""
    order = np.argsort(-(database @ query), kind="stable")
    head = database[order[:m]]
    refined = np.zeros(head.shape)
    for i, row in enumerate(head):
        similarity = head @ row
        best = np.argsort(-similarity, kind="stable")[: k + 1]
        weights = beta * similarity[best]
        weights[0] = 1
        refined[i] = sum(w * head[j] for w, j in zip(weights, best)) / weights.sum()
    first = refined @ query
    expanded = refined[np.argsort(-first, kind="stable")[: k + 1]].max(axis=0)
    second = (refined if against == "refined" else head) @ expanded
    score = (first + second) / 2
    new = np.argsort(-score, kind="stable")
    return np.concatenate([order[:m][new], order[m:]]), score[new]


def clusters(seed, n=90, dimension=16, spread=0.7):
    """Rows in groups of nine, so that neighbours matter; queries near some of them."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(rng.normal(size=(n // 9, dimension))), 9, axis=0)
    database = unit(centres + spread * unit(rng.normal(size=(n, dimension))))
    queries = unit(database[:5] + 0.8 * unit(rng.normal(size=(5, dimension))))
    return queries, database


def rerank(queries, database, **options):
    return SuperGlobal(**options)(global_source(queries), global_source(database), search(queries, database))


def agrees(answer, indices, scores, m):
    """Scores within the tolerance; places equal, but for images whose scores are too close to call."""
    np.testing.assert_allclose(answer.scores[:, :m], scores, atol=TOLERANCE)
    for row, expected, values in zip(answer.indices, indices, scores):
        for place in np.flatnonzero(row != expected):
            assert place < m, "the tail keeps its order"
            near = np.abs(values - values[place]) < TOLERANCE
            assert row[place] in expected[:m][near]


@pytest.mark.parametrize("against", ["refined", "original"])
@pytest.mark.parametrize(("m", "k", "beta"), [(30, 4, 0.15), (90, 9, 0.15), (12, 9, 0.6), (50, 0, 0.15), (7, 9, 0.3)])
def test_equals_the_literal_form(m, k, beta, against):
    queries, database = clusters(m)
    answer = rerank(queries, database, m=m, k=k, beta=beta, expanded_against=against)
    expected = [literal(q, database, m, k, beta, against) for q in queries.astype(np.float64)]
    agrees(answer, [e[0] for e in expected], np.array([e[1] for e in expected]), min(m, 90))
    assert (np.diff(answer.scores, axis=1) <= 0).all()


def test_a_hand_worked_case():
    """Three candidates, one neighbour, beta 1/2; every number worked out on paper."""
    database = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    query = np.array([[1, 0]], np.float32)
    # similarities .8 (0, 1), .6 (1, 2); neighbours 0: (0, 1), 1: (1, 0), 2: (2, 1)
    # refined 0: (1 + .4 * .8, .4 * .6) / 1.4; 1: (.8 + .4, .6) / 1.4; 2: (.3 * .8, 1 + .3 * .6) / 1.3
    refined = np.array([[1.32 / 1.4, 0.24 / 1.4], [1.2 / 1.4, 0.6 / 1.4], [0.24 / 1.3, 1.18 / 1.3]])
    expanded = np.array([1.32 / 1.4, 0.6 / 1.4])  # of candidates 0 and 1
    expected = (refined[:, 0] + refined @ expanded) / 2
    answer = rerank(query, database, m=3, k=1, beta=0.5)
    np.testing.assert_allclose(answer.scores[0], np.sort(expected)[::-1], atol=1e-6)
    assert answer.indices[0].tolist() == np.argsort(-expected).tolist()
    original = (refined[:, 0] + database @ expanded) / 2
    answer = rerank(query, database, m=3, k=1, beta=0.5, expanded_against="original")
    np.testing.assert_allclose(answer.scores[0], np.sort(original)[::-1], atol=1e-6)


def test_defaults_are_the_released_ones():
    reranker = SuperGlobal()
    assert (reranker.top_k, reranker.k, reranker.beta, reranker.expanded_against) == (400, 9, 0.15, "refined")
    queries, database = clusters(0)
    np.testing.assert_array_equal(
        rerank(queries, database).indices, rerank(queries, database, m=90, k=9, beta=0.15).indices
    )


def test_the_tail_keeps_its_order_and_filling_stays():
    queries, database = clusters(2)
    before = search(queries, database, 40).without([range(0, 90, 3)] * 5)
    answer = SuperGlobal(m=10)(global_source(queries), global_source(database), before)
    np.testing.assert_array_equal(answer.indices[:, 10:], before.indices[:, 10:])
    assert (np.sort(answer.indices[:, :10]) == np.sort(before.indices[:, :10])).all()
    assert (answer.indices[:, :10] != before.indices[:, :10]).any()
    shown = np.where(answer.indices >= 0, answer.scores, -1e9)
    assert (np.diff(shown, axis=1) <= 0).all()


def test_twins_and_short_rows():
    queries, database = clusters(3)
    database[1] = database[0]
    expected = [literal(q, database, 20, 9, 0.15)[1] for q in queries.astype(np.float64)]
    np.testing.assert_allclose(rerank(queries, database, m=20).scores[:, :20], expected, atol=TOLERANCE)
    filled = ranking([[3, 4, -1], [-1, -1, -1]], [[0.5, 0.25, -np.inf], [-np.inf] * 3])
    answer = SuperGlobal()(global_source(queries[:2]), global_source(database), filled)
    assert sorted(answer.indices[0].tolist()) == [-1, 3, 4]
    assert answer.indices[0, 2] == -1
    assert answer.indices[1].tolist() == [-1, -1, -1]
    single = ranking([[7]], [[0.5]])
    answer = SuperGlobal()(global_source(queries[:1]), global_source(database), single)
    cosine = float(queries[0] @ database[7])
    np.testing.assert_allclose(answer.scores, [[(cosine + 1) / 2]], atol=1e-6)


def test_the_number_of_threads_changes_nothing():
    queries, database = clusters(5)
    one, many = (rerank(queries, database, m=50, threads=n) for n in (1, 4))
    np.testing.assert_array_equal(one.indices, many.indices)
    np.testing.assert_array_equal(one.scores, many.scores)


def test_reads_only_the_candidates(tmp_path):
    queries, database = clusters(6)
    np.save(tmp_path / "database.npy", database)
    source = global_source(database)
    source.global_descriptors = np.load(tmp_path / "database.npy", mmap_mode="r")
    mapped = SuperGlobal(m=20)(global_source(queries), source, search(queries, database))
    np.testing.assert_array_equal(mapped.scores, rerank(queries, database, m=20).scores)


def test_bad_arguments_and_descriptors_are_named():
    for options, message in (
        ({"m": 0}, "m expects"),
        ({"m": "all"}, "m expects"),
        ({"k": -1}, "k expects"),
        ({"beta": -0.1}, "beta expects"),
        ({"beta": float("nan")}, "beta expects"),
        ({"expanded_against": "paper"}, "choices are refined, original"),
        ({"threads": 0}, "threads expects"),
    ):
        with pytest.raises(InputError, match=message):
            SuperGlobal(**options)
    queries, database = clusters(7)
    first = search(queries, database)
    with pytest.raises(InputError, match="differ in dimension: 15 and 16"):
        SuperGlobal()(global_source(queries[:, :15]), global_source(database), first)
    with pytest.raises(InputError, match="no global descriptor"):
        SuperGlobal()(global_source(queries[:, :0]), global_source(database[:, :0]), first)
    database[8, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        SuperGlobal()(global_source(queries), global_source(database), first)

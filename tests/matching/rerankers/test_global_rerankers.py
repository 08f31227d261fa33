"""Query expansion, database augmentation, k-reciprocal encoding and diffusion against literal forms."""

import numpy as np
import pytest

from delg.common.errors import InputError
from matching.indexes.table import search
from matching.rerankers import alpha_qe, candidates
from matching.rerankers.alpha_dba import AlphaDBA
from matching.rerankers.alpha_qe import AlphaQE
from matching.rerankers.diffusion import Diffusion
from matching.rerankers.k_reciprocal import KReciprocal
from matching.rerankers.superglobal import SuperGlobal
from tests.matching.helpers import global_source, ranking, unit


def clusters(seed, n=60, dimension=12):
    rng = np.random.default_rng(seed)
    centres = np.repeat(unit(rng.normal(size=(n // 6, dimension))), 6, axis=0)
    database = unit(centres + 0.8 * unit(rng.normal(size=(n, dimension))))
    return unit(database[:4] + 0.8 * unit(rng.normal(size=(4, dimension)))), database


def rerank(reranker, queries, database):
    return reranker(global_source(queries), global_source(database), search(queries, database))


def check(reranker, expected, head, seed):
    """The answer's head is ordered by the expected scores of its candidates, and carries them."""
    queries, database = clusters(seed)
    before, answer = search(queries, database), rerank(reranker, queries, database)
    for q, query in enumerate(queries.astype(np.float64)):
        rows = before.row(q)[:head]
        scores = expected(query, database[rows].astype(np.float64))
        np.testing.assert_allclose(answer.scores[q, : len(rows)], np.sort(scores)[::-1], atol=3e-6)
        of = dict(zip(rows.tolist(), scores))
        np.testing.assert_allclose(
            [of[row] for row in answer.indices[q, : len(rows)]], np.sort(scores)[::-1], atol=3e-6
        )
    assert head < 10 or (answer.indices != before.indices).any()


# ---- query expansion


def expansion(n, alpha):
    def scores(query, rows):
        expanded = query + sum(max(row @ query, 0) ** alpha * row for row in rows[:n])
        return rows @ (expanded / np.linalg.norm(expanded))

    return scores


@pytest.mark.parametrize(("n", "alpha", "top_k"), [(10, 3, None), (1, 0.5, 20), (40, 0, 30)])
def test_query_expansion_equals_the_literal_form(n, alpha, top_k):
    check(AlphaQE(top_k, n=n, alpha=alpha), expansion(n, alpha), top_k or 60, seed=n)


def test_query_expansion_worked_by_hand():
    """The best, of similarity 0.8, joins with weight 0.8^2; the third then passes the second."""
    database = np.array([[0.8, 0.6], [0.75, -(0.4375**0.5)], [0.6, 0.8]])
    answer = rerank(AlphaQE(n=1, alpha=2), np.array([[1.0, 0.0]]), database)
    x, y = 1 + 0.64 * 0.8, 0.64 * 0.6
    length = (x * x + y * y) ** 0.5
    assert answer.indices.tolist() == [[0, 2, 1]]
    expected = [0.8 * x + 0.6 * y, 0.6 * x + 0.8 * y, 0.75 * x - 0.4375**0.5 * y]
    np.testing.assert_allclose(answer.scores[0], np.array(expected) / length, atol=1e-6)


def test_query_expansion_without_neighbours_is_the_first_stage():
    queries, database = clusters(3)
    before, answer = search(queries, database), rerank(AlphaQE(n=0), queries, database)
    np.testing.assert_array_equal(answer.indices, before.indices)
    np.testing.assert_allclose(answer.scores, before.scores, atol=1e-6)


def test_query_expansion_takes_the_first_of_the_ranking_whatever_their_similarity():
    database = np.eye(3)
    answer = AlphaQE(n=1, alpha=0)(
        global_source([[1, 0, 0]]), global_source(database), ranking([[2, 1, 0]], [[9, 8, 7]])
    )
    assert answer.indices.tolist() == [[2, 0, 1]]
    np.testing.assert_allclose(answer.scores, [[0.5**0.5, 0.5**0.5, 0]], atol=1e-7)


def test_query_expansion_gives_no_weight_to_what_points_away():
    database = unit([[0.6, 0.8], [-0.6, 0.8], [0.8, -0.6]])
    answer = AlphaQE(n=2, alpha=2)(global_source([[1, 0]]), global_source(database), ranking([[1, 0, 2]], [[9, 8, 7]]))
    expanded = unit(np.array([1, 0]) + 0.36 * database[0])
    np.testing.assert_allclose(answer.scores[0], np.sort(database @ expanded)[::-1], atol=1e-6)


@pytest.mark.parametrize("reranker", [AlphaQE(), AlphaDBA(), SuperGlobal(), KReciprocal(k1=3, k2=2)])
def test_images_of_equal_score_keep_their_order(reranker):
    order = np.random.default_rng(0).permutation(50)[None]
    answer = reranker(global_source([[1, 0]]), global_source([[1, 0]] * 50), ranking(order, np.ones((1, 50))))
    np.testing.assert_array_equal(answer.indices, order)


def test_an_image_is_its_own_neighbour_among_many_that_equal_it():
    with np.errstate(all="raise"):
        scores = KReciprocal(k1=3, k2=1).query_scores(np.float32([1, 0]), np.float32([[1, 0]] * 50))
    assert (scores == 1).all()


def test_query_expansion_in_small_blocks_is_the_same(monkeypatch):
    queries, database = clusters(4)
    whole = rerank(AlphaQE(), queries, database)
    monkeypatch.setattr(alpha_qe, "BUDGET", 4 * 60 * 3)  # three queries, fifteen database rows
    blocks = rerank(AlphaQE(), queries, database)
    np.testing.assert_array_equal(blocks.indices, whole.indices)
    np.testing.assert_allclose(blocks.scores, whole.scores, atol=1e-6)


# ---- database augmentation


def augmentation(n, alpha):
    def scores(query, rows):
        found = []
        for i, row in enumerate(rows):
            similarity = np.delete(rows @ row, i)
            others = np.delete(rows, i, axis=0)
            near = np.argsort(-similarity)[:n]
            joined = row + sum(max(similarity[j], 0) ** alpha * others[j] for j in near)
            found.append(query @ joined / np.linalg.norm(joined))
        return np.array(found)

    return scores


@pytest.mark.parametrize(("top_k", "n", "alpha"), [(30, 5, 3), (60, 10, 1.5), (7, 20, 3), (20, 1, 0)])
def test_augmentation_equals_the_literal_form(top_k, n, alpha):
    check(AlphaDBA(top_k, n=n, alpha=alpha), augmentation(n, alpha), top_k, seed=top_k)


def test_augmentation_without_neighbours_is_the_first_stage():
    queries, database = clusters(5)
    np.testing.assert_array_equal(rerank(AlphaDBA(n=0), queries, database).indices, search(queries, database).indices)


# ---- k-reciprocal encoding


def k_reciprocal(k1, k2, weight):
    """The paper's steps with Python sets."""

    def scores(query, rows):
        nodes = np.vstack([query, rows])
        distance = ((nodes[:, None] - nodes[None]) ** 2).sum(-1)
        distance /= distance.max(1, keepdims=True)
        near = np.argsort(distance, axis=1, kind="stable")

        def reciprocal(i, k):
            return {j for j in near[i, : k + 1].tolist() if i in near[j, : k + 1]}

        codes = np.zeros_like(distance)
        for i in range(len(nodes)):
            members = reciprocal(i, k1)
            whole = set(members)
            for j in members:
                half = reciprocal(j, round(k1 / 2))
                if len(half & members) > 2 / 3 * len(half):
                    whole |= half
            chosen = sorted(whole)
            codes[i, chosen] = np.exp(-distance[i, chosen])
            codes[i] /= codes[i].sum()
        codes = np.array([codes[near[i, :k2]].mean(0) for i in range(len(nodes))])
        jaccard = [1 - np.minimum(codes[0], c).sum() / np.maximum(codes[0], c).sum() for c in codes[1:]]
        return 1 - ((1 - weight) * np.array(jaccard) + weight * distance[0, 1:])

    return scores


@pytest.mark.parametrize(
    ("top_k", "k1", "k2", "weight"), [(40, 20, 6, 0.3), (30, 5, 1, 0.0), (60, 7, 3, 0.8), (4, 20, 6, 0.3)]
)
def test_k_reciprocal_equals_the_literal_form(top_k, k1, k2, weight):
    reranker = KReciprocal(top_k, k1=k1, k2=k2, lambda_value=weight)
    check(reranker, k_reciprocal(k1, k2, weight), top_k, seed=top_k)


def test_k_reciprocal_with_all_weight_on_the_distance_is_the_first_stage():
    queries, database = clusters(6)
    np.testing.assert_array_equal(
        rerank(KReciprocal(60, lambda_value=1), queries, database).indices, search(queries, database).indices
    )


# ---- diffusion


def diffused(kq, kd, gamma, alpha):
    """A dense graph and a dense solver."""

    def scores(query, rows):
        similarity = rows @ rows.T
        np.fill_diagonal(similarity, -np.inf)
        near = np.zeros(similarity.shape, bool)
        for i, row in enumerate(similarity):
            near[i, np.argsort(-row)[: min(kd, len(rows) - 1)]] = True
        affinity = np.where(near & near.T, np.maximum(similarity, 0) ** gamma, 0)
        degree = affinity.sum(1)
        root = np.array([d**-0.5 if d > 0 else 0 for d in degree])
        start = np.zeros(len(rows))
        best = np.argsort(-(rows @ query))[:kq]
        start[best] = np.maximum(rows[best] @ query, 0) ** gamma
        return np.linalg.solve(np.eye(len(rows)) - alpha * root[:, None] * affinity * root, start)

    return scores


@pytest.mark.parametrize(
    ("top_k", "kq", "kd", "gamma", "alpha"),
    [(60, 10, 15, 3, 0.9), (25, 3, 4, 1, 0.5), (9, 20, 50, 2, 0.8), (30, 1, 3, 3, 0)],
)
def test_diffusion_equals_the_dense_solution(top_k, kq, kd, gamma, alpha):
    reranker = Diffusion(top_k, kq=kq, kd=kd, gamma=gamma, alpha=alpha, iterations=500)
    if alpha:
        check(reranker, diffused(kq, kd, gamma, alpha), top_k, seed=top_k)
    else:
        queries, database = clusters(7)
        np.testing.assert_array_equal(rerank(reranker, queries, database).indices, search(queries, database).indices)


def test_diffusion_stops_at_the_iterations_and_reaches_what_is_connected():
    """A chain 0-1-2-3 beside a far pair: one step of diffusion is not three, and the pair is never reached."""
    angles = np.radians([0, 20, 40, 60])
    database = np.zeros((6, 4))
    database[:4, 0], database[:4, 1] = np.cos(angles), np.sin(angles)
    database[4:, 2], database[5, 3] = 1, 0.1
    answers = {
        n: Diffusion(kq=1, kd=2, iterations=n).query_scores(np.float32(database[0]), unit(database)) for n in (1, 2, 50)
    }
    assert (answers[50][:4] > 0).all()
    assert (answers[50][4:] == 0).all()
    assert np.abs(answers[1] - answers[50]).max() > np.abs(answers[2] - answers[50]).max() > 1e-3


# ---- what they share


def test_defaults_are_the_papers():
    qe, dba, reciprocal, diffusion = AlphaQE(), AlphaDBA(), KReciprocal(), Diffusion()
    assert (qe.n, qe.alpha) == (dba.n, dba.alpha) == (10, 3)
    assert qe.top_k > 1e9
    assert dba.top_k == 400
    assert (reciprocal.top_k, reciprocal.k1, reciprocal.k2, reciprocal.lambda_value) == (100, 20, 6, 0.3)
    assert (diffusion.top_k, diffusion.kq, diffusion.kd, diffusion.gamma) == (1000, 10, 50, 3)
    assert (diffusion.alpha, diffusion.iterations) == (0.99, 20)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (AlphaQE, {"top_k": 0}, "alpha_qe: top_k"),
        (AlphaQE, {"n": -1}, "alpha_qe: n"),
        (AlphaQE, {"alpha": -0.5}, "alpha_qe: alpha"),
        (AlphaDBA, {"top_k": True}, "alpha_dba: top_k"),
        (AlphaDBA, {"n": 1.5}, "alpha_dba: n"),
        (AlphaDBA, {"alpha": float("inf")}, "alpha_dba: alpha"),
        (AlphaDBA, {"threads": 0}, "threads"),
        (KReciprocal, {"k1": 0}, "k_reciprocal: k1"),
        (KReciprocal, {"k2": 0}, "k_reciprocal: k2"),
        (KReciprocal, {"lambda_value": 1.01}, "k_reciprocal: lambda_value"),
        (KReciprocal, {"lambda_value": float("nan")}, "k_reciprocal: lambda_value"),
        (Diffusion, {"kq": 0}, "diffusion: kq"),
        (Diffusion, {"kd": 0}, "diffusion: kd"),
        (Diffusion, {"iterations": 0}, "diffusion: iterations"),
        (Diffusion, {"gamma": "3"}, "diffusion: gamma"),
        (Diffusion, {"alpha": 1}, "diffusion: alpha"),
    ],
)
def test_bad_arguments_are_named(build, options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_queries_at_once_are_bounded_by_the_budget(monkeypatch):
    """With m candidates of D numbers and three m x m arrays each, two queries fit, then one, then less than one.

    One at a time needs no pool.
    """
    asked = []

    class Pool(candidates.ThreadPoolExecutor):
        def __init__(self, threads, **options):
            asked.append(threads)
            super().__init__(threads, **options)

    monkeypatch.setattr(candidates, "ThreadPoolExecutor", Pool)
    queries, database = clusters(8)
    need = 4 * 20 * (12 + 3 * 20)
    answers = []
    for budget in (128 << 20, 2 * need, 2 * need - 1, need // 2):
        monkeypatch.setattr(candidates, "BUDGET", budget)
        answers.append(rerank(SuperGlobal(m=20, k=3, threads=8), queries, database))
    assert asked == [8, 2]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.scores, answers[0].scores)

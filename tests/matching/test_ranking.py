import numpy as np
import pytest

from matching.ranking import Ranking
from matching.rerankers.base import reranked
from tests.matching.helpers import ranking

INF = np.inf


def test_rows_without_filling_and_top():
    answer = ranking([[3, 1, 2], [0, -1, -1]], [[0.9, 0.5, 0.1], [0.7, -INF, -INF]])
    assert len(answer) == 2
    assert answer.row(0).tolist() == [3, 1, 2]
    assert answer.row(1).tolist() == [0]
    top = answer.top(2)
    assert top.indices.tolist() == [[3, 1], [0, -1]]
    assert top.scores.tolist() == answer.scores[:, :2].tolist()
    assert answer.top(9).indices.shape == (2, 3)


def test_without_takes_rows_out_and_keeps_the_order():
    answer = ranking([[3, 1, 2, 0], [0, 2, -1, -1]], [[0.9, 0.5, 0.25, 0.125], [0.75, 0.5, -INF, -INF]])
    left = answer.without([{1, 0}, []])
    assert left.indices.tolist() == [[3, 2, -1, -1], [0, 2, -1, -1]]
    assert left.scores.tolist() == [[0.9 * np.float32(1), 0.25, -INF, -INF], [0.75, 0.5, -INF, -INF]] or np.allclose(
        left.scores[0, :2], [0.9, 0.25]
    )
    assert np.isneginf(left.scores[:, 2:]).all()
    assert answer.without([np.array([3, 1, 2, 0]), {2}]).indices.tolist() == [[-1] * 4, [0, -1, -1, -1]]
    assert answer.indices.tolist() == [[3, 1, 2, 0], [0, 2, -1, -1]], "the original is as it was"


def test_shapes_must_agree():
    for indices, scores in (((2, 3), (2, 2)), ((4,), (4,))):
        with pytest.raises(ValueError, match=r"one shape \(Q, K\)"):
            Ranking(np.zeros(indices, np.int64), np.zeros(scores, np.float32))


def test_new_scores_sort_the_first_images_and_lower_the_others_below_them():
    before = ranking([[5, 6, 7, 8, 9]], [[0.5, 0.25, 0.25, 0.125, 0.0]])
    after = reranked(before, [np.array([0.0, 4.0])])
    assert after.indices.tolist() == [[6, 5, 7, 8, 9]]
    assert after.scores.tolist() == [[4.0, 0.0, 0.0, -0.125, -0.25]]
    assert before.indices.tolist() == [[5, 6, 7, 8, 9]]


def test_scores_that_are_low_enough_and_the_filling_stay():
    before = ranking([[1, 0, 2, -1], [2, -1, -1, -1]], [[0.5, 0.25, 0.125, -INF], [0.5, -INF, -INF, -INF]])
    after = reranked(before, [np.array([2.0, 3.0]), np.zeros(0)])
    assert after.indices.tolist() == [[0, 1, 2, -1], [2, -1, -1, -1]]
    assert after.scores.tolist() == [[3.0, 2.0, 0.125, -INF], [0.5, -INF, -INF, -INF]]
    after = reranked(before, [np.array([-1.0, 3.0]), np.array([-7.0])])
    assert after.scores.tolist() == [[3.0, -1.0, -1.0, -INF], [-7.0, -INF, -INF, -INF]]

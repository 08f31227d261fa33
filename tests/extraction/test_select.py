import numpy as np

from extraction.select import top_by_score


def test_order_ties_and_limit():
    scores = np.array([1.0, 3.0, 3.0, 2.0], np.float32)
    assert top_by_score(scores, 10).tolist() == [1, 2, 3, 0]
    assert top_by_score(scores, 2).tolist() == [1, 2]
    assert top_by_score(scores, 1).tolist() == [1]
    many = np.tile(np.array([1.0, 2.0], np.float32), 500)
    assert top_by_score(many, 1000).tolist() == [*range(1, 1000, 2), *range(0, 1000, 2)]


def test_the_threshold_itself_is_kept():
    scores = np.array([1.0, 3.0, 2.0], np.float32)
    assert top_by_score(scores, 10, 2.0).tolist() == [1, 2]
    assert top_by_score(scores, 10, 3.5).tolist() == []
    assert top_by_score(scores, 10, 0.0).tolist() == [1, 2, 0]

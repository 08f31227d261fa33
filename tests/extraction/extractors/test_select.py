import numpy as np

from extraction.extractors.select import suppressed, top_by_score


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


def test_suppression_is_tensorflows():
    import tensorflow as tf

    rng = np.random.default_rng(0)
    centres, scales = rng.uniform(0, 1500, (400, 2)), rng.choice([0.5, 1.0, 2.0], 400)
    scores = rng.permutation(400).astype(np.float32)
    halves = ((291 - 1) / 2 * scales)[:, None]
    boxes = np.hstack([(centres - halves)[:, ::-1], (centres + halves)[:, ::-1]]).astype(np.float32)
    for iou, limit in ((0.0, 400), (0.3, 400), (0.7, 400), (0.7, 50), (1.0, 400)):
        expected = tf.image.non_max_suppression(boxes, scores, limit, iou).numpy().tolist()
        limits = {"iou": iou, "max_feature_num": limit, "receptive_field": 291.0}
        found = suppressed(top_by_score(scores, 400), centres, scales, **limits).tolist()
        assert found == expected
        assert len(found) == 400 if iou == 1 else len(found) < 400

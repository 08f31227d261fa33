"""Losses on pairs against hand-worked numbers, and at the places where they could break."""

import numpy as np
import pytest
import tensorflow as tf

from training.losses.metric import (
    all_pairs_contrastive_loss,
    contrastive_loss,
    nearest_is_same,
    npairs_loss,
    npairs_multilabel_loss,
    pairwise_distances,
    triplet_semihard_loss,
)

POINTS = tf.constant([[0.0], [1.0], [3.0], [7.0]])


def test_distances():
    expected = np.abs(POINTS.numpy() - POINTS.numpy().T)
    np.testing.assert_allclose(pairwise_distances(POINTS).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(pairwise_distances(POINTS, "squared-L2").numpy(), expected**2, atol=1e-5)
    axes = tf.constant([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    np.testing.assert_allclose(
        pairwise_distances(axes, "angular").numpy(), [[0, 1, 2], [1, 0, 1], [2, 1, 0]], atol=1e-6
    )


def test_semihard_negatives_by_hand():
    # 0 -> 1: d 1; nearest negative beyond 1 lies at 3. 1 -> 0: d 1, negative at 2. 3 -> 7: d 4, none beyond 4: the
    # farthest, 3. 7 -> 3: d 4, negative at 6.
    expected = (max(0, 2 + 1 - 3) + (2 + 1 - 2) + (2 + 4 - 3) + max(0, 2 + 4 - 6)) / 4
    value = triplet_semihard_loss(tf.constant([0, 0, 1, 1]), POINTS, margin=2.0)
    assert float(value) == pytest.approx(expected, abs=1e-5)


def test_contrastive_by_hand():
    # pairs 0-1 (same) 1, 2-3 (same) 16, of two classes: 0-2 3, 0-3 7, 1-2 2, 1-3 6; the margin is 4
    value = all_pairs_contrastive_loss(tf.constant([0, 0, 1, 1]), POINTS, margin=4.0)
    assert float(value) == pytest.approx((1 + 16 + 1 + 0 + 4 + 0) / 6, rel=1e-5)
    values = contrastive_loss(tf.constant([1, 0, 0]), tf.constant([2.0, 0.5, 3.0]), 1.0).numpy()
    np.testing.assert_allclose(values, [4.0, 0.25, 0.0], rtol=1e-6)


def test_npairs_by_hand():
    similarities = tf.math.log(tf.constant([[1.0, 1.0, 2.0], [3.0, 1.0, 4.0], [1.0, 1.0, 6.0]]))
    # rows 0 and 1 share their class: half of each cross entropy
    first = (np.log(4) + np.log(4)) / 2
    second = (np.log(8 / 3) + np.log(8)) / 2
    value = npairs_loss(tf.constant([5, 5, 7]), similarities)
    assert float(value) == pytest.approx((first + second + np.log(8 / 6)) / 3, rel=1e-5)
    hot = tf.constant([[1, 0], [1, 0], [0, 1]])
    assert float(npairs_multilabel_loss(hot, similarities)) == pytest.approx(float(value), rel=1e-6)


def test_empty_sums_are_zero():
    alone = tf.constant([0, 1, 2, 3])
    assert float(triplet_semihard_loss(alone, POINTS)) == 0.0
    assert float(all_pairs_contrastive_loss(alone[:1], POINTS[:1])) == 0.0
    assert float(triplet_semihard_loss(alone[:1], POINTS[:1])) == 0.0
    assert float(npairs_multilabel_loss(tf.zeros((2, 3)), tf.zeros((2, 2)))) == 0.0


@pytest.mark.parametrize("distance", ["L2", "squared-L2", "angular"])
def test_gradients_are_finite_where_descriptors_coincide(distance):
    x = tf.constant([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    labels = tf.constant([0, 0, 1, 1])
    for loss in (
        lambda x: triplet_semihard_loss(labels, x, 1.0, distance),
        lambda x: all_pairs_contrastive_loss(labels, x),
        lambda x: npairs_loss(labels, 1e4 * tf.matmul(x, x, transpose_b=True)),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        assert np.isfinite(float(value)) and np.isfinite(tape.gradient(value, x).numpy()).all()


def test_half_precision_is_computed_in_float32():
    x = tf.constant(np.random.default_rng(0).normal(size=(6, 8)), tf.float16)
    labels = tf.constant([0, 0, 1, 1, 2, 2])
    value = triplet_semihard_loss(labels, x)
    assert value.dtype == tf.float32
    assert float(value) == float(triplet_semihard_loss(labels, tf.cast(x, tf.float32)))


def test_the_nearest_other_row():
    labels = tf.constant([0, 0, 1, 1, 2])
    x = tf.constant([[1.0, 0.1], [1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [-1.0, 0.0]])
    hits, counted = nearest_is_same(labels, 5.0 * x)
    # row 0 lies between 1 and 2, nearer to 2 in angle by a little less: atan 0.1 and atan 0.2 - atan 0.1
    assert hits.numpy().tolist() == [0.0, 1.0, 0.0, 0.0 + 1.0, 0.0]
    assert counted.numpy().tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]

"""Losses against numbers worked by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from keras import ops

from training.losses.delg import batch_mean, correct, cross_entropy, delg_losses, reconstruction_error, total_loss


def test_cross_entropy_per_example():
    logits = ops.convert_to_tensor([[0.0, math.log(3.0)], [math.log(7.0), 0.0], [1e4, -1e4]])
    values = ops.convert_to_numpy(cross_entropy(logits, ops.convert_to_tensor([0, 0, 0])))
    np.testing.assert_allclose(values, [math.log(4.0), math.log(8.0 / 7.0), 0.0], rtol=1e-6, atol=1e-7)
    assert values.dtype == np.float32


def test_low_precision_logits_are_summed_in_float32():
    logits = ops.cast(ops.convert_to_tensor([[0.0, 0.0, 0.0]]), "float16")
    value = cross_entropy(logits, ops.convert_to_tensor([1]))
    assert value.dtype == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(value), [math.log(3.0)], rtol=1e-6)


def test_reconstruction_error_is_the_mean_over_positions_and_channels():
    target = np.zeros((2, 2, 2, 3), np.float32)
    other = target.copy()
    other[0, 0, 0] = [1.0, 2.0, 3.0]
    other[1, :, :, 0] = -2.0
    values = ops.convert_to_numpy(reconstruction_error(target, ops.convert_to_tensor(other)))
    np.testing.assert_allclose(values, [14 / 12, 16 / 12], rtol=1e-6)


def test_replicas_sum_to_the_mean_of_the_global_batch():
    values = ops.convert_to_tensor([1.0, 2.0, 6.0, 7.0])
    parts = [float(batch_mean(values[:2], 4)), float(batch_mean(values[2:], 4))]
    assert parts == [0.75, 3.25] and sum(parts) == 4.0


def test_weights_of_the_total():
    assert total_loss(2.0, 3.0, 0.5) == 2.0 + 1.0 * 3.0 + 10.0 * 0.5
    assert total_loss(2.0, 3.0, 0.5, attention_weight=0.1, reconstruction_weight=2.0) == pytest.approx(3.3)
    assert total_loss(2.0, 3.0) == 5.0


def test_correct_compares_the_largest_logit():
    logits = ops.convert_to_tensor([[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]])
    assert ops.convert_to_numpy(correct(logits, ops.convert_to_tensor([1, 2]))).tolist() == [1.0, 0.0]


def test_losses_of_a_model_use_the_right_outputs():
    labels = ops.convert_to_tensor([0])
    asked = []

    def arcface(vector, given):
        asked.append((vector, given))
        return ops.convert_to_tensor([[0.0, math.log(3.0)]])

    model = SimpleNamespace(arcface_logits=arcface, attention_logits=lambda x: ops.convert_to_tensor([[x, 0.0]]))
    zeros, ones = np.zeros((1, 1, 1, 2), np.float32), np.ones((1, 1, 1, 2), np.float32)
    outputs = {"global_descriptor": "g", "attention_pooled": math.log(7.0)}
    values = delg_losses(model, outputs | {"local_target": zeros, "reconstruction": 3 * ones}, labels)
    assert asked == [("g", labels)]
    assert float(values["desc"][0]) == pytest.approx(math.log(4.0))
    assert float(values["attn"][0]) == pytest.approx(math.log(8.0 / 7.0))
    assert float(values["recon"][0]) == pytest.approx(9.0)
    assert "recon" not in delg_losses(model, outputs, labels)

"""The training step: its losses, its gradients, its update, and what happens at NaN."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests.training.pictures import picture
from tests.training.tiny import SIZE, step_config, tiny_model
from training.averaging import AverageConfig, MovingAverage
from training.backends.tensorflow_step import TrainStep, compile_validation_step
from training.computation import METRICS, compute, forward
from training.losses.global_descriptor import build_global_loss
from training.losses.metric import triplet_semihard_loss
from training.optimizers import build_optimizer

LABELS = tf.constant([0, 3, 3, 7], tf.int64)
IMAGES = tf.constant(np.stack([picture(int(label), i, (SIZE, SIZE)) for i, label in enumerate(LABELS)]), tf.float32)


def numbers(tensor) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor))


def cross_entropy(logits: np.ndarray) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[range(4), LABELS]).mean())


def test_forward_gives_what_the_model_gives():
    model = tiny_model()
    maps, outputs = forward(model, IMAGES, training=False)
    expected = model(model.normalize(IMAGES), training=False)
    assert sorted(outputs) == sorted(expected) and sorted(maps) == sorted(model.trunk.levels)
    for name, value in expected.items():
        np.testing.assert_allclose(numbers(outputs[name]), numbers(value), rtol=1e-5, atol=1e-6)


def test_losses_and_accuracies_of_a_batch():
    model = tiny_model()
    result = compute(model, IMAGES, LABELS, step_config(4, attention_loss_weight=0.5, reconstruction_loss_weight=3.0))
    means = {name: float(value) for name, value in result.means.items()}
    out = {name: numbers(value) for name, value in result.outputs.items()}
    desc = numbers(model.arcface_logits(out["global_descriptor"], LABELS))
    attn = numbers(model.attention_logits(out["attention_pooled"]))
    assert means["desc"] == pytest.approx(cross_entropy(desc), rel=1e-5)
    assert means["attn"] == pytest.approx(cross_entropy(attn), rel=1e-5)
    assert means["recon"] == pytest.approx(np.mean((out["local_target"] - out["reconstruction"]) ** 2), rel=1e-5)
    assert means["loss"] == pytest.approx(means["desc"] + 0.5 * means["attn"] + 3.0 * means["recon"], rel=1e-6)
    assert means["desc_accuracy"] == np.mean(desc.argmax(1) == LABELS.numpy())
    assert means["attn_accuracy"] == np.mean(attn.argmax(1) == LABELS.numpy())


def test_a_replica_s_part_of_the_global_batch_is_divided_by_the_global_batch():
    model = tiny_model()
    whole = compute(model, IMAGES, LABELS, step_config(4)).means
    part = compute(model, IMAGES, LABELS, step_config(8)).means
    for name in ("loss", "desc", "attn", "recon", "desc_accuracy"):
        assert float(part[name]) == pytest.approx(float(whole[name]) / 2, rel=1e-5)


def test_the_local_losses_leave_the_backbone_s_gradients_alone():
    model = tiny_model()
    both = compute(model, IMAGES, LABELS, step_config(4)).gradients
    alone = step_config(4, attention_loss_weight=0.0, reconstruction_loss_weight=0.0)
    descriptor_only = compute(model, IMAGES, LABELS, alone).gradients
    local = [variable.path.startswith(("local_head", "att_fc")) for variable in model.trainable_variables]
    assert 0 < sum(local) < len(local)
    for variable, is_local, with_local, without in zip(model.trainable_variables, local, both, descriptor_only):
        if is_local:
            assert not numbers(without).any(), variable.path
        else:
            np.testing.assert_allclose(numbers(with_local), numbers(without), rtol=1e-5, atol=1e-6)
            assert numbers(with_local).any() or variable.path.endswith("bias"), variable.path


def test_an_update_is_a_step_against_the_clipped_gradient():
    model = tiny_model()
    config = step_config(4, clip_norm=0.5)
    reference = tiny_model()
    gradients = [numbers(g) for g in compute(reference, IMAGES, LABELS, config).gradients]
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients))
    before = [numbers(v) for v in model.trainable_variables]
    optimizer = build_optimizer("sgd")
    optimizer.build(model.trainable_variables)
    result = TrainStep(model, optimizer, config)(IMAGES, LABELS, 0.1, summarize=True)
    metrics = dict(zip(METRICS, numbers(result.metrics).tolist()))
    assert norm > 0.5
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    for variable, old, gradient in zip(model.trainable_variables, before, gradients):
        change = numbers(variable) - old
        np.testing.assert_allclose(change, -0.1 * 0.5 / norm * gradient, rtol=1e-3, atol=5e-7, err_msg=variable.path)
    assert not np.array_equal(numbers(model.backbone.get_layer("bn_conv1").moving_mean), np.zeros(8))
    maps, _ = forward(reference, IMAGES, training=True)
    expected = [np.mean(numbers(maps[block]) == 0) for block in model.trunk.levels]
    np.testing.assert_allclose(numbers(result.sparsity), expected, atol=2e-3)
    assert max(expected) > 0.1
    assert result.attention.shape == (4, 4, 4)


@pytest.mark.parametrize("optimizer", ["sgd(momentum=0.9, weight_decay=0.1)", "adamw_addons(weight_decay=0.1)"])
def test_a_step_on_nan_keeps_weights_momentum_and_average(optimizer):
    model, optimizer = tiny_model(), build_optimizer(optimizer)
    optimizer.build(model.trainable_variables)
    average = MovingAverage(model.trainable_variables, AverageConfig(0.5))
    step = TrainStep(model, optimizer, step_config(4), average)
    kept = [*model.trainable_variables, *optimizer.variables[2:], *average.averages]  # not the rate
    assert [v.path for v in optimizer.variables[:2]] == [
        f"{optimizer.name}/iteration",
        f"{optimizer.name}/learning_rate",
    ]

    def state() -> list[np.ndarray]:
        return [numbers(v) for v in (optimizer.iterations, *kept)]

    start = state()
    step(IMAGES, LABELS, 0.1)
    before = state()
    assert not any(np.array_equal(old, new) for old, new in zip(start, before) if old.ndim > 1)
    result = step(IMAGES * np.nan, LABELS, 0.1)
    assert not numbers(result.sparsity).any()  # not asked for
    assert not np.isfinite(numbers(result.metrics)).all()
    assert all(np.array_equal(old, new) for old, new in zip(before, state()))


def made(model, **settings) -> TrainStep:
    optimizer = build_optimizer("sgd")
    optimizer.build(model.trainable_variables)
    return TrainStep(model, optimizer, step_config(4, **settings))


@pytest.mark.usefixtures("eager")
def test_the_first_tensor_that_is_not_finite_is_named():
    model = tiny_model()
    step = made(model)
    assert step.first_not_finite(IMAGES + np.inf, LABELS) == "the images"
    assert step.first_not_finite(IMAGES, LABELS) == "the gradient norm"
    kernel = model.backbone.get_layer("conv2").kernel
    old = numbers(kernel)
    kernel.assign(np.full_like(old, np.nan))
    assert step.first_not_finite(IMAGES, LABELS) == "the weight conv2/kernel"
    kernel.assign(np.full_like(old, 3e38))
    assert step.first_not_finite(IMAGES, LABELS) == "the feature map block3"
    kernel.assign(old)
    model.embedding_layer.bias.assign(np.full(16, 3e38, np.float32))
    assert step.first_not_finite(IMAGES, LABELS).startswith("the gradient of ")


@pytest.mark.usefixtures("eager")
def test_of_a_frozen_backbone_the_moving_statistics_are_weights():
    model = tiny_model()
    step, moving = made(model), model.backbone.get_layer("bn_conv1").moving_variance
    moving.assign(np.full(8, np.inf, np.float32))
    assert step.first_not_finite(IMAGES, LABELS, frozen=True) == "the weight bn_conv1/moving_variance"
    moving.assign(np.full(8, -1.0, np.float32))
    assert step.first_not_finite(IMAGES, LABELS, frozen=True).startswith("the feature map block")
    assert step.first_not_finite(IMAGES, LABELS) == "the gradient norm", "the batch's own statistics are fine"


@pytest.mark.usefixtures("eager")
def test_every_part_of_a_batch_is_looked_at():
    step = made(tiny_model(), accumulate=2)
    assert step.first_not_finite(IMAGES, LABELS) == "the gradient norm"
    last = tf.concat([IMAGES[:3], IMAGES[3:] * np.nan], 0)
    assert step.first_not_finite(last, LABELS) == "the images"


@pytest.mark.usefixtures("eager")
def test_validation_counts_what_is_right_without_margin_or_batch_statistics():
    model = tiny_model(arcface_margin=1.0)
    step = compile_validation_step(model, SIZE)
    _, outputs = forward(model, IMAGES, training=False)
    logits = (model.arcface_logits(outputs["global_descriptor"]), model.attention_logits(outputs["attention_pooled"]))
    answers = [tf.constant(numbers(values).argmax(1)) for values in logits]
    assert numbers(step(IMAGES, answers[0]))[0].tolist() == [4.0, 4.0]
    assert numbers(step(IMAGES[:3], answers[1][:3]))[1].tolist() == [3.0, 3.0]
    assert numbers(step(IMAGES, (answers[0] + 1) % 8))[0].tolist() == [0.0, 4.0]


@pytest.mark.usefixtures("eager")
def test_without_a_classifier_the_nearest_neighbour_is_asked():
    model, loss = tiny_model(), build_global_loss("contrastive")
    step = compile_validation_step(model, SIZE, loss)
    twice = tf.concat([IMAGES[:2], IMAGES[:2]], 0)
    assert numbers(step(twice, tf.constant([0, 1, 0, 1], tf.int64)))[0].tolist() == [4.0, 4.0]
    assert numbers(step(twice, tf.constant([0, 0, 1, 1], tf.int64)))[0].tolist() == [0.0, 4.0]
    assert numbers(step(twice, tf.constant([0, 1, 0, 2], tf.int64)))[0].tolist() == [2.0, 2.0]
    means = compute(model, twice, tf.constant([0, 1, 0, 2], tf.int64), step_config(4, global_loss=loss)).means
    assert float(means["desc_accuracy"]) == 1.0  # of the two that are not alone in their class


def test_another_loss_takes_the_place_of_arcface():
    model = tiny_model()
    config = step_config(4, global_loss=build_global_loss("triplet_semihard(margin=0.3)"))
    computed = compute(model, IMAGES, LABELS, config)
    means = {name: float(value) for name, value in computed.means.items()}
    descriptors = tf.math.l2_normalize(numbers(computed.outputs["global_descriptor"]), axis=1)
    assert means["desc"] == pytest.approx(float(triplet_semihard_loss(LABELS, descriptors, 0.3)), rel=1e-5)
    assert means["desc"] > 0 and means["loss"] == pytest.approx(means["desc"] + means["attn"] + 10 * means["recon"])
    for variable, gradient in zip(model.trainable_variables, computed.gradients):
        assert numbers(gradient).any() == (variable.path != "classifier/cosine_weights") or "bias" in variable.path


@pytest.mark.usefixtures("eager")
def test_a_model_without_a_local_head_trains():
    model, optimizer = tiny_model(local_head=None, local_dim=None), build_optimizer("sgd")
    optimizer.build(model.trainable_variables)
    result = TrainStep(model, optimizer, step_config(4))(IMAGES, LABELS, 0.1)
    metrics = dict(zip(METRICS, numbers(result.metrics).tolist()))
    assert (
        metrics["loss"] == metrics["desc"] > 0 and metrics["attn"] == metrics["recon"] == metrics["attn_accuracy"] == 0
    )
    assert result.attention.shape == (4, 1, 1)
    assert numbers(compile_validation_step(model, SIZE)(IMAGES, LABELS))[1].tolist() == [0.0, 0.0]

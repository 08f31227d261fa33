"""Steps in parts, with a frozen backbone, and in mixed precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from delg.common.errors import InputError
from tests.training.backends.test_tensorflow_step import IMAGES, LABELS, numbers
from tests.training.test_trainer import batches, trainer  # noqa: F401
from tests.training.tiny import SIZE, step_config, tiny_model
from training.assembly import policy
from training.backends.tensorflow_step import TrainStep
from training.computation import METRICS, forward, trained
from training.job import run
from training.losses.delg import delg_losses
from training.optimizers import build_optimizer
from training.options import TrainOptions


def made(model, optimizer: str = "sgd(momentum=0.9)", **settings) -> TrainStep:
    rule = build_optimizer(optimizer)
    rule.build(model.trainable_variables)
    return TrainStep(model, rule, step_config(**settings))


def test_no_path_leads_from_the_local_losses_to_the_backbone():
    """Not a small gradient: none at all."""
    model = tiny_model()
    with tf.GradientTape() as tape:
        _, outputs = forward(model, IMAGES, training=True)
        values = delg_losses(model, outputs, LABELS)
        local = tf.reduce_sum(values["attn"]) + tf.reduce_sum(values["recon"])
    heads = (model.local_head, model.attention_classifier)
    own = {v.path for head in heads for v in head.trainable_variables}
    gradients = tape.gradient(local, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients):
        assert (gradient is not None) == (variable.path in own), variable.path


def test_without_the_stop_the_local_losses_train_the_backbone():
    joint, stopped = tiny_model(local_head="delg(stop_gradient=False)"), tiny_model()
    images = joint.normalize(IMAGES)
    for first, second in zip(joint(images).values(), stopped(images).values()):
        np.testing.assert_array_equal(numbers(first), numbers(second))
    with tf.GradientTape() as tape:
        values = delg_losses(joint, joint(images, training=True), LABELS)
        local = tf.reduce_sum(values["attn"] + values["recon"])
    kernel = joint.backbone.get_layer("conv1").kernel
    assert numbers(tape.gradient(local, kernel.value)).any()
    with pytest.raises(InputError, match="stop_gradient expects True or False"):
        tiny_model(local_head="delg(stop_gradient=1)")


@pytest.mark.usefixtures("eager")
def test_a_batch_in_parts_gives_the_gradients_of_the_whole():
    """Both halves are the same images, so that the batch statistics are those of the whole."""
    images, labels = tf.concat([IMAGES, IMAGES], 0), tf.concat([LABELS, LABELS], 0)
    whole, parts = tiny_model(), tiny_model()
    results = []
    for model, accumulate in ((whole, 1), (parts, 2)):
        step = made(model, batch_size=8, accumulate=accumulate)
        results.append(numbers(step(images, labels, 0.01).metrics))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4)
    for a, b in zip(parts.trainable_variables, whole.trainable_variables):
        np.testing.assert_allclose(numbers(a), numbers(b), atol=2e-6, err_msg=a.path)


@pytest.mark.usefixtures("eager")
def test_a_frozen_backbone_keeps_weights_and_statistics_while_the_heads_learn():
    model = tiny_model()
    step = made(model, "sgd(momentum=0.9, weight_decay=0.1)", batch_size=4)
    before = {v.path: numbers(v).copy() for v in model.weights}
    step(IMAGES, LABELS, 0.05, frozen=True)
    backbone = {v.path for v in model.backbone.weights}
    assert {v.path for v in trained(model, frozen=True)}.isdisjoint(backbone)
    for variable in model.weights:
        same = np.array_equal(before[variable.path], numbers(variable))
        assert same == (variable.path in backbone), variable.path
    step(IMAGES, LABELS, 0.05)
    kernel = model.backbone.get_layer("conv1").kernel
    assert not np.array_equal(before[kernel.path], numbers(kernel))


def test_the_loop_thaws_the_backbone_after_its_steps(tmp_path, batches):  # noqa: F811
    run_ = trainer(tmp_path, 3, freeze_backbone_steps=2)
    kernel, seen = run_.model.backbone.get_layer("conv1").kernel, []
    inner = run_.train_step
    run_.train_step = lambda *a, **k: (seen.append(numbers(kernel).copy()), inner(*a, **k))[1]
    run_.fit(batches)
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[1], seen[2])
    assert not np.array_equal(seen[2], numbers(kernel))


@pytest.mark.usefixtures("eager")
def test_mixed_precision_keeps_weights_and_losses_in_float32():
    exact, mixed = tiny_model(), tiny_model(dtype=policy(True))
    assert mixed.backbone.get_layer("conv1").compute_dtype == "bfloat16"
    results = [
        dict(zip(METRICS, numbers(made(model, batch_size=4)(IMAGES, LABELS, 0.01).metrics).tolist()))
        for model in (exact, mixed)
    ]
    assert keras.config.dtype_policy().name == "float32"
    assert {v.dtype for v in mixed.weights} == {"float32"}
    for name in ("loss", "desc", "attn"):
        assert results[1][name] == pytest.approx(results[0][name], rel=0.05), name
        assert results[1][name] != results[0][name]
    _, outputs = mixed.backbone(mixed.normalize(IMAGES)), mixed(mixed.normalize(IMAGES))
    assert outputs["local_descriptors"].dtype == tf.bfloat16
    assert mixed.arcface_logits(outputs["global_descriptor"], LABELS).dtype == tf.float32


def test_a_batch_that_the_parts_do_not_divide_is_refused(tmp_path, records_dir):
    options = TrainOptions(
        train_file_pattern=f"{records_dir}/train*", logdir=str(tmp_path), preset="delg_small", image_size=SIZE,
        batch_size=8, max_iters=2, accumulate=3,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"--batch_size must be a multiple of 3, replicas times --accumulate"):
        run(options)

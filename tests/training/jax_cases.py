"""Training on JAX, on two devices that are parts of the processor; run by test_jax.py with KERAS_BACKEND=jax."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from keras import ops

from delg.common.errors import InputError
from tests.processes import ROOT, Started, free_ports
from tests.training import five_steps
from tests.training.test_jax import command
from tests.training.tiny import SIZE, tiny_model
from training.averaging import MovingAverage
from training.backends.jax_distribution import Devices, build_strategy, share_of
from training.backends.jax_step import TrainStep, compile_validation_step
from training.diagnosis import NotFiniteError
from training.losses.global_descriptor import build_global_loss, check_global_loss
from training.schedules import build_schedule
from training.trainer import Trainer, TrainerConfig

TWO = "mirrored(logical_cpus=2)"
WORK = Path(os.environ["JAX_CASES"])
MIRRORED = build_strategy(TWO)  # before the first operation
IMAGES, LABELS = (np.asarray(values) for values in next(five_steps.batches()))


def numbers(value) -> np.ndarray:
    return np.array(ops.convert_to_numpy(value))


def weights(model) -> list[np.ndarray]:
    return [numbers(variable) for variable in model.weights]


def trainer(logdir: Path, max_iters: int, strategy: Devices | None = None, **overrides) -> Trainer:
    strategy = strategy or Devices()
    with strategy.scope():
        model, optimizer = five_steps.made(**overrides)
    config = TrainerConfig(
        max_iters, five_steps.CONFIG, average=five_steps.AVERAGE, save_interval=3, save_seconds=1e6, report_interval=1
    )
    schedule = build_schedule("linear", 0.003, max_iters)
    return Trainer(model, optimizer, schedule, config, logdir, log=lambda line: None, strategy=strategy)


def batches(start: int):
    return list(five_steps.batches())[start:]


def test_the_command_by_itself():
    done = subprocess.run(
        [sys.executable, "-m", "delg", *command(WORK, "alone")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_command_killed_and_continued():
    done = Started(*command(WORK, "killed"), killed="step 5/").finished()
    assert done.returncode == -signal.SIGKILL, done.stderr
    done = Started(*command(WORK, "killed")).finished()
    assert done.returncode == 0 and "continuing from step 4\n" in done.stdout, done.stderr


def test_the_command_on_two_machines():
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tasks = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(2)]
    workers = [Started(*command(WORK, "machines"), TF_CONFIG=task) for task in tasks]
    for done in [worker.finished() for worker in workers]:
        assert done.returncode == 0, done.stderr[-3000:]


def test_one_device_and_two_train_alike():
    assert len(jax.devices()) == 2
    one, two = (five_steps.train(choice, WORK / "start.weights.h5") for choice in ("none", TWO))
    np.savez(WORK / "jax.npz", **one)
    assert np.ptp(one["metrics"][:, 0]) > 0.5
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_weights_lie_on_both_devices_and_batches_are_divided():
    with MIRRORED.scope():
        model = tiny_model()
    assert all(v.value.sharding.is_fully_replicated and len(v.value.devices()) == 2 for v in model.weights)
    divided = MIRRORED.divided(IMAGES)
    assert [shard.data.shape[0] for shard in divided.addressable_shards] == [4, 4]
    assert np.array_equal(divided, IMAGES)
    assert (share_of(MIRRORED, 8).workers, share_of(MIRRORED, 8).replicas) == (1, 1)
    with pytest.raises(InputError, match=r"--batch_size must be a multiple of the 2 replicas\. Received: 7"):
        share_of(MIRRORED, 7)


@pytest.mark.parametrize("strategy", [None, MIRRORED], ids=["one", "two"])
def test_a_stopped_run_ends_like_an_uninterrupted_one(tmp_path, strategy):
    whole = trainer(tmp_path / "whole", 5, strategy)
    seen = []
    whole.evaluate = lambda model: seen.append(weights(model)) or {"mAP": 1.0}
    whole.fit(batches, batches(4))
    first = trainer(tmp_path / "parts", 5, strategy)
    with pytest.raises(StopIteration):
        first.fit(lambda start: batches(start)[:4])
    second = trainer(tmp_path / "parts", 5, strategy)
    assert second.restore() == 3
    second.fit(batches, start=3)
    assert int(second.optimizer.iterations) == 5
    for ours, theirs in zip(weights(second.model), weights(whole.model)):
        assert np.array_equal(ours, theirs)
    with second.averaged():
        assert all(np.array_equal(a, b) for a, b in zip(weights(second.model), seen[-1]))
    assert (tmp_path / "whole" / "best" / "config.json").is_file()


def test_checkpoints_of_another_model_are_refused(tmp_path):
    trainer(tmp_path, 5).checkpoints.save(7)
    with pytest.raises(InputError, match="ckpt-7 cannot be restored"):
        trainer(tmp_path, 5, embedding_dim=24).restore()


def test_nan_changes_no_weight_and_the_tensor_is_named(tmp_path):
    run = trainer(tmp_path, 5, MIRRORED)
    run.model.attention_classifier.bias.assign(np.full(8, np.nan, np.float32))
    before = [numbers(v) for v in (*run.model.trainable_variables, *run.optimizer.variables)]
    with pytest.raises(NotFiniteError, match=r"step 1: the weight att_fc/bias is not finite"):
        run.fit(batches)
    for old, variable in zip(before, (*run.model.trainable_variables, *run.optimizer.variables)):
        assert np.array_equal(old, numbers(variable), equal_nan=True) or variable.path.endswith("learning_rate")


def test_images_of_any_device_are_looked_at_and_a_frozen_backbone_s_statistics(tmp_path):
    run = trainer(tmp_path, 5, MIRRORED)
    step, moving = run.train_step, run.model.backbone.get_layer("bn_conv1").moving_variance
    spoiled = np.concatenate([IMAGES[:7], IMAGES[7:] * np.nan])
    labels = MIRRORED.divided(LABELS.astype(np.int32))
    assert step.first_not_finite(MIRRORED.divided(spoiled), labels) == "the images"
    moving.assign(np.full(8, np.inf, np.float32))
    images = MIRRORED.divided(IMAGES)
    assert step.first_not_finite(images, labels) == "the gradient norm"
    assert step.first_not_finite(images, labels, frozen=True) == "the weight bn_conv1/moving_variance"


def test_a_frozen_backbone_keeps_weights_and_statistics_while_the_heads_learn():
    model, optimizer = five_steps.made()
    optimizer.build(model.trainable_variables)
    average = MovingAverage(model.trainable_variables, five_steps.AVERAGE)
    step = TrainStep(model, optimizer, five_steps.CONFIG, average)
    before = {v.path: numbers(v) for v in model.weights}
    step(IMAGES, LABELS, 0.05, frozen=True)
    backbone = {v.path for v in model.backbone.weights}
    for variable in model.weights:
        same = np.array_equal(before[variable.path], numbers(variable))
        assert same == (variable.path in backbone), variable.path
    step(IMAGES, LABELS, 0.05)
    assert not np.array_equal(before["conv1/kernel"], numbers(model.backbone.get_layer("conv1").kernel))


def test_validation_counts_what_is_right():
    model, loss = five_steps.made()[0], build_global_loss("contrastive")
    step = compile_validation_step(model, SIZE)
    found = sum(numbers(step(IMAGES, np.full(8, label))) for label in range(8))
    assert found.tolist() == [[8.0, 64.0], [8.0, 64.0]]  # each head gives every image one class
    step = compile_validation_step(model, SIZE, loss)
    twice = np.concatenate([IMAGES[:2], IMAGES[:2]])
    assert numbers(step(twice, np.array([0, 1, 0, 1])))[0].tolist() == [4.0, 4.0]
    assert numbers(step(twice, np.array([0, 1, 0, 2])))[0].tolist() == [2.0, 2.0]


def test_losses_on_pairs_are_tried_first():
    check_global_loss(build_global_loss("contrastive"), 16)
    with pytest.raises(InputError, match="failed on labels"):
        check_global_loss(build_global_loss("math:pow"), 16)


@pytest.mark.parametrize(
    ("text", "config", "message"),
    [
        ("horovod", "", "Unknown distribution 'horovod'; the choices are auto, mirrored, multi_worker, none"),
        ("multi_worker", "", "multi_worker needs TF_CONFIG in the environment"),
        ("auto", "workers", "TF_CONFIG is not of the form"),
        ("mirrored(logical_cpus=0)", "", "logical_cpus of 1 or more"),
    ],
)
def test_choices_that_are_refused(monkeypatch, text, config, message):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError, match=message):
        build_strategy(text)


def test_one_device_is_the_choice_on_a_processor(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert build_strategy("auto") == build_strategy("none") == Devices()

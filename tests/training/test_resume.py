"""A training that is killed at random steps and continued is, bit for bit, the training that was not."""

import random
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import delg
from tests.processes import Started

STEPS, KILLS = 24, 2


def command(records_dir: Path, logdir: Path, start: Path) -> list[str]:
    return [
        "train", f"--train_file_pattern={records_dir}/train*", f"--logdir={logdir}",
        f"--init_model={start}", "--image_size=32", "--batch_size=6", f"--max_iters={STEPS}", "--report_interval=1",
        "--save_interval=3", "--save_seconds=1e6", "--optimizer=sgd(momentum=0.9, weight_decay=1e-4)",
        "--deterministic", "--initial_lr=0.02", "--schedule=cosine(warmup=5)",
        "--augment=crop, flip, color_jitter, random_erasing", "--cache=false", "--shuffle_buffer=7",
        "--moving_average_decay=0.9",
    ]  # fmt: skip


def curves(logdir: Path) -> dict[tuple[str, int], set[float]]:
    """Every value that was written under a tag and a step; more than one where a step was repeated otherwise."""
    found: dict[tuple[str, int], set[float]] = {}
    for file in (logdir / "train_logs").glob("*"):
        try:
            for event in tf.compat.v1.train.summary_iterator(str(file)):
                for value in event.summary.value:
                    if value.tag.startswith(("loss/", "gradient_norm", "train_accuracy", "learning_rate")):
                        number = float(tf.make_ndarray(value.tensor))
                        found.setdefault((value.tag, event.step), set()).add(number)
        except tf.errors.DataLossError:
            pass  # the last event of a killed process
    return found


@pytest.mark.slow
def test_killed_at_random_steps_the_losses_are_those_of_an_uninterrupted_run(tmp_path, records_dir, tiny_start):
    whole, killed = (command(records_dir, tmp_path / name, tiny_start) for name in ("whole", "killed"))
    uninterrupted = Started(*whole)
    points = sorted(random.Random().sample(range(4, STEPS - 1), KILLS))
    print("killed at", points)
    for point in points:
        assert Started(*killed, killed=f"step {point}/").finished().returncode == -signal.SIGKILL
    last = Started(*killed).finished()
    assert last.returncode == 0, last.stderr
    assert int(last.stdout.split("continuing from step ")[1].split()[0]) == (points[-1] - 1) // 3 * 3
    assert uninterrupted.finished().returncode == 0
    expected, got = curves(tmp_path / "whole"), curves(tmp_path / "killed")
    losses = {step for tag, step in expected if tag == "loss/total"}
    assert (
        losses == set(range(1, STEPS + 1)) and len({min(v) for k, v in expected.items() if k[0] == "loss/total"}) > 18
    )
    assert got == expected
    ours, theirs = (delg.load(tmp_path / name / "model") for name in ("killed", "whole"))
    for a, b in zip(ours.weights, theirs.weights):
        assert np.array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b)), a.path

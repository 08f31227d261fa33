"""Training on JAX: as on TensorFlow, on one device and on two, killed and continued, and what it refuses.

One process on JAX runs ``jax_cases.py`` and, as its forks, the commands; the tests here judge what it leaves.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras import ops

import delg
from delg.common.errors import InputError
from tests import processes
from tests.processes import ROOT
from tests.training import five_steps
from tests.training.test_resume import curves
from training.job import run, settings_of
from training.options import TrainOptions
from training.records.recordset import open_records

pytest.importorskip("jax")


def ran(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def command(work: Path, run: str) -> list[str]:
    """A training that goes to the folder of a run."""
    return [
        "train", f"--train_file_pattern={work}/records/train*", f"--logdir={work / run}",
        f"--validation_file_pattern={work}/records/validation*", f"--init_model={work}/start", "--image_size=32",
        "--batch_size=8", "--max_iters=6", "--report_interval=1", "--save_interval=2", "--save_seconds=1e6",
        "--initial_lr=0.005", "--whitening_init=pca", "--moving_average_decay=0.5",
        "--optimizer=sgd(momentum=0.9)", "--augment=crop, flip", "--deterministic",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def cases(tmp_path_factory, records_dir, tiny_start) -> Path:
    """The folder of the cases, with what they leave; what one of their processes compiles, the others need not."""
    work = tmp_path_factory.mktemp("cases")
    (work / "records").symlink_to(records_dir)
    (work / "start").symlink_to(tiny_start)
    five_steps.made()[0].save_weights(work / "start.weights.h5")
    cache = {"JAX_COMPILATION_CACHE_DIR": str(work / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    done = ran("-m", "pytest", "tests/training/jax_cases.py", JAX_CASES=str(work), **processes.ON_JAX, **cache)
    assert done.returncode == 0, done.stdout[-5000:]
    return work


def differences(a: Path, b: Path) -> dict[str, float]:
    """The largest of each array, relative where a number is above 1."""
    with np.load(a) as ours, np.load(b) as theirs:
        assert set(ours) == set(theirs)
        apart = {name: np.abs(ours[name] - theirs[name]) / np.maximum(np.abs(theirs[name]), 1.0) for name in ours}
        return {name: float(values.max()) for name, values in apart.items()}


@pytest.mark.slow
def test_one_device_two_devices_and_tensorflow_train_alike(cases):
    np.savez(cases / "tensorflow.npz", **five_steps.train("none", cases / "start.weights.h5"))
    apart = differences(cases / "jax.npz", cases / "tensorflow.npz")  # among the cases: one device and two
    assert max(apart.values()) < 1e-5, apart
    print(f"metrics differ by {apart.pop('metrics'):.2g}, weights by {max(apart.values()):.2g}")


@pytest.mark.slow
def test_the_command_on_two_machines_gives_what_it_gives_on_one(cases):
    expected, got = curves(cases / "alone"), curves(cases / "machines")
    assert len({tuple(values) for key, values in expected.items() if key[0] == "loss/total"}) == 6
    assert set(got) == set(expected)
    for key, (value,) in expected.items():
        assert list(got[key]) == [pytest.approx(value, rel=1e-4)], key
    ours, theirs = (delg.load(cases / run / "model") for run in ("machines", "alone"))  # on TensorFlow
    for a, b in zip(ours.weights, theirs.weights):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-3, atol=1e-5, err_msg=a.path)


@pytest.mark.slow
def test_killed_and_continued_it_is_the_uninterrupted_run(cases):
    assert curves(cases / "killed") == curves(cases / "alone")
    ours, theirs = (delg.load(cases / run / "model") for run in ("killed", "alone"))
    for a, b in zip(ours.weights, theirs.weights):
        assert np.array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b)), a.path
    other = processes.run(*command(cases, "killed"))
    assert other.returncode == 1 and "backend: 'jax' there" in other.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_rate": 0.5}, "--sample_rate.*KERAS_BACKEND=jax"),
        ({"accumulate": 2}, "--accumulate.*KERAS_BACKEND=jax"),
    ],
)
def test_what_jax_cannot_do_is_refused(tmp_path, records_dir, monkeypatch, settings, message):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(InputError, match=message):
        run(TrainOptions(train_file_pattern=f"{records_dir}/train*", logdir=str(tmp_path / "run"), **settings))
    assert not (tmp_path / "run").exists()


def test_an_absent_jax_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install '\.\[jax\]'"):
        run(TrainOptions(train_file_pattern="records/train*", logdir=str(tmp_path)))


def test_a_run_stays_on_its_backend(tmp_path, records_dir, monkeypatch):
    options, taken = TrainOptions(train_file_pattern=f"{records_dir}/train*", logdir=str(tmp_path / "run")), []
    for backend in ("tensorflow", "jax"):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        taken.append(settings_of(options, open_records(options.train_file_pattern)))
    changed = {name for name in taken[0] if taken[0][name] != taken[1][name]}
    assert changed == {"backend", "source"} and taken[1]["backend"] == "jax"


def test_the_step_needs_no_tensorflow():
    names = "training.backends.jax_step, training.assembly, training.optimizers, scripts.bench.arithmetic"
    done = ran("-c", f"import sys, {names}\nprint('tensorflow' in sys.modules)", KERAS_BACKEND="jax")
    assert done.stdout.strip() == "False", done.stderr

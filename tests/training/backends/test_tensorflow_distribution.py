"""One process, two mirrored devices and two worker processes train alike."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from delg.common.errors import InputError
from tests.processes import ROOT, Started, free_ports
from tests.training.replicas import RUNS
from training.backends.tensorflow_distribution import build_strategy, share_of
from training.input.augment import build_augmentation
from training.input.pipeline import InputConfig, Share, load_cache, training_batches
from training.records.recordset import open_records


def program(choice: str, records_dir: Path, output: Path, **variables: str) -> Started:
    output.mkdir(exist_ok=True)
    arguments = [choice, str(records_dir), str(output)]
    return Started(*arguments, module="tests.training.replicas", cwd=ROOT, CUDA_VISIBLE_DEVICES="", **variables)


def finish(programs: list[Started]) -> None:
    for done in [program.finished() for program in programs]:
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_one_process_two_devices_and_two_workers_train_alike(tmp_path, records_dir):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = [
        program(
            "multi_worker", records_dir, tmp_path / "workers",
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        )
        for index in range(2)
    ]  # fmt: skip
    finish(workers)
    finish(
        [
            program("none", records_dir, tmp_path / "one"),
            program("mirrored(logical_cpus=2)", records_dir, tmp_path / "devices"),
        ]
    )
    for run in RUNS:
        one, devices, both = (np.load(tmp_path / name / f"{run}.npz") for name in ("one", "devices", "workers"))
        assert len(one["losses"]) == 5 and np.ptp(one["losses"]) > 0.5
        for other in (devices, both):
            differences = np.abs(one["losses"] - other["losses"])
            assert differences.max() < 2e-5, (run, differences)
            largest = max(np.abs(one[key] - other[key]).max() for key in one if key != "losses")
            print(f"{run}: losses differ by {differences.max():.2g}, weights by {largest:.2g}")
            assert largest < (1e-5 if run.startswith("float32") else 1e-9), (run, largest)
    first, second, alone = (
        np.load(tmp_path / name)
        for name in ("workers/whitening_0.npy", "workers/whitening_1.npy", "one/whitening_0.npy")
    )
    assert np.array_equal(first, second), "the start that the first process found, in all"
    np.testing.assert_allclose(first, alone, rtol=1e-2, atol=1e-3)
    reasons = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.glob("*/stopped_*.txt")}
    assert sorted(reasons) == ["devices/stopped_0.txt", "workers/stopped_0.txt", "workers/stopped_1.txt"]
    assert all("stopped at step 1: the images is not finite" in text for text in reasons.values()), reasons


@pytest.mark.parametrize("cached", [True, False])
def test_the_shares_of_a_batch_are_together_the_batch(records_dir, cached):
    records = open_records(str(records_dir / "train*"))
    config = InputConfig(8, 32, build_augmentation("crop, flip"), seed=3, threads=2)
    cache = load_cache(records, config) if cached else None

    def take(count: int, share: Share) -> tuple[np.ndarray, np.ndarray]:
        pairs = list(training_batches(records, config, 2, cache, share).take(count).as_numpy_iterator())
        assert all(len(labels) == 8 // share.replicas for _, labels in pairs)
        return np.concatenate([images for images, _ in pairs]), np.concatenate([labels for _, labels in pairs])

    images, labels = take(5, Share())
    parts = [take(10, Share(worker, 2, 4)) for worker in range(2)]  # two replicas in each of two processes
    for number, whole in enumerate((images, labels)):
        halves = [part[number].reshape(5, 4, *whole.shape[1:]) for part in parts]
        assert np.array_equal(np.concatenate(halves, axis=1).reshape(whole.shape), whole)


def test_a_batch_that_the_replicas_do_not_divide_is_refused():
    strategy = SimpleNamespace(num_replicas_in_sync=3, cluster_resolver=None)
    with pytest.raises(InputError, match=r"--batch_size must be a multiple of the 3 replicas\. Received: 8"):
        share_of(strategy, 8)
    assert share_of(strategy, 9) == Share(replicas=3)


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


def test_one_device_is_the_choice_where_there_is_one(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert build_strategy("auto") is build_strategy("none") is tf.distribute.get_strategy()

"""The loop: it learns, reports, validates, saves, and continues where it was stopped."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from delg.common.errors import InputError
from tests.training.tiny import SIZE, step_config, tiny_model
from training.backends.tensorflow_step import compile_validation_step
from training.checkpoints import Checkpoints
from training.diagnosis import NotFiniteError
from training.input.augment import Augmentation
from training.input.pipeline import InputConfig, load_cache, training_batches, validation_batches
from training.optimizers import build_optimizer
from training.progress import Progress, duration
from training.records.recordset import open_records
from training.runs import check_run, finish_run, is_finished, start_run
from training.schedules import build_schedule
from training.trainer import Trainer, TrainerConfig

BATCH = 16


def trainer(
    logdir: Path, max_iters: int, lr: float = 0.003, optimizer: str = "adamw", model=None, **settings
) -> Trainer:
    config = TrainerConfig(
        max_iters=max_iters, step=step_config(BATCH), **{"save_interval": 10_000, "save_seconds": 1e9, **settings}
    )
    lines: list[str] = []
    made = Trainer(
        model or tiny_model(),
        build_optimizer(optimizer),
        build_schedule("linear", lr, max_iters),
        config,
        logdir,
        log=lines.append,
    )
    made.lines = lines
    return made


@pytest.fixture(scope="module")
def batches(records_dir):
    records = open_records(str(records_dir / "train*"))
    config = InputConfig(batch_size=BATCH, image_size=SIZE, augmentation=Augmentation(), threads=2)
    cache = load_cache(records, config)
    return lambda step: training_batches(records, config, step, cache)


def scalars(logdir: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted((logdir / "train_logs").glob("*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                tensor = tf.make_ndarray(value.tensor)
                number = float(tensor) if tensor.shape == () else len(tensor) - 2  # images: width, height, pictures
                found.setdefault(value.tag, []).append((event.step, number))
    return found


def training_images(records_dir: Path):
    config = InputConfig(batch_size=99, image_size=SIZE, augmentation=Augmentation(), threads=2)
    return next(iter(validation_batches(open_records(str(records_dir / "train*")), config, 1)))


def test_it_overfits_eight_classes_reports_and_validates(tmp_path, batches, records_dir):
    asked = []

    def evaluate(model) -> dict[str, float]:
        asked.append(model)
        return {"mAP": 12.5}

    model = tiny_model(backbone="resnet_small(depths=(1, 1, 1, 1), widths=(8, 16, 24, 32))")
    run = trainer(tmp_path, 90, model=model, report_interval=30, eval_interval=45)
    run.evaluate = evaluate
    config = InputConfig(batch_size=5, image_size=SIZE, augmentation=Augmentation(), threads=2)
    run.fit(batches, validation_batches(open_records(str(records_dir / "validation*")), config, 99))
    found = scalars(tmp_path)
    last, accuracy = found["train_accuracy/desc"][-1]  # the mean over the last 30 steps, with the margin
    assert last == 90 and accuracy >= 0.95
    assert [step for step, _ in found["loss/total"]] == [30, 60, 90]
    assert found["loss/desc/crossentropy"][-1][1] < 0.3 * found["loss/desc/crossentropy"][0][1]
    assert [step for step, _ in found["validation/desc"]] == [45, 90]
    assert found["validation/desc"][-1][1] >= 0.5
    assert found["retrieval/mAP"] == [(45, 12.5), (90, 12.5)] and asked == [run.model] * 2
    assert found["learning_rate"][0][1] == pytest.approx(0.003 * (1 - 29 / 90))
    assert found["desc/scale_factor"][0][1] == 16.0
    assert found["image_range/max"][0][1] <= 1 and found["image_range/min"][0][1] >= -1
    assert {
        "batch_images", "batch_attention", "image_range/max", "image_range/min", "attention/max", "attention/min",
        "attention/mean", "attention/percent_25", "attention/percent_50", "attention/percent_75", "sparsity/block0",
        "sparsity/block1", "sparsity/block2", "sparsity/block3", "sparsity/block4", "desc/scale_factor",
        "learning_rate", "loss/desc/crossentropy", "loss/attn/crossentropy", "loss/recon/mse", "train_accuracy/desc",
        "train_accuracy/attn", "validation/desc", "validation/attn", "global_steps_per_sec",
    } <= set(found)  # fmt: skip
    assert sum("of 8 images" in line for line in run.lines) == 2
    assert sum(line.startswith("step ") for line in run.lines) >= 3
    assert run.checkpoints.latest.endswith("ckpt-90")
    images, labels = training_images(records_dir)
    assert len(labels) == 32
    right = np.asarray(compile_validation_step(run.model, SIZE)(images, labels))
    assert right[0].tolist() == [32, 32], "every training image"


def test_a_stopped_run_ends_like_an_uninterrupted_one(tmp_path, batches):
    rule = "sgd(momentum=0.9)"  # Adam would make much of the order in which threads add
    whole = trainer(tmp_path / "whole", 8, optimizer=rule)
    assert whole.restore() == 0
    whole.fit(batches)

    def broken(step: int):
        return itertools.islice(batches(step), 5)

    first = trainer(tmp_path / "parts", 8, optimizer=rule, save_interval=3)
    with pytest.raises(StopIteration):
        first.fit(broken)
    second = trainer(tmp_path / "parts", 8, optimizer=rule)
    assert second.restore() == 3
    second.fit(batches, start=3)
    assert int(second.optimizer.iterations) == 8
    (_, mean), (_, expected) = (scalars(tmp_path / name)["loss/total"][-1] for name in ("parts", "whole"))
    assert mean == pytest.approx(expected, rel=1e-5), "the report is of all steps since the last one"
    for ours, theirs in zip(second.model.weights, whole.model.weights):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), rtol=1e-4, atol=1e-5)


def test_nan_stops_the_run_and_names_the_tensor(tmp_path, batches):
    run = trainer(tmp_path, 5)
    run.model.attention_classifier.bias.assign(np.full(8, np.nan, np.float32))
    with pytest.raises(NotFiniteError, match=r"step 1: the weight att_fc/bias is not finite .*--initial_lr"):
        run.fit(batches)


def test_broken_records_end_in_one_sentence(tmp_path):
    def batches(step: int):
        def fail(_):
            with tf.control_dependencies([tf.debugging.Assert(False, ["Label out of range: 9 of 8 classes."])]):
                return tf.zeros((BATCH, SIZE, SIZE, 3)), tf.zeros((BATCH,), tf.int64)

        return tf.data.Dataset.range(3).map(fail)

    with pytest.raises(InputError, match=r"^Label out of range: 9 of 8 classes\.$"):
        trainer(tmp_path, 5).fit(batches)


def test_a_shard_that_broke_on_the_way_ends_in_one_sentence(tmp_path, broken_dir):
    config = InputConfig(batch_size=BATCH, image_size=SIZE, augmentation=Augmentation(), threads=2)
    streamed = training_batches(open_records(str(broken_dir / "train*")), config)
    with pytest.raises(InputError, match=r"^A training record cannot be read: corrupted record at \d+\."):
        trainer(tmp_path, 5).fit(lambda step: streamed)


def checkpoints(folder: Path, model, **settings) -> Checkpoints:
    optimizer = build_optimizer("sgd")
    optimizer.build(model.trainable_variables)
    return Checkpoints(folder, model, optimizer, **{"save_interval": 10, "save_seconds": 1e9, **settings})


def test_checkpoints_are_due_by_steps_and_by_time(tmp_path):
    model = tiny_model()
    by_steps = checkpoints(tmp_path / "steps", model)
    for step in range(1, 31):
        by_steps.save_if_due(step)
    assert sorted(p.name for p in (tmp_path / "steps").glob("*.index")) == [f"ckpt-{i}.index" for i in (10, 20, 30)]
    by_time = checkpoints(tmp_path / "time", model, save_seconds=0.0, save_interval=1000)
    by_time.save_if_due(1)
    assert by_time.latest.endswith("ckpt-1")
    by_time.cost = 1e6
    by_time.save_if_due(2)
    assert by_time.latest.endswith("ckpt-1")


def test_half_written_checkpoints_do_not_count(tmp_path):
    model = tiny_model()
    saved = checkpoints(tmp_path, model)
    weight = model.weights[0]
    weight.assign(np.full(weight.shape, 0.25))
    saved.save(7)
    (tmp_path / "ckpt-9.index").write_bytes(b"half")
    (tmp_path / "ckpt-9_temp").mkdir()
    weight.assign(np.zeros(weight.shape))
    again = checkpoints(tmp_path, model)
    assert again.restore() == 7
    assert (ops.convert_to_numpy(weight) == 0.25).all()
    assert not (tmp_path / "ckpt-9_temp").exists()


def test_checkpoints_of_another_model_or_broken_ones_are_refused(tmp_path):
    checkpoints(tmp_path, tiny_model()).save(7)
    with pytest.raises(InputError, match=r"ckpt-7 cannot be restored"):
        checkpoints(tmp_path, tiny_model(embedding_dim=24)).restore()
    with pytest.raises(InputError, match=r"ckpt-7 cannot be restored"):
        checkpoints(tmp_path, tiny_model(local_dim=None)).restore()
    (tmp_path / "ckpt-7.index").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"ckpt-7 cannot be restored"):
        checkpoints(tmp_path, tiny_model()).restore()


def test_progress_line():
    now = [0.0]
    progress = Progress(max_iters=1000, batch_size=8, clock=lambda: now[0])
    now[0] = 30.0  # tracing
    progress.add(np.array([9.0, 4.0, 3.0, 0.2, 0.0, 0.0, 1.0]))
    for _ in range(4):
        now[0] += 0.5
        progress.add(np.array([4.0, 2.0, 1.0, 0.1, 0.5, 0.25, 1.0]))
    means, speed = progress.means()
    assert speed == 2.0 and means["loss"] == pytest.approx(5.0) and means["desc_accuracy"] == pytest.approx(0.4)
    assert progress.silence == 32.0
    assert progress.line(5) == (
        "step 5/1000  loss 5.0000 (desc 2.4000, attn 1.4000, recon 0.1200)  accuracy 40.0 %  16.0 images/s  8:18 left"
    )
    assert progress.silence == 0.0
    progress.restart()
    assert "unknown left" in progress.line(5)


def test_durations():
    assert [duration(s) for s in (0, 59.2, 61, 3599, 3600, 86_400)] == [
        "0:00", "1:00", "1:01", "59:59", "1:00:00", "24:00:00",
    ]  # fmt: skip


def test_a_folder_remembers_its_run(tmp_path):
    settings = {"initial_lr": 0.1, "model": {"local_dim": None}}
    check_run(tmp_path / "run", settings)
    start_run(tmp_path / "run", settings, 1)
    check_run(tmp_path / "run", settings | {"initial_lr": 0.2})  # nothing was trained yet
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "checkpoint").touch()
    check_run(tmp_path / "run", settings)
    with pytest.raises(InputError, match=r"initial_lr: 0.1 there, 0.2 now\); choose another --logdir"):
        check_run(tmp_path / "run", settings | {"initial_lr": 0.2})
    with pytest.raises(InputError, match="seed: None there, 1 now"):
        check_run(tmp_path / "run", settings | {"seed": 1})
    model = tmp_path / "model"
    assert not is_finished(tmp_path / "run", model)
    model.mkdir()
    (model / "model.weights.h5").write_bytes(b"weights")
    finish_run(tmp_path / "run", 5, model)
    assert not is_finished(tmp_path / "run", model), "the configuration, written last, is missing"
    (model / "config.json").touch()
    assert is_finished(tmp_path / "run", model)
    assert not is_finished(tmp_path / "run", tmp_path / "other")
    (model / "model.weights.h5").write_bytes(b"another run's")
    assert not is_finished(tmp_path / "run", model)

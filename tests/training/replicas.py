"""A few steps on one device, on two mirrored ones, or as one of two workers; run as a program by the tests.

python -m tests.training.replicas CHOICE RECORDS OUTPUT, CHOICE as of --distribute: none, mirrored(logical_cpus=2), ...
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf
from keras import ops

import delg
from tests.training.tiny import OVERRIDES, SIZE, step_config, tiny_model
from training import assembly
from training.averaging import AverageConfig
from training.backends.tensorflow_distribution import build_strategy, share_of
from training.computation import forward
from training.diagnosis import NotFiniteError
from training.input.augment import Augmentation
from training.input.pipeline import Cache, InputConfig, load_cache, training_batches
from training.optimizers import build_optimizer
from training.options import TrainOptions
from training.records.recordset import RecordSet, open_records
from training.schedules import build_schedule
from training.trainer import Trainer, TrainerConfig

BATCH, STEPS = 8, 5


def losses(logdir: Path) -> list[float]:
    """The total loss of every step."""
    found = {}
    for file in (logdir / "train_logs").glob("*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag == "loss/total":
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    return [found[step] for step in sorted(found)]


RUNS = {"float32_own": None, "float64_sampled": 10}  # classes that a step trains


@cache
def photos(records_dir: str) -> tuple[RecordSet, InputConfig, Cache]:
    """The records, and what is drawn of them."""
    records, config = open_records(f"{records_dir}/train*"), InputConfig(BATCH, SIZE, Augmentation(), threads=1)
    return records, config, load_cache(records, config)


def train(strategy, records_dir: str, output: Path, name: str) -> Trainer:
    """Trains and writes ``{name}.npz`` with the losses and the weights; returns what trained.

    With ``own`` in its name every replica has the batch statistics of its own half; one device then takes the halves
    one after the other.
    """
    floatx, sampled, own = name.partition("_")[0], RUNS[name], name.endswith("own")
    (records, config, cache), share = photos(records_dir), share_of(strategy, BATCH)
    with strategy.scope():
        model = tiny_model(dtype=floatx) if sampled is None else _many_classes(floatx)
        optimizer = build_optimizer("sgd(momentum=0.9, weight_decay=1e-4)")
    settings = TrainerConfig(
        STEPS,
        step_config(BATCH, clip_norm=1.0, accumulate=2 // share.replicas if own else 1),
        report_interval=1,
        save_seconds=1e6,
        sync_batch_norm=not own,
        sampled_classes=sampled,
        average=AverageConfig(0.5),
    )
    schedule = build_schedule("linear", 0.005, STEPS)
    trainer = Trainer(model, optimizer, schedule, settings, output / name, strategy=strategy)
    step = trainer.train_step
    moving = first_half_statistics(trainer) if own and share.replicas == 1 else {}
    trainer.fit(lambda step: training_batches(records, config, step, cache, share))
    trainer.train_step = step
    if trainer.is_chief:
        for path, value in moving.items():
            next(v for v in model.weights if v.path == path).assign(value)
        weights = {f"{i}": np.array(ops.convert_to_numpy(v)) for i, v in enumerate(model.weights)}
        with trainer.averaged():
            weights |= {f"average {i}": np.array(ops.convert_to_numpy(v)) for i, v in enumerate(model.weights)}
        assert all(value.dtype == floatx for value in weights.values())
        np.savez(output / f"{name}.npz", losses=losses(output / name), **weights)
    return trainer


def first_half_statistics(trainer: Trainer) -> dict[str, np.ndarray]:
    """The moving statistics by path, kept up to date while it trains: those of the first half of every batch."""
    model, inner = trainer.model, trainer.train_step
    variables = [v for v in model.weights if "moving" in v.path]
    kept = {v.path: np.array(v) for v in variables}

    def step(images, labels, *arguments, **settings):
        before = [np.array(v) for v in variables]
        for v in variables:
            v.assign(kept[v.path])
        forward(model, images[: BATCH // 2], training=True)
        for v, value in zip(variables, before):
            kept[v.path] = np.array(v)
            v.assign(value)
        return inner(images, labels, *arguments, **settings)

    trainer.train_step = step
    return kept


def _many_classes(dtype: str) -> "delg.Delg":
    """Twenty classes, of which the records have eight, so that a sample is less than all."""
    chosen = {"sampled_classifier": True, "classifier": "curricularface", "dtype": dtype}
    return delg.create("delg_small", num_classes=20, seed=0, **OVERRIDES | chosen)


def stop(trainer: Trainer, output: Path) -> None:
    """Trains on images of which the last replica's alone are not finite; writes what each process says to it."""
    share = share_of(trainer.strategy, BATCH)
    shape = (share.replicas // share.workers, BATCH // share.replicas)
    images = np.random.default_rng(0).uniform(0, 255, (*shape, SIZE, SIZE, 3)).astype(np.float32)
    if share.worker == share.workers - 1:
        images[-1] = np.nan
    parts = tf.data.Dataset.from_tensor_slices((images, np.zeros(shape, np.int64)))
    try:
        trainer.fit(lambda start: parts)
    except NotFiniteError as error:
        (output / f"stopped_{share.worker}.txt").write_text(str(error))


def whiten(strategy, records_dir: str, output: Path) -> None:
    """Starts from a PCA; each process would find another one, as if its machine rounded in its own way."""
    (records, config, cache), share = photos(records_dir), share_of(strategy, BATCH)
    with strategy.scope():
        model = tiny_model()
    options = TrainOptions(whitening_init="pca", batch_size=BATCH, seed=share.worker)
    assembly.WHITENING_IMAGES = 64
    assembly.start_weights(options, model, training_batches(records, config, cache=cache), strategy)
    np.save(output / f"whitening_{share.worker}.npy", np.array(model.embedding_layer.kernel))


def main() -> None:
    choice, records_dir, output = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    strategy = build_strategy(choice)
    trainers = [train(strategy, records_dir, output, name) for name in RUNS]
    if choice != "none":  # one device: test_trainer.py
        stop(trainers[0], output)
    whiten(strategy, records_dir, output)


if __name__ == "__main__":
    main()

"""A few steps on one device, on two mirrored ones, or as one of two workers; run as a program by the tests.

python -m tests.training.replicas one|mirrored|worker RECORDS OUTPUT [none|mirrored|multi_worker choice]
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import delg
from tests.training.tiny import OVERRIDES, SIZE, step_config, tiny_model
from training.augment import Augmentation
from training.averaging import AverageConfig
from training.distribution import build_strategy, share_of
from training.optimizers import build_optimizer
from training.pipeline import InputConfig, load_cache, training_batches
from training.recordset import open_records
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


RUNS = {"float32": None, "float64": None, "float64_sampled": 10}  # classes of the head that a step trains


def train(strategy, records_dir: str, output: Path, name: str) -> None:
    """Trains and writes ``{name}.npz`` with the losses and the weights."""
    floatx, sampled = name.partition("_")[0], RUNS[name]
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(floatx)
    records = open_records(f"{records_dir}/train*")
    config = InputConfig(BATCH, SIZE, Augmentation(), threads=1)
    cache, share = load_cache(records, config), share_of(strategy, BATCH)
    with strategy.scope():
        model = tiny_model() if sampled is None else _many_classes()
        optimizer = build_optimizer("sgd(momentum=0.9, weight_decay=1e-4)")
    settings = TrainerConfig(
        STEPS,
        step_config(BATCH, clip_norm=1.0),
        report_interval=1,
        save_seconds=1e6,
        sync_batch_norm=True,
        sampled_classes=sampled,
        average=AverageConfig(0.5),
    )
    schedule = build_schedule("linear", 0.005, STEPS)
    trainer = Trainer(model, optimizer, schedule, settings, output / name, strategy=strategy)
    trainer.fit(lambda step: training_batches(records, config, step, cache, share))
    if trainer.is_chief:
        weights = {f"{i}": np.array(ops.convert_to_numpy(v)) for i, v in enumerate(model.weights)}
        with trainer.averaged():
            weights |= {f"average {i}": np.array(ops.convert_to_numpy(v)) for i, v in enumerate(model.weights)}
        assert all(value.dtype == floatx for value in weights.values())
        np.savez(output / f"{name}.npz", losses=losses(output / name), **weights)


def _many_classes() -> "delg.Delg":
    """Twenty classes, of which the records have eight, so that a sample is less than all."""
    chosen = {"sampled_classifier": True, "classifier": "curricularface"}
    return delg.from_preset("delg_small", num_classes=20, seed=0, **OVERRIDES | chosen)


def main() -> None:
    choice, records_dir, output = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    strategy = build_strategy(choice)
    for name in RUNS:
        train(strategy, records_dir, output, name)


if __name__ == "__main__":
    main()

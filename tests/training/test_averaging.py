"""The moving average of the weights: its decay, and its part in training, checkpoints, validation and the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import delg
from delg.common.errors import InputError
from tests.training.tiny import OVERRIDES, SIZE, step_config, tiny_model
from training.averaging import AverageConfig, MovingAverage
from training.backends.tensorflow_step import TrainStep
from training.input.augment import Augmentation
from training.input.pipeline import InputConfig, load_cache, training_batches
from training.job import run
from training.optimizers import build_optimizer
from training.options import TrainOptions
from training.records.recordset import open_records
from training.schedules import build_schedule
from training.trainer import Trainer, TrainerConfig

BATCH = 16
pytestmark = pytest.mark.filterwarnings("ignore:Even though the")  # eager mode does not reach the input pipeline


def decays(config: AverageConfig, count: int = 5) -> list[float]:
    return [float(config.at(tf.constant(step, tf.int64))) for step in range(count)]


def test_decays():
    assert decays(AverageConfig(0.5)) == [0.5] * 5
    assert decays(AverageConfig(0.5, start_step=2)) == [0.0, 0.0, 0.5, 0.5, 0.5]
    assert decays(AverageConfig(0.25, dynamic=True)) == pytest.approx([1 / 10, 2 / 11, 0.25, 0.25, 0.25])
    assert decays(AverageConfig(0.9, 3, dynamic=True)) == pytest.approx([0, 0, 0, 1 / 10, 2 / 11])
    assert decays(AverageConfig(0.9, num_updates=2), 1) == pytest.approx([3 / 12])
    assert decays(AverageConfig(0.1, num_updates=2), 1) == pytest.approx([0.1])


@pytest.mark.parametrize("settings", [{"decay": 1.0}, {"decay": -0.1}, {"decay": float("nan")}, {"start_step": -1}])
def test_averages_that_are_refused(settings):
    with pytest.raises(InputError, match="moving average"):
        AverageConfig(**settings)


def test_an_average_by_hand():
    weight = keras.Variable([4.0, -2.0])
    average = MovingAverage([weight], AverageConfig(0.75))
    weight.assign([8.0, 2.0])
    average.update(tf.constant(0))  # 0.75 * 4 + 0.25 * 8
    assert average.averages[0].numpy().tolist() == [5.0, -1.0]
    with average.applied():
        assert ops.convert_to_numpy(weight).tolist() == [5.0, -1.0]
        assert average.averages[0].numpy().tolist() == [5.0, -1.0]
    assert ops.convert_to_numpy(weight).tolist() == [8.0, 2.0]
    with pytest.raises(RuntimeError), average.applied():
        raise RuntimeError
    assert ops.convert_to_numpy(weight).tolist() == [8.0, 2.0]
    average.reset()
    assert average.averages[0].numpy().tolist() == [8.0, 2.0]


def trainer(logdir, max_iters: int, average: AverageConfig | None, **settings) -> Trainer:
    config = TrainerConfig(max_iters, step_config(BATCH), average=average, save_seconds=1e9, **settings)
    schedule = build_schedule("linear", 0.003, max_iters)
    return Trainer(tiny_model(), build_optimizer("sgd(momentum=0.9)"), schedule, config, logdir, log=lambda line: None)


@pytest.fixture(scope="module")
def batches(records_dir):
    records = open_records(str(records_dir / "train*"))
    config = InputConfig(batch_size=BATCH, image_size=SIZE, augmentation=Augmentation(), threads=2)
    cache = load_cache(records, config)
    return lambda step: training_batches(records, config, step, cache)


def weights(model) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(weight)) for weight in model.trainable_variables]


def averaged(made: Trainer) -> list[np.ndarray]:
    with made.averaged():
        return weights(made.model)


def test_the_first_step_counts_as_step_zero(tmp_path, batches, eager):
    made = trainer(tmp_path, 3, AverageConfig(0.5, start_step=1))
    step = TrainStep(made.model, made.optimizer, step_config(BATCH), made.average)
    images, labels = next(iter(batches(0)))
    step(images, labels, 0.01)
    first = weights(made.model)
    assert all(np.array_equal(a, b) for a, b in zip(averaged(made), first))
    step(images, labels, 0.01)
    for average, before, now in zip(averaged(made), first, weights(made.model)):
        np.testing.assert_allclose(average, 0.5 * before + 0.5 * now, rtol=1e-5, atol=1e-6)


def test_a_resumed_run_has_the_same_average(tmp_path, batches, eager):
    config = AverageConfig(0.8, start_step=1, dynamic=True)
    whole = trainer(tmp_path / "whole", 4, config, save_interval=2)
    seen = []
    whole.evaluate = lambda model: seen.append(weights(model)) or {}
    whole.fit(batches)
    assert all(np.array_equal(a, b) for a, b in zip(seen[-1], averaged(whole)))  # validation sees the average
    assert any(not np.allclose(a, b, atol=1e-4) for a, b in zip(weights(whole.model), averaged(whole)))

    half = tf.train.load_checkpoint(str(tmp_path / "whole" / "checkpoints" / "ckpt-2"))
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "whole" / "checkpoints" / "ckpt-2"))]
    kept = [name for name in names if name.startswith("average/averages/")]
    assert len(kept) == len(whole.model.trainable_variables)
    (tmp_path / "whole" / "checkpoints" / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\n')
    again = trainer(tmp_path / "whole", 4, config)
    assert again.restore() == 2
    np.testing.assert_array_equal(
        again.average.averages[0].numpy(), half.get_tensor("average/averages/0/.ATTRIBUTES/VARIABLE_VALUE")
    )
    again.fit(batches, start=2)
    for ours, theirs in zip(averaged(again), averaged(whole)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_run_without_an_average_cannot_go_on_with_one(tmp_path):
    plain = trainer(tmp_path, 2, None)
    with plain.averaged():
        plain.checkpoints.save(2)
    with pytest.raises(InputError, match="ckpt-2 cannot be restored"):
        trainer(tmp_path, 3, AverageConfig()).restore()


def test_the_model_that_is_written_is_the_average(tmp_path, records_dir, tiny_start, monkeypatch):
    kept = []
    build = Trainer.__post_init__
    monkeypatch.setattr(Trainer, "__post_init__", lambda self: (kept.append(self), build(self))[1])
    options = TrainOptions(
        train_file_pattern=f"{records_dir}/train*", logdir=str(tmp_path / "run"), init_model=str(tiny_start),
        image_size=32, batch_size=8, max_iters=3, moving_average_decay=0.9, initial_lr=0.05,
        global_loss="contrastive(margin=0.5)", clip_norm=1.0,
    )  # fmt: skip
    run(options)
    written = delg.load(tmp_path / "run" / "model")
    assert all(np.array_equal(a, b) for a, b in zip(weights(written), averaged(kept[0])))
    assert any(not np.allclose(a, b, atol=1e-4) for a, b in zip(weights(written), weights(kept[0].model)))


def test_of_sampled_classifiers_the_class_vectors_are_averaged_too(tmp_path, batches, eager):
    config = TrainerConfig(3, step_config(BATCH), average=AverageConfig(0.8), sampled_classes=BATCH, save_seconds=1e9)

    def made() -> Trainer:
        model = delg.create("delg_small", num_classes=40, seed=0, **OVERRIDES | {"sampled_classifier": True})
        schedule = build_schedule("linear", 0.05, 3)
        return Trainer(model, build_optimizer("sgd"), schedule, config, tmp_path, log=lambda line: None)

    def tables(model) -> list[np.ndarray]:
        return [np.array(v) for v in (model.classifier.class_vectors, *model.attention_classifier.weights)]

    seen, run = [], made()
    run.evaluate = lambda model: seen.append(tables(model)) or {}
    run.fit(batches)
    assert all(not np.allclose(a, b, atol=1e-4) for a, b in zip(seen[-1], tables(run.model), strict=True))
    again = made()
    assert again.restore() == 3
    with again.averaged():
        assert all(np.array_equal(a, b) for a, b in zip(tables(again.model), seen[-1]))
    assert all(np.array_equal(a, b) for a, b in zip(tables(again.model), tables(run.model)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"moving_average_decay": 1.0}, "moving average must be 0 or more and below 1"),
        ({"moving_average_start": 5}, "need --moving_average_decay"),
        ({"moving_average_dynamic": True}, "need --moving_average_decay"),
        ({"global_loss": "arc"}, "Unknown global loss 'arc'"),
        ({"global_loss": "math:cos"}, "must accept two arguments"),
        ({"global_loss": "math:pow"}, "global loss math:pow failed on labels"),
    ],
)
def test_options_that_are_refused(tmp_path, records_dir, settings, message):
    given = {"preset": "delg_small", "image_size": 32, "batch_size": 8, "max_iters": 3, **settings}
    with pytest.raises(InputError, match=message):
        run(TrainOptions(train_file_pattern=f"{records_dir}/train*", logdir=str(tmp_path / "run"), **given))
    assert not (tmp_path / "run" / "settings.json").exists()

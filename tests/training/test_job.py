"""``delg-records`` and ``delg-train`` as a user meets them: checks, a whole run, a kill, a second start."""

import hashlib
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras import ops

import delg
from delg.common.errors import InputError
from delg.common.sources import clear_caches, source_files
from tests import processes
from tests.training.pictures import write_folders
from tests.training.tiny import tiny_model
from training.assembly import check_model
from training.job import COMPUTING, augmentation_text, model_overrides, run, settings_of
from training.options import TrainOptions
from training.pretrained import load_imagenet
from training.records.recordset import open_records
from training.runs import check_run, finish_run, is_finished, last_replicas, start_run
from training.trainer import Trainer

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "delg", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


def finished(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, check=False)


def options(records_dir: Path, logdir: Path, **settings) -> TrainOptions:
    defaults = {"preset": "delg_small", "image_size": 32, "batch_size": 8, "max_iters": 3}
    return TrainOptions(train_file_pattern=f"{records_dir}/train*", logdir=str(logdir), **defaults | settings)


def test_released_defaults():
    default = TrainOptions()
    assert default.initial_lr == 0.01 and default.batch_size == 32 and default.max_iters == 500_000
    assert default.optimizer == "sgd(momentum=0.9)" and default.schedule == "linear" and default.clip_norm == 10.0
    assert default.attention_loss_weight == 1.0 and default.reconstruction_loss_weight == 10.0
    assert default.image_size == 321 and default.use_augmentation and default.use_autoencoder and default.seed == 0
    assert default.train_file_pattern is default.logdir is default.validation_file_pattern is None
    assert augmentation_text(default) == "crop"
    released = model_overrides(default)
    assert released == {"block3_strides": True}


def test_flags_overrule_the_preset():
    given = TrainOptions(
        block3_strides=False,
        delg_gem_power=4.5,
        delg_embedding_layer_dim=100,
        delg_scale_factor_init=30.0,
        delg_arcface_margin=0.2,
        autoencoder_dimensions=40,
    )
    expected = {
        "block3_strides": False,
        "pooling": "gem(p=4.5)",
        "embedding_dim": 100,
        "arcface_scale": 30.0,
        "arcface_margin": 0.2,
        "local_dim": 40,
    }
    assert model_overrides(given) == expected
    assert model_overrides(replace(given, use_autoencoder=False)) == expected | {"local_dim": None}
    assert augmentation_text(TrainOptions(use_augmentation=False)) == ""
    assert augmentation_text(TrainOptions(augment="crop, flip")) == "crop, flip"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_file_pattern": None}, "--train_file_pattern is required"),
        ({"logdir": None}, "--logdir is required"),
        ({"train_file_pattern": "nothing*"}, "No file matches"),
        ({"validation_file_pattern": "nothing*"}, "No file matches"),
        ({"dataset_version": "gld_v2_clean"}, "gld_v2_clean has 81313 classes, and the records have 8"),
        ({"delg_global_features": False}, "not supported"),
        ({"classifier": "sphereface"}, "Unknown classifier"),
        ({"sample_rate": 0.5, "optimizer": "adamw"}, "--sample_rate needs --optimizer=sgd"),
        ({"sample_rate": 0.5, "global_loss": "npairs"}, "--sample_rate.*--global_loss=npairs"),
        ({"distribute": "horovod"}, "Unknown distribution"),
        ({"preset": "delg_r18"}, "Unknown preset 'delg_r18'"),
        ({"augment": "crop", "use_augmentation": False}, "--augment.*--use_augmentation=false"),
        ({"augment": "mirror"}, "Unknown augmentation"),
        ({"optimizer": "adam"}, "Unknown optimizer"),
        ({"schedule": "linear(warmup=3)"}, "from 0 to below 3"),
        ({"imagenet_checkpoint": "nothing.h5"}, "ImageNet weights nothing.h5 do not exist"),
        ({"local_feature_map_channels": 1024}, r"has \d+ channels"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, records_dir, settings, message):
    given = replace(options(records_dir, tmp_path / "run"), **settings)
    with pytest.raises(InputError, match=message):
        run(given)
    assert not (tmp_path / "run" / "settings.json").exists()


def test_a_run_is_known_by_its_settings_even_when_only_its_end_is_left(tmp_path):
    check_run(tmp_path, {"seed": 0})
    start_run(tmp_path, {"seed": 0}, 1)
    check_run(tmp_path, {"seed": 1})
    (tmp_path / "done.json").write_text("{}")
    check_run(tmp_path, {"seed": 0})
    with pytest.raises(InputError, match="seed: 0 there, 1 now"):
        check_run(tmp_path, {"seed": 1})
    (tmp_path / "done.json").unlink()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint").write_text("")
    with pytest.raises(InputError, match="seed: 0 there, 1 now"):
        check_run(tmp_path, {"seed": 1})


def test_a_run_takes_no_other_run_s_weights_for_its_own(tmp_path):
    first, second, model = tmp_path / "first", tmp_path / "second", tmp_path / "model"
    for folder in (first, second, model):
        folder.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.weights.h5").write_bytes(b"first")
    finish_run(first, 3, model)
    assert is_finished(first, model) and not is_finished(second, model) and not is_finished(first, second)
    (model / "model.weights.h5").write_bytes(b"other")
    finish_run(second, 3, model)
    assert is_finished(second, model) and not is_finished(first, model)
    (model / "model.weights.h5").unlink()
    assert not is_finished(second, model)


OTHERS = {str: "other", int: 7, float: 0.7, type(None): 5}
OTHER_VALUES = {
    "augment": "crop, flip", "classifier": "adacos", "global_loss": "npairs", "local_head": "delg_pytorch",
    "preset": "delg_r101", "whitening_init": "pca",
}  # fmt: skip


@pytest.fixture(scope="module")
def records(records_dir):
    return open_records(f"{records_dir}/train*")


@pytest.mark.parametrize("field", fields(TrainOptions), ids=lambda field: field.name)
def test_every_option_changes_the_settings_of_a_run_or_is_irrelevant(field, records):
    default = TrainOptions()
    value = getattr(default, field.name)
    other = not value if isinstance(value, bool) else OTHER_VALUES.get(field.name, OTHERS[type(value)])
    given = replace(default, **{field.name: other})
    irrelevant = field.metadata["irrelevant"]
    if irrelevant and field.name in ("init_model", "imagenet_checkpoint"):
        return  # whose files count, see below
    assert (settings_of(given, records) == settings_of(default, records)) == irrelevant


def test_the_files_that_options_name_count_and_not_their_places(tmp_path, records):
    for name in ("one.h5", "same.h5", "other.h5"):
        (tmp_path / name).write_bytes(b"other" if name == "other.h5" else b"weights")
    one, same, other, none = (
        settings_of(TrainOptions(imagenet_checkpoint=path and str(tmp_path / path)), records)
        for path in ("one.h5", "same.h5", "other.h5", None)
    )
    assert one == same and one["imagenet_checkpoint"] == hashlib.sha256(b"weights").hexdigest()
    assert [key for key in one if one[key] != other[key]] == ["imagenet_checkpoint"]
    assert none["imagenet_checkpoint"] is None
    delg.save(tiny_model(), tmp_path / "start")
    given = TrainOptions(init_model=str(tmp_path / "start"))
    first = settings_of(given, records)
    config = tmp_path / "start" / "config.json"
    config.write_text(config.read_text().replace("  ", " "))
    assert settings_of(given, records) == first
    config.write_text(config.read_text().replace('"arcface_scale": 16.0', '"arcface_scale": 17.0'))
    changed = settings_of(given, records)
    assert [key for key in first if first[key] != changed[key]] == ["init_model_config"]


def test_the_code_of_plug_ins_and_of_the_training_step_counts(tmp_path, records, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plug_in = tmp_path / "schedule_of_mine.py"
    plug_in.write_text("def flat(initial_lr, max_iters):\n    return lambda step: initial_lr\n")
    own = TrainOptions(schedule="schedule_of_mine:flat")
    source = settings_of(own, records)["source"]
    assert source != settings_of(TrainOptions(), records)["source"]
    plug_in.write_text(plug_in.read_text() + "# changed\n")
    clear_caches()
    assert settings_of(own, records)["source"] != source
    files = source_files(*COMPUTING, "training.backends.tensorflow_engine")
    for part in ("training.losses.delg", "training.input.augment", "training.optimizers", "delg.backbones.resnet"):
        assert part in files


def test_a_run_that_goes_on_with_other_devices_says_so(tmp_path, records_dir, tiny_start, capsys, monkeypatch):
    assert last_replicas(tmp_path) is None
    start_run(tmp_path, {"seed": 0}, 4)
    (tmp_path / "done.json").write_text("{}")
    check_run(tmp_path, {"seed": 0})
    assert last_replicas(tmp_path) == 4

    monkeypatch.setattr(Trainer, "fit", lambda self, batches, validation, start: self.checkpoints.save(start + 1))
    given = options(
        records_dir, tmp_path / "run", max_iters=2, preset=TrainOptions().preset, init_model=str(tiny_start)
    )
    run(given)
    (tmp_path / "run" / "done.json").unlink()
    settings = tmp_path / "run" / "settings.json"
    assert last_replicas(tmp_path / "run") == 1
    settings.write_text(settings.read_text().replace('"replicas": 1', '"replicas": 2'))
    capsys.readouterr()
    run(given)
    assert (
        "continuing from step 1; note: on 2 devices before and 1 now, the steps will not have the bits of an "
        "uninterrupted run, and batch statistics, 4 images before and 8 images now, differ without --sync_batch_norm"
    ) in capsys.readouterr().out
    assert last_replicas(tmp_path / "run") == 1


def test_another_backend_is_refused():
    done = subprocess.run(
        command("train", "--train_file_pattern=x", "--logdir=y"),
        env=environment() | {"KERAS_BACKEND": "torch"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.strip() == (
        "delg-train: Training needs the TensorFlow or the JAX backend of Keras, not 'torch'; set "
        "KERAS_BACKEND=tensorflow."
    )


def test_the_input_pipeline_is_measured_alone(records_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "training.input.pipeline.measure_input", lambda dataset, size: float(len(next(iter(dataset))[1]))
    )
    run(replace(options(records_dir, tmp_path), logdir=None, benchmark_input=True))
    assert "input pipeline alone: 8 images/s (cached, 32 px)" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_images_must_not_be_smaller_than_the_model_s_least(records_dir):
    model = delg.create("delg_small", pooling="regional_gem(window=7), gem")  # four cells at stride 16
    with pytest.raises(InputError, match=r"--image_size must be at least 49"):
        check_model(options(records_dir, Path("x")), model)
    check_model(options(records_dir, Path("x"), image_size=49, local_feature_map_channels=64), model)


@pytest.mark.slow
def test_commands_from_photos_to_a_model_with_a_kill_between(tmp_path, tiny_start):
    write_folders(tmp_path / "photos", 3, 6)
    made = processes.run(
        "records", f"--train_directory={tmp_path}/photos", f"--output_directory={tmp_path}/records",
        "--generate_train_validation_splits", "--num_shards=2",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "15 training and 3 validation images, 3 classes" in made.stdout
    train = (
        "train", f"--train_file_pattern={tmp_path}/records/train*", f"--logdir={tmp_path}/run",
        f"--validation_file_pattern={tmp_path}/records/validation*", f"--init_model={tiny_start}",
        "--image_size=32", "--batch_size=8", "--max_iters=20", "--save_interval=4", "--report_interval=10",
        "--optimizer=adamw", "--initial_lr=0.001", "--save_seconds=1e6",
    )  # fmt: skip
    killed = processes.run(*train, killed="step 10/")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run" / "model").exists()
    again = finished(*train)
    assert again.returncode == 0, again.stderr
    assert "continuing from step 8\n" in again.stdout, "a line comes before its step's checkpoint"
    assert "step 20/20" in again.stdout and "validation at step 20" in again.stdout
    model = delg.load(tmp_path / "run" / "model")
    assert (model.num_classes, model.embedding_dim) == (3, 16)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    third = processes.run(*train)
    assert third.returncode == 0 and "already complete" in third.stdout
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    other = processes.run(*train, "--seed=1")
    assert other.returncode != 0 and "seed: 0 there, 1 now" in other.stderr and "Traceback" not in other.stderr


def write_imagenet(path: Path, model, skip: str = "") -> None:
    with h5py.File(path, "w") as file:
        for layer in model.backbone.layers:
            if layer.weights and layer.name != skip:
                group = file.create_group(layer.name)
                names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
                for name, weight in zip(names, layer.weights):
                    group[name] = ops.convert_to_numpy(weight)
                group.attrs["weight_names"] = [name.encode() for name in names]


def test_imagenet_weights_are_rewritten_for_our_input(tmp_path):
    shape = {"backbone": "resnet50", "embedding_dim": 8, "local_dim": 8}
    source, model = tiny_model(1, **shape), tiny_model(2, **shape)
    source.backbone.get_layer("conv1").bias.assign(np.linspace(-1, 1, 64))
    write_imagenet(tmp_path / "weights.h5", source)
    load_imagenet(model, tmp_path / "weights.h5")
    rgb = np.random.default_rng(0).uniform(0, 255, (1, 21, 21, 3)).astype(np.float32)
    theirs = source.backbone.get_layer("conv1")(rgb[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32))
    ours = model.backbone.get_layer("conv1")(model.normalize(rgb))
    inside = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours)[inside], ops.convert_to_numpy(theirs)[inside], rtol=1e-3, atol=2e-3
    )
    for name in ("bn_conv1", "res5c_branch2c", "bn4f_branch2b"):
        for a, b in zip(model.backbone.get_layer(name).weights, source.backbone.get_layer(name).weights):
            assert np.array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b)), name
    write_imagenet(tmp_path / "part.h5", source, skip="bn5c_branch2c")
    with pytest.raises(InputError, match=r"holds no delg_r50 .*, 4 missing\.\nmissing:\n  bn5c_branch2c/gamma\n"):
        load_imagenet(model, tmp_path / "part.h5")
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(InputError, match="not a Keras HDF5 weight file"):
        load_imagenet(model, tmp_path / "text.h5")
    with pytest.raises(InputError, match="do not exist"):
        load_imagenet(model, tmp_path / "none.h5")

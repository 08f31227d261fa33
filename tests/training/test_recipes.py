"""Recipes: every one of ours is accepted, flags override it, and mistakes are refused; training from other weights."""

import signal
from dataclasses import fields, replace
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest
from keras import ops

import delg
import training.configs
from delg.common.errors import InputError
from delg.saving import provenance_of, weights_sha256
from evaluation.data.catalogue import CATALOGUE
from tests import processes
from tests.training.tiny import tiny_model
from training.input.augment import build_augmentation
from training.job import augmentation_text, model_overrides, run
from training.optimizers import build_optimizer
from training.options import TrainOptions
from training.pretrained import load_model
from training.recipes import read_recipe
from training.records.recordset import open_records
from training.schedules import build_schedule

ROOT = Path(__file__).parents[2]
NAMES = [module.name for module in iter_modules(training.configs.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_made_of_options_that_can_be_used(name):
    recipe = read_recipe(name)
    config = recipe.options
    assert recipe.pretrained, "all four begin with weights that were trained before"
    assert set(config) <= {field.name for field in fields(TrainOptions)}
    options = TrainOptions(**config)
    model_overrides(options)
    build_augmentation(augmentation_text(options))
    build_optimizer(options.optimizer)
    assert build_schedule(options.schedule, options.initial_lr, options.max_iters)(options.max_iters // 2) > 0
    text = (ROOT / "training" / "configs" / f"{name}.py").read_text()
    for part in (f"--config={name}", "Hardware and hours:", "Expected:"):
        assert part in text, part


def test_the_command_takes_a_recipe_and_flags_override_it(tmp_path, records_dir):
    recipe = tmp_path / "mine.py"
    recipe.write_text("CONFIG = {'preset': 'delg_small', 'image_size': 32, 'max_iters': 2, 'batch_size': 4}\n")
    given = f"--config={recipe}", f"--train_file_pattern={records_dir}/train*", f"--logdir={tmp_path}/run"
    done = processes.run("train", *given, "--max_iters=3", "--delg_embedding_layer_dim=32")
    assert done.returncode == 0, done.stderr
    model = delg.load(tmp_path / "run" / "model")
    assert "step 3/3" in done.stdout and "random of seed 0" in done.stdout
    assert (model.config["backbone"], model.embedding_dim) == ("resnet_small", 32)
    recipe.write_text("CONFIG = {'batch_size': 0}\n")
    done = processes.run("train", f"--config={recipe}", "--train_file_pattern=x", "--logdir=y")
    assert done.returncode != 0 and "batch_size=0" in done.stderr and "Traceback" not in done.stderr


def test_recipes_that_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"Unknown recipe 'r50'; the choices are .*finetune_r50"):
        read_recipe("r50")
    (tmp_path / "broken.py").write_text("CONFIG = 1 / 0\n")
    with pytest.raises(InputError, match=r"broken\.py cannot be run: division by zero"):
        read_recipe(str(tmp_path / "broken.py"))
    (tmp_path / "empty.py").write_text("config = {}\n")
    with pytest.raises(InputError, match=r"empty\.py has no CONFIG"):
        read_recipe(str(tmp_path / "empty.py"))


def test_a_training_begins_with_another_model_s_weights_but_its_classifiers(tmp_path, records_dir):
    start = tiny_model(seed=5)
    delg.save(start, tmp_path / "start", provenance={"format": "dinov3"})
    options = TrainOptions(
        train_file_pattern=f"{records_dir}/train*", logdir=str(tmp_path / "run"), init_model=str(tmp_path / "start"),
        image_size=32, batch_size=4, max_iters=1, initial_lr=0.0, augment="",
    )  # fmt: skip
    run(options)
    trained = delg.load(tmp_path / "run" / "model")
    assert trained.config["embedding_dim"] == 16, "the architecture is that of the folder"
    for ours, theirs in zip(trained.trainable_variables, start.trainable_variables):
        same = np.array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))
        assert same or ours.path.startswith(("classifier/", "att_fc/kernel")), ours.path
    assert "init_model" in (tmp_path / "run" / "settings.json").read_text()
    provenance = provenance_of(tmp_path / "run" / "model")
    recorded = provenance["trained"]
    assert provenance["start"] == {"format": "dinov3"}
    assert recorded["images"] == open_records(f"{records_dir}/train*").num_images
    assert recorded["init_model"] == weights_sha256(tmp_path / "start")


def test_a_part_of_a_backbone_is_trained_under_a_new_whitening_layer(tmp_path, records_dir):
    start = tiny_model(seed=5, embedding_dim=None, local_head=None)
    delg.save(start, tmp_path / "start")
    options = TrainOptions(
        train_file_pattern=f"{records_dir}/train*", logdir=str(tmp_path / "run"), init_model=str(tmp_path / "start"),
        image_size=32, batch_size=4, max_iters=2, initial_lr=0.1, augment="", schedule="constant",
        delg_embedding_layer_dim=4, whitening_init="pca", freeze_batch_norm=True, train_from="conv2",
    )  # fmt: skip
    run(options)
    trained = delg.load(tmp_path / "run" / "model")
    assert trained.embedding_dim == 4
    before = {v.path: ops.convert_to_numpy(v) for v in start.backbone.weights}
    changed = {v.path for v in trained.backbone.weights if not np.array_equal(v, before[v.path])}
    assert changed == {"conv2/kernel", "conv2/bias", "conv3/kernel", "conv3/bias"}
    with pytest.raises(InputError, match="--train_from expects a layer of the backbone, from conv1 to relu3"):
        run(replace(options, train_from="conv9", logdir=str(tmp_path / "other")))


def test_weights_that_do_not_fit_are_named(tmp_path, records_dir):
    delg.save(tiny_model(), tmp_path / "start")
    with pytest.raises(
        InputError, match=r"do not fit this model: 2 are missing or of another shape, such as embedding"
    ):
        load_model(tiny_model(embedding_dim=24), tmp_path / "start")
    with pytest.raises(InputError, match="is not a model folder"):
        run(
            TrainOptions(
                train_file_pattern=f"{records_dir}/train*",
                logdir=str(tmp_path / "run"),
                init_model=str(tmp_path / "no"),
            )
        )


def test_a_recipe_without_its_pretrained_weights_is_refused(tmp_path, records_dir):
    recipe = tmp_path / "mine.py"
    text = "CONFIG = {'preset': 'delg_small', 'image_size': 32, 'max_iters': 1, 'batch_size': 4}\n"
    recipe.write_text(f"{text}PRETRAINED = 'the shelf has them'\n")
    data = (f"--config={recipe}", f"--train_file_pattern={records_dir}/train*")
    done = processes.run("train", *data, f"--logdir={tmp_path}/run")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "--imagenet_checkpoint" in done.stderr and "the shelf has them" in done.stderr
    assert not (tmp_path / "run").exists()
    done = processes.run("train", *data, f"--logdir={tmp_path}/run", "--imagenet_checkpoint=", killed="32 images")
    assert done.returncode == -signal.SIGKILL and "random of seed 0" in done.stdout, done.stderr
    delg.save(tiny_model(), tmp_path / "start")
    done = processes.run("train", *data, f"--logdir={tmp_path}/other", f"--init_model={tmp_path}/start")
    assert done.returncode == 0 and f"those of {tmp_path}/start" in done.stdout, done.stderr
    given = (f"--logdir={tmp_path}/no", f"--init_model={tmp_path}/start", "--preset=delg_squeezenet")
    done = processes.run("train", *data, *given)
    assert done.returncode == 1 and "squeezenet" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_file_that_a_recipe_names_is_in_the_catalogue(name):
    done = processes.run("train", f"--config={name}", "--train_file_pattern=x", "--logdir=y")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    named = [Path(word).name for word in done.stderr.replace(",", " ").split() if word.endswith(".h5")]
    known = [file.name for key in CATALOGUE if f"delg-fetch {key} " in done.stderr for file in CATALOGUE[key]]
    assert named == known and (known or name in ("finetune_r50", "photos"))

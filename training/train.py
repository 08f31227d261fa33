"""Trains a DELG model on records made by delg-records and writes it as a model folder.

The flags have the names and defaults of the released training; the records give the number of classes. The same
command continues an interrupted run, and does not repeat a finished run.

delg-train --train_file_pattern='records/train*' --validation_file_pattern='records/validation*' --logdir=run
"""

from dataclasses import replace
from typing import Any

from absl import flags

from delg.common.options import define_flags, from_flags
from training.options import TrainOptions

FLAGS = flags.FLAGS
define_flags(TrainOptions)


def main() -> None:
    """Turns the flags into options and trains."""
    from training.job import run

    options = from_flags(TrainOptions)
    if options.config:
        options = replace(options, **_of_recipe(options, options.config))
    if options.init_model and FLAGS["preset"].present:
        _check_same_backbone(options.init_model, options.preset)
    run(options, _retrieval_check(options))


def _of_recipe(options: TrainOptions, config: str) -> dict[str, Any]:
    """The options of the recipe that no flag overrides, checked as flags are."""
    from delg.common.errors import InputError
    from training.recipes import read_recipe

    recipe, values = read_recipe(config), {}
    for name, value in recipe.options.items():
        if name not in FLAGS or name not in vars(options) or name == "config":
            raise InputError(f"The recipe {config} has the unknown option {name!r}.")
        if FLAGS[name].present:
            continue
        try:
            values[name] = FLAGS[name].parser.parse(value)
        except (ValueError, TypeError) as error:
            raise InputError(f"The recipe {config}: {name}={value!r}: {error}") from error
    starts = any(values.get(name) or FLAGS[name].value for name in ("init_model", "imagenet_checkpoint"))
    if recipe.pretrained and not starts and not FLAGS["imagenet_checkpoint"].present:
        raise InputError(
            f"The recipe {config} starts from pretrained weights, and neither --imagenet_checkpoint nor --init_model "
            f"names them: {recipe.pretrained}. --imagenet_checkpoint= (empty) starts from random weights."
        )
    return values


def _check_same_backbone(folder: str, preset: str) -> None:
    """A preset beside ``init_model`` must have its architecture."""
    from delg.common.errors import InputError
    from delg.presets import preset_config
    from delg.saving import model_config

    backbones = [model_config(folder).get("backbone"), preset_config(preset)["backbone"]]
    if backbones[0] != backbones[1]:
        raise InputError(
            f"--init_model={folder} has the backbone {backbones[0]}, and --preset={preset} has {backbones[1]}; leave "
            "--preset out to train the model of the folder."
        )


def _retrieval_check(options: TrainOptions) -> Any:
    """Measures retrieval during the training, where the options ask for it; reports mistakes before any work."""
    from delg.common.errors import InputError

    if not options.retrieval_dir:
        if options.retrieval_queries_dir:
            raise InputError("--retrieval_queries_dir needs --retrieval_dir.")
        return None
    from evaluation.in_training import RetrievalCheck

    return RetrievalCheck(options.retrieval_dir, options.retrieval_queries_dir, options.image_size)

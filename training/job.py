"""One training from its options to the model folder: checks first, then the building, then the loop."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from delg.commands import chosen_backend
from delg.common.errors import InputError
from delg.common.files import sha256
from training.backends.engine import check_backend, engine
from training.options import TrainOptions
from training.records.recordset import RecordSet, check_same_classes, open_records

Evaluate = Callable[[Any], dict[str, float]]
RELEASED_CLASSES = {"gld_v1": 14951, "gld_v2": 203094, "gld_v2_clean": 81313}
VALIDATION_IMAGES = 50_000
RESULT_SETTINGS = (
    "preset",
    "initial_lr",
    "batch_size",
    "max_iters",
    "optimizer",
    "schedule",
    "clip_norm",
    "seed",
    "image_size",
    "cache",
    "shuffle_buffer",
    "attention_loss_weight",
    "reconstruction_loss_weight",
    "whitening_init",
)
LATER_SETTINGS = (
    "deterministic",
    "sync_batch_norm",
    "mixed_precision",
    "accumulate",
    "freeze_backbone_steps",
    "keep_aspect",
    "global_loss",
    "sample_rate",
    "moving_average_decay",
    "moving_average_start",
    "moving_average_dynamic",
)


def run(options: TrainOptions, evaluate: Evaluate | None = None) -> None:
    """Trains, or continues, or finds that all is done.

    Args:
      options: the settings.
      evaluate: called with the model every ``retrieval_interval`` steps; gives values by name.

    Raises:
      InputError: a setting or the data cannot be used; said before long work wherever it can be.
    """
    options = _checked(options)
    records = open_records(str(options.train_file_pattern))
    validation = open_records(options.validation_file_pattern) if options.validation_file_pattern else None
    if validation:
        check_same_classes(records, validation)
    expected = RELEASED_CLASSES.get(options.dataset_version or "", records.num_classes)
    if records.num_classes != expected:
        raise InputError(
            f"--dataset_version={options.dataset_version} has {expected} classes, and the records have "
            f"{records.num_classes}."
        )
    overrides, augmentation = model_overrides(options), augmentation_text(options)
    if options.benchmark_input and not options.logdir:
        _benchmark_input(options, records, augmentation)
        return

    from training.runs import check_run, is_finished

    settings = {name: getattr(options, name) for name in RESULT_SETTINGS} | {
        "imagenet_checkpoint": _imagenet_sha256(options.imagenet_checkpoint),
        **_init_sha256(options.init_model),
        "model": overrides,
        "augment": augmentation,
        "num_classes": records.num_classes,
        "records": records.fingerprint,
        **_later_settings(options),
    }
    check_run(str(options.logdir), settings)
    if is_finished(str(options.logdir), str(options.output_model)):
        print(f"The training in {options.logdir} is already complete; its model is {options.output_model}.")
        return
    _train(options, records, validation, evaluate, settings)


def _later_settings(options: TrainOptions) -> dict[str, Any]:
    """Settings that came after the first release, where they are not the default: older runs can be continued."""
    changed = {name: getattr(options, name) for name in LATER_SETTINGS}
    changed = {name: value for name, value in changed.items() if value != getattr(TrainOptions(), name)}
    return changed if chosen_backend() == "tensorflow" else changed | {"backend": chosen_backend()}


def _imagenet_sha256(path: str | None) -> str | None:
    """What the file of ImageNet weights holds, wherever it lies."""
    if not path:
        return None
    if not Path(path).is_file():
        raise InputError(f"The ImageNet weights {path} do not exist.")
    return sha256(path)


def _init_sha256(folder: str | None) -> dict[str, str]:
    """What the model is that the training begins with, where it is given: its weights and its configuration."""
    if not folder:
        return {}
    from delg.saving import WEIGHTS, model_config

    config = json.dumps(model_config(folder), sort_keys=True)
    return {
        "init_model": sha256(Path(folder) / WEIGHTS),
        "init_model_config": hashlib.sha256(config.encode()).hexdigest(),
    }


def _checked(options: TrainOptions) -> TrainOptions:
    """The options with what follows from others; complains about what is missing."""
    check_backend(options)
    for name in ("train_file_pattern", "logdir"):
        if not getattr(options, name) and not (name == "logdir" and options.benchmark_input):
            raise InputError(f"--{name} is required.")
    if not options.delg_global_features:
        raise InputError("--delg_global_features=false (DELF, without the global head) is not supported.")
    if options.moving_average_decay is None and (options.moving_average_start or options.moving_average_dynamic):
        raise InputError("--moving_average_start and --moving_average_dynamic need --moving_average_decay.")
    if options.global_loss != "arcface" and (options.classifier != "arcface" or options.sample_rate < 1):
        raise InputError(f"--classifier and --sample_rate go with no --global_loss={options.global_loss}.")
    if options.init_model and options.imagenet_checkpoint:
        raise InputError("--init_model and --imagenet_checkpoint cannot be used together.")
    if options.output_model is None and options.logdir:
        options = replace(options, output_model=str(Path(options.logdir) / "model"))
    if options.debug:
        options = replace(options, batch_size=4, max_iters=100, save_interval=1)
    return options


def model_overrides(options: TrainOptions) -> dict[str, Any]:
    """Arguments of :class:`delg.model.Delg` that the options decide against the preset.

    ``block3_strides`` is on unless the options or the preset say otherwise (released training).
    """
    from delg.presets import preset_config
    from delg.saving import model_config

    base = model_config(options.init_model) if options.init_model else preset_config(options.preset)
    chosen = {
        "block3_strides": base.get("block3_strides", True),
        "pooling": None if options.delg_gem_power is None else f"gem(p={options.delg_gem_power})",
        "embedding_dim": options.delg_embedding_layer_dim,
        "arcface_scale": options.delg_scale_factor_init,
        "arcface_margin": options.delg_arcface_margin,
        "local_dim": options.autoencoder_dimensions,
        "local_head": options.local_head,
    }
    if options.block3_strides is not None:
        chosen["block3_strides"] = options.block3_strides
    if options.classifier != TrainOptions.classifier:
        chosen["classifier"] = options.classifier
    if options.sample_rate < 1:
        chosen["sampled_classifier"] = True
    chosen = {key: value for key, value in chosen.items() if value is not None}
    return chosen if options.use_autoencoder else chosen | {"local_dim": None}


def augmentation_text(options: TrainOptions) -> str:
    """The augmentation that the options mean: the released crop unless said otherwise."""
    if options.augment is not None and not options.use_augmentation:
        raise InputError("--augment and --use_augmentation=false contradict each other.")
    if not options.use_augmentation:
        return ""
    return "crop" if options.augment is None else options.augment


def _input_config(options: TrainOptions, augmentation: str) -> Any:
    from training.input.augment import build_augmentation
    from training.input.pipeline import InputConfig

    return InputConfig(
        batch_size=options.batch_size,
        image_size=options.image_size,
        augmentation=build_augmentation(augmentation),
        seed=options.seed,
        cache=options.cache,
        shuffle_buffer=options.shuffle_buffer,
        keep_aspect=options.keep_aspect,
    )


def _benchmark_input(options: TrainOptions, records: RecordSet, augmentation: str) -> None:
    """Prints the images per second of the input pipeline alone."""
    from training.input.pipeline import is_cached, load_cache, measure_input, training_batches

    config = _input_config(options, augmentation)
    cache = load_cache(records, config) if is_cached(records, config) else None
    speed = measure_input(training_batches(records, config, cache=cache), config.batch_size)
    print(f"input pipeline alone: {speed:.0f} images/s ({'cached' if cache else 'streamed'}, {config.image_size} px)")


def _train(
    options: TrainOptions,
    records: RecordSet,
    validation: RecordSet | None,
    evaluate: Evaluate | None,
    settings: dict[str, Any],
) -> None:
    """Builds everything, trains, saves."""
    import delg
    from training.assembly import build_trainer, start_weights
    from training.input.pipeline import is_cached, load_cache, training_batches, validation_batches
    from training.runs import finish_run, last_replicas, start_run

    chosen = engine()
    chosen.prepare(deterministic=options.deterministic, debug=options.debug)
    strategy = chosen.build_strategy(options.distribute)
    share = chosen.share_of(strategy, options.batch_size)
    config = _input_config(options, settings["augment"])
    trainer = build_trainer(options, records, settings["model"], strategy, evaluate)
    replicas, earlier = strategy.num_replicas_in_sync, last_replicas(str(options.logdir))
    if trainer.is_chief:
        start_run(str(options.logdir), settings, replicas)
    start = trainer.restore()
    if start:
        trainer.log(f"continuing from step {start}{_of_devices(options, earlier or replicas, replicas)}")
    trainer.log(_summary(records, trainer) + ("" if start else f", at first {_first_weights(options)}"))
    if options.benchmark_input and trainer.is_chief:
        _benchmark_input(options, records, settings["augment"])
    cache = load_cache(records, config) if is_cached(records, config) and start < options.max_iters else None
    if not start:
        start_weights(options, trainer.model, training_batches(records, config, cache=cache), strategy)
    held_out = None
    if validation:
        batches = 1 if options.debug else -(-VALIDATION_IMAGES // config.batch_size)
        held_out = validation_batches(validation, config, batches)
    trainer.fit(lambda step: training_batches(records, config, step, cache, share), held_out, start)
    if not trainer.is_chief:
        return
    with trainer.averaged():
        delg.save(trainer.model, str(options.output_model))
    finish_run(str(options.logdir), options.max_iters, str(options.output_model))
    print(f"model written to {options.output_model}")


def _of_devices(options: TrainOptions, before: int, now: int) -> str:
    """What another number of devices changes for a run that goes on."""
    if before == now:
        return ""
    own = not options.sync_batch_norm and chosen_backend() == "tensorflow"
    sizes = (f"{options.batch_size // count // options.accumulate} images" for count in (before, now))
    return (
        f"; note: on {before} devices before and {now} now, the steps will not have the bits of an uninterrupted run"
        + (f", and batch statistics, {' before and '.join(sizes)} now, differ without --sync_batch_norm" if own else "")
    )


def _first_weights(options: TrainOptions) -> str:
    """Where the weights of the first step are from."""
    if options.init_model:
        return f"those of {options.init_model}, of the classifiers random"
    if options.imagenet_checkpoint:
        return f"those of {options.imagenet_checkpoint} in the backbone, random in the heads"
    return f"random of seed {options.seed}"


def _summary(records: RecordSet, trainer: Any) -> str:
    replicas = trainer.strategy.num_replicas_in_sync
    devices = f" on {replicas} devices" if replicas > 1 else ""
    weights = trainer.model.count_params()
    return f"{records.num_images} images of {records.num_classes} classes; {weights:,} weights{devices}"

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
from delg.common.options import fingerprint
from delg.common.sources import source_sha256
from delg.common.spec import plug_ins_in
from delg.saving import model_config, provenance_of, save, weights_sha256
from training.backends.engine import MODULES, check_backend, engine
from training.options import RELEASED_CLASSES, TrainOptions
from training.records.recordset import RecordSet, check_same_classes, open_records

Evaluate = Callable[[Any], dict[str, float]]
VALIDATION_IMAGES = 50_000
COMPUTING = ("training.assembly", "training.input.pipeline")  # and the training step of the backend


def run(options: TrainOptions, evaluate: Evaluate | None = None) -> None:
    """Trains, or continues, or finds that all is done.

    Args:
      options: the options.
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
    if options.benchmark_input and not options.logdir:
        _benchmark_input(options, records)
        return

    from training.runs import check_run, is_finished

    settings = settings_of(options, records)
    check_run(str(options.logdir), settings)
    if is_finished(str(options.logdir), str(options.output_model)):
        print(f"The training in {options.logdir} is already complete; its model is {options.output_model}.")
        return
    _train(options, records, validation, evaluate, settings)


def settings_of(options: TrainOptions, records: RecordSet) -> dict[str, Any]:
    """Everything that the trained weights depend on, as JSON values: a run continues only under the same settings.

    Args:
      options: the options; irrelevant ones do not count.
      records: the training set.

    Raises:
      InputError: a file that an option names cannot be read, or a plug-in cannot be imported.
    """
    relevant = fingerprint(options)
    start = model_config(options.init_model) if options.init_model else {}
    plug_ins = plug_ins_in(*relevant.values(), *start.values())
    return relevant | {
        "imagenet_checkpoint": _imagenet_sha256(options.imagenet_checkpoint),
        **_init_sha256(options.init_model),
        "num_classes": records.num_classes,
        "records": records.fingerprint,
        "backend": chosen_backend(),
        "source": source_sha256(MODULES[chosen_backend()], *COMPUTING, *plug_ins),
    }


def _imagenet_sha256(path: str | None) -> str | None:
    """What the file of ImageNet weights holds, wherever it lies."""
    if not path:
        return None
    if not Path(path).is_file():
        raise InputError(f"The ImageNet weights {path} do not exist.")
    return sha256(path)


def _init_sha256(folder: str | None) -> dict[str, str]:
    """Weights and configuration of the model that the training starts from, if any."""
    if not folder:
        return {}
    config = json.dumps(model_config(folder), sort_keys=True)
    return {
        "init_model": weights_sha256(folder),
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
        raise InputError(f"--classifier and --sample_rate cannot be combined with --global_loss={options.global_loss}.")
    if options.init_model and options.imagenet_checkpoint:
        raise InputError("--init_model cannot be combined with --imagenet_checkpoint.")
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
        raise InputError("--augment cannot be combined with --use_augmentation=false.")
    if not options.use_augmentation:
        return ""
    return "crop" if options.augment is None else options.augment


def _input_config(options: TrainOptions) -> Any:
    from training.input.augment import build_augmentation
    from training.input.pipeline import InputConfig

    return InputConfig(
        batch_size=options.batch_size,
        image_size=options.image_size,
        augmentation=build_augmentation(augmentation_text(options)),
        seed=options.seed,
        cache=options.cache,
        shuffle_buffer=options.shuffle_buffer,
        keep_aspect=options.keep_aspect,
    )


def _benchmark_input(options: TrainOptions, records: RecordSet) -> None:
    """Prints the images per second of the input pipeline alone."""
    from training.input.pipeline import is_cached, load_cache, measure_input, training_batches

    config = _input_config(options)
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
    from training.assembly import build_trainer, start_weights
    from training.input.pipeline import is_cached, load_cache, training_batches, validation_batches
    from training.runs import finish_run, last_replicas, start_run

    chosen = engine()
    chosen.prepare(deterministic=options.deterministic, debug=options.debug)
    strategy = chosen.build_strategy(options.distribute)
    share = chosen.share_of(strategy, options.batch_size)
    config = _input_config(options)
    trainer = build_trainer(options, records, model_overrides(options), strategy, evaluate)
    replicas, earlier = strategy.num_replicas_in_sync, last_replicas(str(options.logdir))
    if trainer.is_chief:
        start_run(str(options.logdir), settings, replicas)
    start = trainer.restore()
    if start:
        trainer.log(f"continuing from step {start}{_of_devices(options, earlier or replicas, replicas)}")
    trainer.log(_summary(records, trainer) + ("" if start else f", at first {_first_weights(options)}"))
    if options.benchmark_input and trainer.is_chief:
        _benchmark_input(options, records)
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
        save(trainer.model, str(options.output_model), provenance=_provenance(options, records, settings))
    finish_run(str(options.logdir), options.max_iters, str(options.output_model))
    print(f"model written to {options.output_model}")


def _provenance(options: TrainOptions, records: RecordSet, settings: dict[str, Any]) -> dict[str, Any]:
    """What a model folder records of the training, and of the weights that the training began with."""
    start = provenance_of(options.init_model) if options.init_model else {}
    return {"trained": {"images": records.num_images} | settings} | ({"start": start} if start else {})


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

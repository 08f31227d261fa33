"""One training from its options to the model folder: checks first, then the building, then the loop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from protos.errors import InputError
from protos.files import sha256
from training.options import TrainOptions
from training.recordset import RecordSet, check_same_classes, open_records

VALIDATION_IMAGES = 50_000
WHITENING_IMAGES = 512
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
    "global_loss",
    "moving_average_decay",
    "moving_average_start",
    "moving_average_dynamic",
)


def run(options: TrainOptions) -> None:
    """Trains, or continues, or finds that all is done.

    Args:
      options: the settings.

    Raises:
      InputError: a setting or the data cannot be used; said before long work wherever it can be.
    """
    options = _checked(options)
    records = open_records(str(options.train_file_pattern))
    validation = open_records(options.validation_file_pattern) if options.validation_file_pattern else None
    if validation:
        check_same_classes(records, validation)
    overrides, augmentation = model_overrides(options), augmentation_text(options)
    if options.benchmark_input:
        _benchmark_input(options, records, augmentation)
        return

    from training.runs import check_run, is_finished

    settings = {name: getattr(options, name) for name in RESULT_SETTINGS} | {
        "imagenet_checkpoint": _imagenet_sha256(options.imagenet_checkpoint),
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
    _train(options, records, validation, settings)


def _later_settings(options: TrainOptions) -> dict[str, Any]:
    """Settings that came after the first release, where they are not the default: older runs can be continued."""
    changed = {name: getattr(options, name) for name in LATER_SETTINGS}
    return {name: value for name, value in changed.items() if value != getattr(TrainOptions(), name)}


def _imagenet_sha256(path: str | None) -> str | None:
    """What the file of ImageNet weights holds, wherever it lies."""
    if not path:
        return None
    if not Path(path).is_file():
        raise InputError(f"The ImageNet weights {path} do not exist.")
    return sha256(path)


def _checked(options: TrainOptions) -> TrainOptions:
    """The options with what follows from others; complains about what is missing."""
    for name in ("train_file_pattern", "logdir"):
        if not getattr(options, name) and not (name == "logdir" and options.benchmark_input):
            raise InputError(f"--{name} is required.")
    if not options.delg_global_features:
        raise InputError("--delg_global_features=false (DELF, without the global head) is not supported.")
    if options.moving_average_decay is None and (options.moving_average_start or options.moving_average_dynamic):
        raise InputError("--moving_average_start and --moving_average_dynamic need --moving_average_decay.")
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

    chosen = {
        "block3_strides": preset_config(options.preset).get("block3_strides", True),
        "pooling": None if options.delg_gem_power is None else f"gem(p={options.delg_gem_power})",
        "embedding_dim": options.delg_embedding_layer_dim,
        "arcface_scale": options.delg_scale_factor_init,
        "arcface_margin": options.delg_arcface_margin,
        "local_dim": options.autoencoder_dimensions,
    }
    if options.block3_strides is not None:
        chosen["block3_strides"] = options.block3_strides
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
    from training.augment import build_augmentation
    from training.pipeline import InputConfig

    return InputConfig(
        batch_size=options.batch_size,
        image_size=options.image_size,
        augmentation=build_augmentation(augmentation),
        seed=options.seed,
        cache=options.cache,
        shuffle_buffer=options.shuffle_buffer,
    )


def _benchmark_input(options: TrainOptions, records: RecordSet, augmentation: str) -> None:
    """Prints the images per second of the input pipeline alone."""
    from training.pipeline import is_cached, load_cache, measure_input, training_batches

    config = _input_config(options, augmentation)
    cache = load_cache(records, config) if is_cached(records, config) else None
    speed = measure_input(training_batches(records, config, cache=cache), config.batch_size)
    print(f"input pipeline alone: {speed:.0f} images/s ({'cached' if cache else 'streamed'}, {config.image_size} px)")


def _train(options: TrainOptions, records: RecordSet, validation: RecordSet | None, settings: dict[str, Any]) -> None:
    """Builds everything, trains, saves."""
    import tensorflow as tf

    import delg
    from training.pipeline import is_cached, load_cache, training_batches, validation_batches
    from training.runs import finish_run, start_run

    tf.config.run_functions_eagerly(options.debug)
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    config = _input_config(options, settings["augment"])
    trainer = _build_trainer(options, records, settings["model"])
    start_run(str(options.logdir), settings)
    start = trainer.restore()
    if start:
        print(f"continuing from step {start}", flush=True)
    weights = trainer.model.count_params()
    print(f"{records.num_images} images of {records.num_classes} classes; {weights:,} weights", flush=True)
    cache = load_cache(records, config) if is_cached(records, config) and start < options.max_iters else None
    if not start:
        _start_weights(options, trainer.model, training_batches(records, config, cache=cache))
    held_out = None
    if validation:
        batches = 1 if options.debug else -(-VALIDATION_IMAGES // config.batch_size)
        held_out = validation_batches(validation, config, batches)
    trainer.fit(lambda step: training_batches(records, config, step, cache), held_out, start)
    with trainer.averaged():
        delg.save(trainer.model, str(options.output_model))
    finish_run(str(options.logdir), options.max_iters, str(options.output_model))
    print(f"model written to {options.output_model}")


def _start_weights(options: TrainOptions, model: Any, batches: Any) -> None:
    """Weights of the first step that are not random; ``batches`` are images in 0..255 with labels."""
    if options.imagenet_checkpoint:
        from training.pretrained import load_imagenet

        load_imagenet(model, options.imagenet_checkpoint)
    if options.whitening_init == "pca":
        from training.whitening import start_from_pca

        few = batches.take(-(-WHITENING_IMAGES // options.batch_size))
        start_from_pca(model, (model.normalize(images) for images, _ in few), options.seed)


def _build_trainer(options: TrainOptions, records: RecordSet, overrides: dict[str, Any]) -> Any:
    """Schedule, optimizer, model and the loop around them."""
    import delg
    from training.global_losses import build_global_loss, check_global_loss
    from training.optimizers import build_optimizer
    from training.schedules import build_schedule
    from training.step import StepConfig
    from training.trainer import Trainer, TrainerConfig

    schedule = build_schedule(options.schedule, options.initial_lr, options.max_iters)
    optimizer = build_optimizer(options.optimizer)
    global_loss = build_global_loss(options.global_loss)
    model = delg.from_preset(options.preset, num_classes=records.num_classes, seed=options.seed, **overrides)
    _check_model(options, model)
    if global_loss:
        check_global_loss(global_loss, model.embedding_dim)
        _tell_of_pairs(options, records)
    step = StepConfig(
        batch_size=options.batch_size,
        image_size=options.image_size,
        attention_loss_weight=options.attention_loss_weight,
        reconstruction_loss_weight=options.reconstruction_loss_weight,
        clip_norm=options.clip_norm,
        global_loss=global_loss,
    )
    config = TrainerConfig(
        max_iters=options.max_iters,
        step=step,
        report_interval=options.report_interval,
        eval_interval=options.eval_interval,
        save_interval=options.save_interval,
        save_seconds=options.save_seconds,
        average=_average_config(options),
    )
    return Trainer(model, optimizer, schedule, config, str(options.logdir))


def _average_config(options: TrainOptions) -> Any:
    from training.averaging import AverageConfig

    if options.moving_average_decay is None:
        return None
    return AverageConfig(options.moving_average_decay, options.moving_average_start, options.moving_average_dynamic)


def _tell_of_pairs(options: TrainOptions, records: RecordSet) -> None:
    """A loss on pairs learns nothing from batches without two images of a class."""
    pairs = options.batch_size * (options.batch_size - 1) / 2 / records.num_classes
    if pairs < 1:
        print(
            f"note: {options.batch_size} images of {records.num_classes} classes hold about {pairs:.2g} pairs of one "
            f"class, from which --global_loss={options.global_loss} learns; a larger --batch_size gives more",
            flush=True,
        )


def _check_model(options: TrainOptions, model: Any) -> None:
    """The image size and the announced channels must suit the model."""
    if options.image_size < model.min_side:
        raise InputError(
            f"--image_size must be at least {model.min_side} for this model. Received: {options.image_size}"
        )
    channels = model.local_head.channels if model.local_head else 0
    if options.local_feature_map_channels not in (None, channels):
        raise InputError(
            f"--local_feature_map_channels is {options.local_feature_map_channels}, but the local feature map of "
            f"{options.preset} has {channels} channels."
        )

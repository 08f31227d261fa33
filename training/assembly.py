"""From options to the trainer: schedule, optimizer, model, its first weights, and the loop around them."""

import math
from functools import partial
from typing import Any

from delg.common.errors import InputError
from delg.saving import model_config
from training.backends.engine import engine
from training.options import TrainOptions
from training.records.recordset import RecordSet

WHITENING_IMAGES = 512


def policy(mixed_precision: bool) -> str:
    """The dtype policy of a model that is trained; its weights are float32 anyway."""
    return "mixed_bfloat16" if mixed_precision else "float32"


def start_weights(options: TrainOptions, model: Any, batches: Any, strategy: Any) -> None:
    """Weights of the first step that are not random, the same in all processes.

    Args:
      options: the settings.
      model: a :class:`delg.model.Delg`.
      batches: images in 0..255 with labels.
      strategy: the devices.

    Raises:
      InputError: weights do not fit the model, or a record of ``batches`` cannot be read.
    """
    if options.init_model:
        from training.pretrained import load_model

        load_model(model, options.init_model)
    if options.imagenet_checkpoint:
        from training.pretrained import load_imagenet

        load_imagenet(model, options.imagenet_checkpoint)
    if options.whitening_init == "pca":
        from training.input.pipeline import readable
        from training.whitening import start_from_pca

        few = batches.take(-(-WHITENING_IMAGES // options.batch_size))
        images = (model.normalize(images) for images, _ in readable(few))
        start_from_pca(model, images, options.seed, partial(engine().of_first, strategy))


def build_trainer(
    options: TrainOptions, records: RecordSet, overrides: dict[str, Any], strategy: Any, evaluate: Any = None
) -> Any:
    """Schedule, optimizer, model and the loop around them.

    Args:
      options: the settings.
      records: the training set.
      overrides: arguments of the model against its preset.
      strategy: the devices.
      evaluate: see :class:`training.trainer.Trainer`.
    """
    from training.losses.global_descriptor import build_global_loss, check_global_loss
    from training.optimizers import build_optimizer
    from training.schedules import build_schedule
    from training.trainer import Trainer

    schedule = build_schedule(options.schedule, options.initial_lr, options.max_iters)
    global_loss = build_global_loss(options.global_loss)
    parts = strategy.num_replicas_in_sync * options.accumulate
    if options.batch_size % parts:
        raise InputError(
            f"--batch_size must be a multiple of {parts}, replicas times --accumulate. Received: {options.batch_size}"
        )
    with strategy.scope():
        optimizer = build_optimizer(options.optimizer)
        model = _fresh_model(options, records.num_classes, overrides)
    check_model(options, model)
    freeze(model.backbone, options)
    if global_loss:
        check_global_loss(global_loss, model.embedding_dim)
        _tell_of_pairs(options, records, options.batch_size // parts)
    config = _trainer_config(options, global_loss, records.num_classes)
    return Trainer(model, optimizer, schedule, config, str(options.logdir), evaluate, strategy=strategy)


def _fresh_model(options: TrainOptions, num_classes: int, overrides: dict[str, Any]) -> Any:
    """The model of the preset, or of ``init_model``, with weights from the seed."""
    import keras

    from delg.model import Delg
    from delg.presets import create

    overrides = overrides | {"num_classes": num_classes, "dtype": policy(options.mixed_precision)}
    if not options.init_model:
        return create(options.preset, seed=options.seed, **overrides)
    keras.utils.set_random_seed(options.seed)
    return Delg(**model_config(options.init_model) | overrides)


def freeze(backbone: Any, options: TrainOptions) -> None:
    """Marks layers of a backbone that the options leave as they are; their normalisations keep the stored statistics.

    Raises:
      InputError: the backbone has no layer of the name.
    """
    import keras

    names = [layer.name for layer in backbone.layers]
    if options.train_from is not None and options.train_from not in names:
        raise InputError(
            f"--train_from expects a layer of the backbone, from {names[1]} to {names[-1]}. Received: "
            f"{options.train_from}"
        )
    first = names.index(options.train_from) if options.train_from else 0
    for i, layer in enumerate(backbone.layers):
        normalization = isinstance(layer, keras.layers.BatchNormalization)
        if i < first or (normalization and options.freeze_batch_norm):
            layer.trainable = False


def _trainer_config(options: TrainOptions, global_loss: Any, num_classes: int) -> Any:
    from training.computation import StepConfig
    from training.trainer import TrainerConfig

    step = StepConfig(
        batch_size=options.batch_size,
        image_size=options.image_size,
        attention_loss_weight=options.attention_loss_weight,
        reconstruction_loss_weight=options.reconstruction_loss_weight,
        clip_norm=options.clip_norm,
        global_loss=global_loss,
        accumulate=options.accumulate,
    )
    return TrainerConfig(
        max_iters=options.max_iters,
        step=step,
        report_interval=options.report_interval,
        eval_interval=options.eval_interval,
        retrieval_interval=options.retrieval_interval,
        save_interval=options.save_interval,
        save_seconds=options.save_seconds,
        average=_average_config(options),
        sync_batch_norm=options.sync_batch_norm,
        freeze_backbone_steps=options.freeze_backbone_steps,
        sampled_classes=math.ceil(options.sample_rate * num_classes) if options.sample_rate < 1 else None,
        seed=options.seed,
    )


def _average_config(options: TrainOptions) -> Any:
    from training.averaging import AverageConfig

    if options.moving_average_decay is None:
        return None
    return AverageConfig(options.moving_average_decay, options.moving_average_start, options.moving_average_dynamic)


def _tell_of_pairs(options: TrainOptions, records: RecordSet, images: int) -> None:
    """A loss on pairs learns nothing from batches without two images of a class."""
    pairs = images * (images - 1) / 2 / records.num_classes
    if pairs < 1:
        print(
            f"note: {images} images of {records.num_classes} classes hold about {pairs:.2g} pairs of one "
            f"class, from which --global_loss={options.global_loss} learns; a larger --batch_size gives more",
            flush=True,
        )


def check_model(options: TrainOptions, model: Any) -> None:
    """The image size and the announced channels must suit the model."""
    side = model.trunk.image_side
    if side and options.image_size != side:
        raise InputError(f"--image_size must be {side} for this model. Received: {options.image_size}")
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

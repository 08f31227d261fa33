"""The settings of ``delg-train``, one field per flag, with the released defaults. No heavy imports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainOptions:
    """Settings of a training; the flags of the same names in :mod:`training.train` say what each is.

    None in a setting of the model leaves the choice to the preset.
    """

    train_file_pattern: str | None = None
    validation_file_pattern: str | None = None
    dataset_version: str | None = None
    logdir: str | None = None
    output_model: str | None = None

    initial_lr: float = 0.01
    batch_size: int = 32
    max_iters: int = 500_000
    optimizer: str = "sgd(momentum=0.9)"
    schedule: str = "linear"
    clip_norm: float = 10.0
    attention_loss_weight: float = 1.0
    reconstruction_loss_weight: float = 10.0
    global_loss: str = "arcface"
    classifier: str = "arcface"
    sample_rate: float = 1.0
    distribute: str = "auto"
    sync_batch_norm: bool = False
    mixed_precision: bool = False
    accumulate: int = 1
    freeze_backbone_steps: int = 0
    moving_average_decay: float | None = None
    moving_average_start: int = 0
    moving_average_dynamic: bool = False
    seed: int = 0
    deterministic: bool = False

    image_size: int = 321
    use_augmentation: bool = True
    augment: str | None = None
    keep_aspect: bool = False
    cache: bool | None = None
    shuffle_buffer: int = 1024
    benchmark_input: bool = False

    preset: str = "delg_r50"
    block3_strides: bool | None = None
    delg_global_features: bool = True
    delg_gem_power: float | None = None
    delg_embedding_layer_dim: int | None = None
    delg_scale_factor_init: float | None = None
    delg_arcface_margin: float | None = None
    local_head: str | None = None
    use_autoencoder: bool = True
    autoencoder_dimensions: int | None = None
    local_feature_map_channels: int | None = None
    init_model: str | None = None
    imagenet_checkpoint: str | None = None
    whitening_init: str = "random"

    report_interval: int = 100
    eval_interval: int = 1000
    retrieval_interval: int | None = None
    save_interval: int = 1000
    save_seconds: float = 30.0
    debug: bool = False

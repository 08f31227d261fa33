"""The options of ``delg-train`` and ``delg-train-reranker``. Imports nothing heavy."""

from dataclasses import dataclass

from delg.common.options import option

RELEASED_CLASSES = {"gld_v1": 14951, "gld_v2": 203094, "gld_v2_clean": 81313}


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training, with the released names and defaults; None in an option of the model means the preset's.

    An option is irrelevant where it does not change the weights, or where the run records what it stands for: files by
    their hashes, a recipe by its options, records by their fingerprint. A run continues only under the same relevant
    options.
    """

    config: str | None = option(
        None,
        "Recipe: delg_r50_gldv2clean, delg_r50_modern, finetune_r50, photos, or a Python file of your own "
        "with a dict CONFIG of options. Flags on the command line override the recipe.",
        irrelevant=True,
        subject="Data and output",
    )

    train_file_pattern: str | None = option(None, "Training shards, such as records/train*. Required.", irrelevant=True)
    validation_file_pattern: str | None = option(
        None, "Validation shards, such as records/validation*.", irrelevant=True
    )
    dataset_version: str | None = option(
        None,
        "Check that the records have as many classes as this set. (The records give the number itself.)",
        choices=tuple(RELEASED_CLASSES),
        irrelevant=True,
    )
    logdir: str | None = option(None, "Folder of checkpoints and TensorBoard summaries. Required.", irrelevant=True)
    output_model: str | None = option(None, "Folder of the trained model. Default: LOGDIR/model.", irrelevant=True)

    initial_lr: float = option(0.01, "Highest learning rate.", lower_bound=0.0, subject="Optimisation")
    batch_size: int = option(32, "Images per step.", lower_bound=1)
    max_iters: int = option(500_000, "Steps.", lower_bound=1)
    optimizer: str = option(
        "sgd(momentum=0.9)",
        "sgd(momentum=, nesterov=, weight_decay=) or adamw(weight_decay=, beta_1=, beta_2=, epsilon=), whose decay is "
        "multiplied by the learning rate; sgdw_addons(...) or adamw_addons(...), whose decay is not "
        "(tensorflow-addons); or module:Class of your own.",
    )
    schedule: str = option(
        "linear",
        "linear(warmup=) (released), cosine(warmup=) or constant(warmup=), warm-up in steps; or module:function of "
        "your own.",
    )
    clip_norm: float = option(10.0, "Largest global norm of the gradients.", lower_bound=1e-12)
    attention_loss_weight: float = option(1.0, "Weight of the attention loss.", lower_bound=0.0)
    reconstruction_loss_weight: float = option(10.0, "Weight of the reconstruction loss.", lower_bound=0.0)
    global_loss: str = option(
        "arcface",
        "Loss of the global descriptor: arcface (released), triplet_semihard(margin=, distance=, normalize=), "
        "contrastive(margin=, normalize=), npairs(scale=, normalize=), or module:function of your own, called with "
        "labels (B,) and descriptors (B, D), not normalised. Without arcface, the accuracy is that of the nearest "
        "neighbour in the batch, among images with another image of their class in the batch.",
    )
    classifier: str = option(
        "arcface",
        "Classifier of the global descriptor with --global_loss=arcface: arcface(margin=, scale=) (released), "
        "cosface(margin=), curricularface(margin=), adacos, whose scale adapts itself, or module:Class of your own.",
    )
    sample_rate: float = option(
        1.0,
        "Part of the classes that a step trains, for very many classes (PartialFC): the classes of its images and "
        "others drawn at random. Applies to both classifiers; needs --optimizer=sgd(...).",
        lower_bound=1e-6,
        upper_bound=1.0,
    )
    distribute: str = option(
        "auto",
        "Devices: auto (the machines of TF_CONFIG, else all GPUs), none (one device), mirrored (all GPUs of this "
        "machine; mirrored(logical_cpus=2) simulates devices on a processor) or multi_worker (TF_CONFIG names the "
        "machines; each runs this command with the same --logdir on a shared disk). --batch_size counts the images of "
        "all devices together.",
        irrelevant=True,
    )
    sync_batch_norm: bool = option(
        False,
        "Batch statistics over all devices; otherwise each device's own (released). On JAX they are always over all.",
    )
    mixed_precision: bool = option(
        False, "Compute in bfloat16; weights, poolings, classifiers and losses stay float32."
    )
    accumulate: int = option(1, "Compute every batch in so many parts, to need less memory.", lower_bound=1)
    freeze_batch_norm: bool = option(
        False,
        "Leave the batch normalisations of the backbone as they are: stored statistics, no training. For pretrained "
        "weights on few images.",
    )
    train_from: str | None = option(
        None,
        "Layer of the backbone, such as block7_expand_conv of efficientnet_lite2: layers before it are not trained, "
        "which saves time. Default: all are trained.",
    )
    freeze_backbone_steps: int = option(0, "Train only the heads for so many steps at the start.", lower_bound=0)
    moving_average_decay: float | None = option(
        None,
        "Keep a moving average of the weights, with this decay, such as 0.999. The averaged weights are validated and "
        "written as the model.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    moving_average_start: int = option(0, "Step at which the averaging begins.", lower_bound=0)
    moving_average_dynamic: bool = option(
        False, "Average less at the start: the decay is at most (1 + n) / (10 + n) at step n."
    )
    seed: int = option(0, "Seed of the weights, the order and the augmentation.", lower_bound=0)
    deterministic: bool = option(
        False,
        "Use operations that give the same bits in every run, slower on a GPU. A run that was killed and continued "
        "then ends with exactly the weights of an uninterrupted run.",
    )

    image_size: int = option(321, "Side of the training images in pixels.", lower_bound=1, subject="Training images")
    use_augmentation: bool = option(True, "Augment the training images.")
    augment: str | None = option(
        None,
        "Augmentation: crop(min_area=, ...), flip(p=), color_jitter(...), random_erasing(p=, ...), "
        "rotate(degrees=, ...), cutout(size=, ...), gaussian_blur(max_sigma=, ...), hsv_jitter(...), separated by "
        "commas and applied in that order; crop is always first. Default: crop (released).",
    )
    keep_aspect: bool = option(
        False, "Resize without changing the aspect ratio, and fill the square with grey (released: false)."
    )
    cache: bool | None = option(None, "Decode every photo once and keep it in memory. Default: when 2 GiB are enough.")
    shuffle_buffer: int = option(1024, "Records shuffled at once when not cached (released: 100).", lower_bound=1)
    benchmark_input: bool = option(
        False, "First measure the input pipeline alone; without --logdir, stop after that.", irrelevant=True
    )

    preset: str = option(
        "delg_r50", "Model: delg_r50, delg_r101, delg_small, cvnet_r50, delg_pytorch_r50 and others.", subject="Model"
    )
    block3_strides: bool | None = option(
        None, "Thin the local feature map by 2. Default: the preset's, else true (released)."
    )
    delg_global_features: bool = option(
        True, "Train the global head (released: false); only true is supported.", irrelevant=True
    )
    delg_gem_power: float | None = option(
        None, "Power of GeM pooling. Default: the preset's (released: 3.0).", lower_bound=1e-3
    )
    delg_embedding_layer_dim: int | None = option(
        None, "Length of the global descriptor. Default: the preset's (released: 2048).", lower_bound=1
    )
    delg_scale_factor_init: float | None = option(
        None, "Factor of the cosines. Default: the preset's (released: 45.25).", lower_bound=1e-3
    )
    delg_arcface_margin: float | None = option(
        None, "Angular margin in radians. Default: the preset's (released: 0.1).", lower_bound=0.0, upper_bound=3.1
    )
    local_head: str | None = option(
        None,
        "Local head: delg, delg(stop_gradient=False), whose losses then train the backbone too, delg_pytorch, or "
        "module:Class of your own. Default: the preset's (released: delg).",
    )
    use_autoencoder: bool = option(True, "Learn short local descriptors with an autoencoder.")
    autoencoder_dimensions: int | None = option(
        None, "Length of the local descriptors. Default: the preset's (released: 128).", lower_bound=1
    )
    local_feature_map_channels: int | None = option(
        None,
        "Check that the local feature map has so many channels (released: 1024). The backbone decides the number.",
        irrelevant=True,
    )
    init_model: str | None = option(
        None,
        "Model to start from, for fine-tuning: a model folder, such as one of delg-convert, or published weights, "
        "efficientnet_lite2 or hf://org/name; its architecture and all its weights except those of the classifiers. "
        "Overrides --preset.",
        irrelevant=True,
    )
    imagenet_checkpoint: str | None = option(
        None,
        "Keras .h5 file of ImageNet weights for the backbone, as delg-fetch downloads it: resnet50_imagenet, "
        "resnet101_imagenet, squeezenet_imagenet.",
        irrelevant=True,
    )
    whitening_init: str = option(
        "random",
        "Start of the whitening layer: random (released), or the PCA whitening of the first images, which learns "
        "faster.",
        choices=("random", "pca"),
    )

    report_interval: int = option(
        100, "Steps between TensorBoard summaries.", lower_bound=1, irrelevant=True, subject="Reports"
    )
    eval_interval: int = option(1000, "Steps between validations.", lower_bound=1, irrelevant=True)
    retrieval_dir: str | None = option(
        None,
        "Photos, one folder for each instance. Their mAP is measured every --retrieval_interval steps, and LOGDIR/best "
        "keeps the best model.",
        irrelevant=True,
    )
    retrieval_queries_dir: str | None = option(
        None, "Queries for --retrieval_dir. Default: every photo of it in turn.", irrelevant=True
    )
    retrieval_interval: int | None = option(
        None, "Steps between retrieval measurements. Default: --eval_interval.", lower_bound=1, irrelevant=True
    )
    save_interval: int = option(1000, "Steps between checkpoints.", lower_bound=1, irrelevant=True)
    save_seconds: float = option(30.0, "Most seconds between checkpoints.", lower_bound=0.0, irrelevant=True)
    debug: bool = option(
        False, "Run eagerly: 100 steps of 4 images, one validation batch, a checkpoint at every step.", irrelevant=True
    )


@dataclass(frozen=True)
class TrainRerankerOptions:
    """Options of ``delg-train-reranker``."""

    features_dir: str | None = option(None, "Features of labelled photos; the first folder of a name is the class.")
    output: str | None = option(None, "File of the weights, such as elvis.safetensors.")
    epochs: int = option(10, "Passes over the photos.", lower_bound=1)
    batch_size: int = option(32, "Triplets of a step; published: 200.", lower_bound=1)
    features: int = option(
        200,
        "Largest number of local features of an image; each batch has a random number from half of it.",
        lower_bound=1,
    )
    initial_lr: float = option(2e-3, "Largest learning rate; published: 0.0005.", lower_bound=0)
    weight_decay: float = option(5e-4, "Share of the weights that a step takes off, times the rate.", lower_bound=0)
    seed: int = option(0, "Of the start, the triplets and the lengths.", lower_bound=0)

"""Trains a DELG model on records made by delg-records and writes it as a model folder.

The flags carry the names and defaults of the released training; the number of classes comes from the records. An
interrupted run is continued by the same command; a finished one is not repeated.

delg-train --train_file_pattern='records/train*' --validation_file_pattern='records/validation*' --logdir=run
"""

from typing import Any

from absl import flags

from training.options import TrainOptions

FLAGS = flags.FLAGS
_DEFAULT = TrainOptions()


def _define(kind: str, name: str, help_text: str, **bounds: float) -> None:
    """Defines a flag of an option; the option holds the default."""
    getattr(flags, f"DEFINE_{kind}")(name, getattr(_DEFAULT, name), help_text, **bounds)


flags.DEFINE_string(
    "config",
    None,
    "Recipe: delg_r50_gldv2clean, delg_r50_modern, finetune_r50, squeezenet_photos, or a Python file of your own with "
    "a dict CONFIG of options. Flags that are given go before it.",
)

# Data and places.
_define("string", "train_file_pattern", "Training shards, such as records/train*. Required.")
_define("string", "validation_file_pattern", "Validation shards, such as records/validation*.")
flags.DEFINE_enum(
    "dataset_version",
    _DEFAULT.dataset_version,
    ["gld_v1", "gld_v2", "gld_v2_clean"],
    "Refuse records whose number of classes is not that of this set. (The number itself comes from the records.)",
)
_define("string", "logdir", "Folder of checkpoints and TensorBoard summaries. Required.")
_define("string", "output_model", "Folder of the trained model. Default: LOGDIR/model.")

# Optimisation.
_define("float", "initial_lr", "Highest learning rate.", lower_bound=0.0)
_define("integer", "batch_size", "Images per step.", lower_bound=1)
_define("integer", "max_iters", "Steps.", lower_bound=1)
_define(
    "string",
    "optimizer",
    "sgd(momentum=, nesterov=, weight_decay=) or adamw(weight_decay=, beta_1=, beta_2=, epsilon=), whose decay is "
    "multiplied by the learning rate; sgdw_addons(...) or adamw_addons(...), whose decay is not (tensorflow-addons).",
)
_define("string", "schedule", "linear(warmup=) (released), cosine(warmup=) or constant(warmup=); warm-up in steps.")
_define("float", "clip_norm", "Largest global norm of the gradients.", lower_bound=1e-12)
_define("float", "attention_loss_weight", "Weight of the attention loss.", lower_bound=0.0)
_define("float", "reconstruction_loss_weight", "Weight of the reconstruction loss.", lower_bound=0.0)
_define(
    "string",
    "global_loss",
    "Loss of the global descriptor: arcface (released), triplet_semihard(margin=, distance=, normalize=), "
    "contrastive(margin=, normalize=), npairs(scale=, normalize=), or module:function of your own, called with labels "
    "(B,) and descriptors (B, D), not normalised. Without arcface, the accuracy is that of the nearest neighbour in "
    "the batch, among images whose class is there twice.",
)
_define(
    "string",
    "classifier",
    "Classifier of the global descriptor with --global_loss=arcface: arcface(margin=, scale=) (released), "
    "cosface(margin=), curricularface(margin=) or adacos, whose scale adapts itself.",
)
_define(
    "float",
    "sample_rate",
    "Part of the classes that a step trains, for very many classes (PartialFC): those of its images and others drawn "
    "at random. Of both classifiers; needs --optimizer=sgd(...).",
    lower_bound=1e-6,
    upper_bound=1.0,
)
_define(
    "string",
    "distribute",
    "Devices: auto (the machines of TF_CONFIG, else all GPUs), none (one device), mirrored (all GPUs of this machine; "
    "mirrored(logical_cpus=2) tries it out on a processor) or multi_worker (TF_CONFIG names the machines; each runs "
    "this command with the same --logdir on a shared disk). --batch_size is that of all devices together.",
)
_define(
    "bool",
    "sync_batch_norm",
    "Batch statistics over all devices; otherwise each device's own (released). On JAX they are always over all.",
)
_define("bool", "mixed_precision", "Compute in bfloat16; weights, poolings, classifiers and losses stay float32.")
_define("integer", "accumulate", "Compute every batch in so many parts, to need less memory.", lower_bound=1)
_define("integer", "freeze_backbone_steps", "Train the heads only for so many steps at the start.", lower_bound=0)
_define(
    "float",
    "moving_average_decay",
    "Keep a moving average of the weights, such as 0.999; it is what is validated and written as the model.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_define("integer", "moving_average_start", "Step at which the averaging begins.", lower_bound=0)
_define("bool", "moving_average_dynamic", "Average little at first: decay at most (1 + n) / (10 + n) at step n.")
_define("integer", "seed", "Seed of the weights, the order and the augmentation.", lower_bound=0)
_define(
    "bool",
    "deterministic",
    "Operations that give the same bits at every run, slower on a GPU: a run that was killed and continued then ends "
    "with exactly the weights of an uninterrupted one.",
)

# Images.
_define("integer", "image_size", "Side of the training images in pixels.", lower_bound=1)
_define("bool", "use_augmentation", "Augment the training images.")
_define(
    "string",
    "augment",
    "The augmentation: crop(min_area=, ...), flip(p=), color_jitter(...), random_erasing(p=, ...), "
    "rotate(degrees=, ...), cutout(size=, ...), gaussian_blur(max_sigma=, ...), hsv_jitter(...), joined by commas and "
    "done in that order, but for crop, which is always first. Default: crop, the released one.",
)
_define(
    "bool",
    "keep_aspect",
    "Resize without changing the ratio of width and height, and fill the square with grey (released: false).",
)
_define("bool", "cache", "Decode every photo once and keep it in memory. Default: when 2 GiB are enough.")
_define("integer", "shuffle_buffer", "Records shuffled at once when not cached (released: 100).", lower_bound=1)
_define("bool", "benchmark_input", "Measure the input pipeline alone first; without --logdir, do no more.")

# Model: what is not given is the preset's choice.
_define("string", "preset", "Model: delg_r50, delg_r101, delg_small, cvnet_r50, delg_pytorch_r50 and others.")
_define("bool", "block3_strides", "Thin the local feature map by 2. Default: the preset's, else true (released).")
_define("bool", "delg_global_features", "Train the global head (released: false); only true is supported.")
_define("float", "delg_gem_power", "Power of GeM pooling. Default: the preset's (released: 3.0).", lower_bound=1e-3)
_define(
    "integer",
    "delg_embedding_layer_dim",
    "Length of the global descriptor. Default: the preset's (released: 2048).",
    lower_bound=1,
)
_define(
    "float",
    "delg_scale_factor_init",
    "Factor of the cosines. Default: the preset's (released: 45.25).",
    lower_bound=1e-3,
)
_define(
    "float",
    "delg_arcface_margin",
    "Angular margin in radians. Default: the preset's (released: 0.1).",
    lower_bound=0.0,
    upper_bound=3.1,
)
_define(
    "string",
    "local_head",
    "Local head: delg, delg(stop_gradient=False), whose losses then train the backbone too, or delg_pytorch. Default: "
    "the preset's (released: delg).",
)
_define("bool", "use_autoencoder", "Learn short local descriptors with an autoencoder.")
_define(
    "integer",
    "autoencoder_dimensions",
    "Length of the local descriptors. Default: the preset's (released: 128).",
    lower_bound=1,
)
_define(
    "integer",
    "local_feature_map_channels",
    "Channels of the local feature map. The backbone decides; a given value is checked (released: 1024).",
)
_define(
    "string",
    "init_model",
    "Model folder to begin with, such as one of delg-convert, for fine-tuning: its architecture and all its weights "
    "but the classifiers'; what --preset says has no meaning then.",
)
_define(
    "string",
    "imagenet_checkpoint",
    "Keras .h5 file of ImageNet weights for the backbone, such as delg-fetch brings: resnet50_imagenet, "
    "resnet101_imagenet, squeezenet_imagenet.",
)
flags.DEFINE_enum(
    "whitening_init",
    _DEFAULT.whitening_init,
    ["random", "pca"],
    "Start of the whitening layer: random (released), or the PCA whitening of the first images, which learns faster.",
)

# Reports.
_define("integer", "report_interval", "Steps between TensorBoard summaries.", lower_bound=1)
_define("integer", "eval_interval", "Steps between validations.", lower_bound=1)
flags.DEFINE_string(
    "retrieval_dir",
    None,
    "Photos, a folder for each instance: every --retrieval_interval steps their mAP is measured; the best model so far "
    "is kept in LOGDIR/best.",
)
flags.DEFINE_string("retrieval_queries_dir", None, "Queries of --retrieval_dir; without it every photo is one in turn.")
_define("integer", "retrieval_interval", "Steps between these. Default: --eval_interval.", lower_bound=1)
_define("integer", "save_interval", "Steps between checkpoints.", lower_bound=1)
_define("float", "save_seconds", "A checkpoint at least so often, in seconds.", lower_bound=0.0)
_define("bool", "debug", "Eager, batch of 4, 100 steps, one validation batch, a checkpoint at every step.")


def main() -> None:
    """Turns the flags into options and trains."""
    from dataclasses import fields

    from training.job import run

    values: dict[str, Any] = {field.name: FLAGS[field.name].value for field in fields(TrainOptions)}
    if FLAGS.config:
        values |= _of_recipe(values)
    if values["init_model"] and FLAGS["preset"].present:
        _check_same_backbone(values["init_model"], values["preset"])
    run(TrainOptions(**values), _retrieval_check())


def _of_recipe(known: dict[str, Any]) -> dict[str, Any]:
    """The options of the recipe that no flag decides, checked as flags are."""
    from delg.common.errors import InputError
    from training.recipes import read_recipe

    recipe, found = read_recipe(FLAGS.config), {}
    for name, value in recipe.options.items():
        if name not in known:
            raise InputError(f"The recipe {FLAGS.config} has the unknown option {name!r}.")
        if FLAGS[name].present:
            continue
        try:
            found[name] = FLAGS[name].parser.parse(value)
        except (ValueError, TypeError) as error:
            raise InputError(f"The recipe {FLAGS.config}: {name}={value!r}: {error}") from error
    begun = any(found.get(name) or FLAGS[name].value for name in ("init_model", "imagenet_checkpoint"))
    if recipe.pretrained and not begun and not FLAGS["imagenet_checkpoint"].present:
        raise InputError(
            f"The recipe {FLAGS.config} begins with pretrained weights, and neither --imagenet_checkpoint nor "
            f"--init_model names them: {recipe.pretrained}. --imagenet_checkpoint= (empty) begins with random ones."
        )
    return found


def _check_same_backbone(folder: str, preset: str) -> None:
    """A preset beside ``init_model`` must be of its architecture, which is the one that is trained."""
    from delg.common.errors import InputError
    from delg.presets import preset_config
    from delg.saving import model_config

    backbones = [model_config(folder).get("backbone"), preset_config(preset)["backbone"]]
    if backbones[0] != backbones[1]:
        raise InputError(
            f"--init_model={folder} has the backbone {backbones[0]}, and --preset={preset} has {backbones[1]}; leave "
            "--preset out to train the model of the folder."
        )


def _retrieval_check() -> Any:
    """What measures retrieval during the training, where it is asked for; complains before any work."""
    from delg.common.errors import InputError

    if not FLAGS.retrieval_dir:
        if FLAGS.retrieval_queries_dir:
            raise InputError("--retrieval_queries_dir needs --retrieval_dir.")
        return None
    from evaluation.in_training import RetrievalCheck

    return RetrievalCheck(FLAGS.retrieval_dir, FLAGS.retrieval_queries_dir, FLAGS.image_size)

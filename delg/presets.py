"""Named models: the released sizes of DELG, CVNet, SuperGlobal and DELG in PyTorch, and two small enough for a CPU.

A ``superglobal_*`` model is the ``cvnet_*`` model of the same weights with SuperGlobal's extraction. The scales of the
global descriptor of ``delg_pytorch_*`` are DELG's: its released extractor is for local features.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from delg.common.errors import InputError
from delg.common.spec import Table, factory_of

if TYPE_CHECKING:
    from delg.model import Delg

RELEASED_EXTRACTION = {
    "image_scales": [0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0],
    "global_scales_ind": [3, 4, 5],
    "max_image_size": 1024,
    "max_feature_num": 1000,
}

_THREE_SCALES = {
    "image_scales": [0.7071, 1.0, 1.4142],
    "global_scales_ind": [0, 1, 2],
    "max_image_size": -1,
    "crop_rule": "truncate",
}
CVNET_EXTRACTION = _THREE_SCALES | {"scale_rule": "cvnet", "scale_pooling": "sum"}
SUPERGLOBAL_EXTRACTION = _THREE_SCALES | {
    "scale_rule": "superglobal",
    "scale_pooling": "scale_gem",
    "gem_plus": True,
    "regional_gem": True,
    "relup": True,
    "normalize_pooled": True,
}
SMALL_EXTRACTION = {
    "image_scales": [0.8408964, 1.1892071, 1.6817929],
    "global_scales_ind": [0, 1],
    "max_image_size": 384,
    "max_feature_num": 500,
}
_PYTORCH = {
    "local_head": "delg_pytorch",
    "embedding_dim": 512,
    "arcface_margin": 0.15,
    "arcface_scale": 30.0,
    "extraction": {
        "image_scales": [0.25, 0.3535, 0.5, 0.7071, 1.0, 1.4142, 2.0],
        "global_scales_ind": [3, 4, 5],
        "max_image_size": -1,
        "max_feature_num": 1000,
    },
}


def _symmetric(depth: int, **others: Any) -> dict[str, Any]:
    """What the models trained with PyTorch share."""
    return {
        "backbone": f"resnet{depth}(convention='symmetric')",
        "pooling": "gem(p=3.0, learned=True)",
        "normalization": "imagenet_bgr",
        "block3_strides": False,
        "local_dim": None,
        **others,
    }


def _efficientnet_lite(variant: int) -> dict[str, Any]:
    """A network with ImageNet weights that finds images as it is: no whitening, no local features."""
    return {
        "backbone": f"efficientnet_lite(variant={variant})",
        "normalization": "efficientnet_lite",
        "block3_strides": False,
        "embedding_dim": None,
        "local_dim": None,
        "local_head": None,
        "extraction": {
            "image_scales": [0.5, 0.75, 1.0],
            "global_scales_ind": [0, 1, 2],
            "max_image_size": 512,
            "scale_rule": "long_side",
        },
    }


PRESETS: dict[str, dict[str, Any]] = {
    "delg_r50": {"backbone": "resnet50", "extraction": RELEASED_EXTRACTION},
    "delg_r101": {"backbone": "resnet101", "extraction": RELEASED_EXTRACTION},
    "cvnet_r50": _symmetric(50, local_head=None, extraction=CVNET_EXTRACTION),
    "cvnet_r101": _symmetric(101, local_head=None, extraction=CVNET_EXTRACTION),
    "superglobal_r50": _symmetric(50, local_head=None, extraction=SUPERGLOBAL_EXTRACTION),
    "superglobal_r101": _symmetric(101, local_head=None, extraction=SUPERGLOBAL_EXTRACTION),
    "delg_pytorch_r50": _symmetric(50, **_PYTORCH),
    "delg_pytorch_r101": _symmetric(101, **_PYTORCH),
    "delg_squeezenet": {
        "backbone": "squeezenet",
        "block3_strides": False,
        "embedding_dim": 256,
        "local_dim": 64,
        "attention_channels": 96,
        "arcface_margin": 0.05,
        "arcface_scale": 24.0,
        "extraction": SMALL_EXTRACTION,
    },
    "delg_small": {
        "backbone": "resnet_small",
        "block3_strides": False,
        "embedding_dim": 256,
        "local_dim": 64,
        "attention_channels": 96,
        "arcface_margin": 0.05,
        "arcface_scale": 24.0,
        "extraction": SMALL_EXTRACTION,
    },
    **{f"efficientnet_lite{variant}": _efficientnet_lite(variant) for variant in range(3)},
}

PRETRAINED: Table = {
    f"efficientnet_lite{variant}": "delg.importers.efficientnet_lite:efficientnet_lite" for variant in range(3)
}
"""The presets with published weights, and the reader of their file in :data:`delg.weights.catalogue.WEIGHTS`."""


def preset_config(name: str) -> dict[str, Any]:
    """The arguments of :class:`delg.model.Delg` that a preset stands for.

    Raises:
      InputError: there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"Unknown preset {name!r}; the choices are {', '.join(PRESETS)}.")
    return dict(PRESETS[name])


def create(name: str, num_classes: int | None = None, seed: int = 0, **overrides: Any) -> "Delg":
    """Builds a model of this package by its name, with random weights; :func:`delg.load` reads trained ones.

    Args:
      name: one of :data:`PRESETS`.
      num_classes: classes of the training set; None for a model without classifiers.
      seed: of the initial weights (this sets Keras' global seed).
      **overrides: arguments of :class:`delg.model.Delg` that replace the preset's.

    Raises:
      InputError: unknown preset or a bad argument.
    """
    config = preset_config(name) | {"num_classes": num_classes} | overrides
    import keras

    from delg.model import Delg

    keras.utils.set_random_seed(seed)
    return Delg(**config)


def from_preset(
    name: str, num_classes: int | None = None, seed: int = 0, weights: str | None = None, **overrides: Any
) -> "Delg":
    """Builds a model of this package by its name, with published weights, which are fetched once.

    Args:
      name: one of :data:`PRETRAINED`.
      num_classes: classes of a training set; None for a model without classifiers.
      seed: of the weights that are not published (this sets Keras' global seed).
      weights: a file of such weights, or their name in the catalogue; None for those of the preset.
      **overrides: arguments of :class:`delg.model.Delg` that replace the preset's.

    Raises:
      InputError: a preset without published weights, a bad argument, or weights that do not fit the model.
      delg.weights.UnavailableError: the weights cannot be had here and now.

    Example:
      >>> model = from_preset("efficientnet_lite2")  # doctest: +SKIP
      >>> model(model.normalize(images))["global_descriptor"].shape  # doctest: +SKIP
      (1, 1280)
    """
    if name not in PRETRAINED:
        raise InputError(
            f"There are no published weights for the preset {name!r}; the choices are {', '.join(PRETRAINED)}. "
            "delg.create(name) makes a model with random weights, delg.load(folder) reads a trained one."
        )
    from delg.importers.strict import assign
    from delg.weights import path

    file = path(weights or name)
    model = create(name, num_classes, seed, **overrides)
    assign(replace(factory_of(name, PRETRAINED, "preset")(file), preset=name), model)
    return model

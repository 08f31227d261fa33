"""Named models: the released sizes of DELG and others, two small enough for a CPU, and DINOv2, DINOv3 and SigLIP 2.

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


SATELLITE = "sat493m"  # in the names of models of DINOv3 that were trained on satellite images
_SIGLIP2 = {  # image sizes by size of the model and side of a patch
    ("base", 16): (224, 256, 384, 512),
    ("base", 32): (256,),
    ("large", 16): (256, 384, 512),
    ("so400m", 14): (224, 384),
    ("so400m", 16): (256, 384, 512),
    ("giant", 16): (256, 384),
}


def _foundation(backbone: str, patch: int, image_size: int, interpolation: str, **others: Any) -> dict[str, Any]:
    """A published transformer under heads without weights: whole patches of an image that is not enlarged."""
    return {
        "backbone": backbone,
        "pooling": "class_token",
        "normalization": "imagenet",
        "block3_strides": False,
        "embedding_dim": None,
        "local_dim": None,
        "local_head": "tokens",
        "extraction": {
            "image_scales": [1.0],
            "global_scales_ind": [0],
            "max_image_size": image_size,
            "max_feature_num": 1000,
            "side_multiple": patch,
            "interpolation": interpolation,
        },
        **others,
    }


def _dinov2() -> dict[str, dict[str, Any]]:
    return {
        f"dinov2_{size}{ending}": _foundation(f"dinov2(size={size!r}, registers={registers})", 14, 518, "bicubic")
        for size in ("small", "base", "large", "giant")
        for ending, registers in (("", 0), ("_registers", 4))
    }


def _dinov3() -> dict[str, dict[str, Any]]:
    sizes = ("s16", "s16plus", "b16", "l16", "l16plus", "h16plus", "7b16")
    models = {f"dinov3_{size}": _foundation(f"dinov3(size={size!r})", 16, 512, "float_bilinear") for size in sizes}
    satellite = {f"dinov3_{size}_{SATELLITE}": models[f"dinov3_{size}"] for size in ("l16", "7b16")}
    return models | {name: model | {"normalization": "satellite"} for name, model in satellite.items()}


def _siglip2() -> dict[str, dict[str, Any]]:
    heads = {"base": (12, 3072), "large": (16, 4096), "so400m": (16, 4304), "giant": (16, 6144)}  # and hidden width
    models = {}
    for (size, patch), sides in _SIGLIP2.items():
        pooling = f"attention(heads={heads[size][0]}, hidden={heads[size][1]})"
        others = {"pooling": pooling, "normalization": "signed", "local_head": "tokens(score='norm')"}
        for side in sides:
            text = f"siglip(size={size!r}, grid={side // patch}, patch={patch})"
            models[f"siglip2_{size}_p{patch}_{side}"] = _foundation(text, patch, side, "bilinear", **others)
    return models


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
    "squeezenet": {
        "backbone": "squeezenet",
        "block3_strides": False,
        "embedding_dim": None,
        "local_dim": None,
        "local_head": None,
        "extraction": {
            "image_scales": [1.0],
            "global_scales_ind": [0],
            "max_image_size": 384,
            "min_image_size": 384,  # objects are best recognised at one size: small photos are enlarged
        },
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
    **_dinov2(),
    **_dinov3(),
    **_siglip2(),
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

"""Extraction configurations of the released programs (``DelfConfig``) as options of our extractors, and back."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from extraction.config import SWITCHES
from extraction.images import EXIF
from extraction.pca import NO_PCA, Pca, Projections, load_pca
from protos.configs import read_delf_config
from protos.delf_config_pb2 import DelfConfig, DelfPcaParameters

Place = str | os.PathLike[str]
RELEASED: dict[str, Any] = {  # fixed in the released programs
    "scale_rule": "delg",
    "scale_pooling": "sum",
    "keypoints": "released",
    "crop_rule": "round",
    "exif": EXIF["ignore"],
    **dict.fromkeys((*SWITCHES, "antialias"), False),
}


@dataclass(frozen=True, eq=False)
class ExtractionRequest:
    """The extraction that a configuration asks for.

    Attributes:
      model: path of the model; empty where the file names none.
      options: arguments of the extractor, such as ``image_scales`` and ``max_image_size``.
      projections: PCA of the descriptors.
      heads: which features; None for all that the model gives.
    """

    model: str
    options: dict[str, Any]
    projections: Projections
    heads: tuple[str, ...] | None


NO_REQUEST = ExtractionRequest("", {}, NO_PCA, None)


def read_request(path: Place) -> ExtractionRequest:
    """Reads a configuration.

    Fields that the file leaves out have their released defaults: local features only, PCA on, attention of at least
    100, no limit of the image size. ``layer_name``, ``iou_threshold`` and ``is_tf2_exported`` have no effect: no
    released program reads the first two, and a SavedModel knows its signature. Without local features, only the scales
    of the global descriptor are run. Relative paths start in the current folder, as released, or else in the file's.

    Args:
      path: the text file.

    Raises:
      InputError: the file is wrong or asks for no features, or PCA is on and its files are not named or wrong.
    """
    config = read_delf_config(path)
    where = os.fspath(path)
    heads = ("global",) * config.use_global_features + ("local",) * config.use_local_features
    if not heads:
        raise InputError(f"{where}: neither use_local_features nor use_global_features is true.")
    local, global_ = config.delf_local_config, config.delf_global_config
    projections = Projections(
        _pca(global_.pca_parameters, where, "delf_global_config") if "global" in heads and global_.use_pca else None,
        _pca(local.pca_parameters, where, "delf_local_config") if "local" in heads and local.use_pca else None,
    )
    model = os.fspath(_located(config.model_path, where)) if config.model_path else ""
    return ExtractionRequest(model, _scales(config, where) | _limits(config), projections, heads)


def _scales(config: DelfConfig, where: str) -> dict[str, Any]:
    """``image_scales`` and ``global_scales_ind``; the model's where the lists are empty."""
    scales = [short(scale) for scale in config.image_scales]
    if not scales:
        return {}
    indices = list(config.delf_global_config.image_scales_ind) or list(range(len(scales)))
    if not config.use_global_features:
        return {"image_scales": scales}
    if not all(0 <= i < len(scales) for i in indices):
        raise InputError(f"{where}: image_scales_ind expects 0 to {len(scales) - 1}. Received: {indices}")
    if not config.use_local_features:
        scales = [scales[i] for i in sorted(set(indices))]
        indices = list(range(len(scales)))
    return {"image_scales": scales, "global_scales_ind": indices}


def _limits(config: DelfConfig) -> dict[str, Any]:
    options: dict[str, Any] = {"max_image_size": config.max_image_size}
    if config.min_image_size != -1:
        options["min_image_size"] = config.min_image_size
    if config.use_square_images:
        options["use_square_images"] = True
    if config.use_local_features:
        options["max_feature_num"] = config.delf_local_config.max_feature_num
        options["score_threshold"] = short(config.delf_local_config.score_threshold)
        if config.delf_local_config.use_resized_coordinates:
            options["use_resized_coordinates"] = True
    return options


def short(number: float) -> float:
    """The shortest decimal of a float32: 0.70710677 for 0.7071067690849304."""
    return float(str(np.float32(number)))


def _located(path: str, where: str) -> Path:
    """A path of a configuration: from the current folder, or else from the folder of the configuration."""
    beside = Path(where).parent / path
    return beside if beside.exists() and not Path(path).exists() else Path(path)


def _pca(parameters: DelfPcaParameters, where: str, part: str) -> Pca:
    needed = ["mean_path", "projection_matrix_path", "pca_dim"]
    needed += ["pca_variances_path"] if parameters.use_whitening else []
    absent = [name for name in needed if not getattr(parameters, name)]
    if absent:
        raise InputError(
            f"{where}: {part} asks for PCA (use_pca is true unless it is set to false), but pca_parameters lack "
            f"{', '.join(absent)}."
        )
    files = [_located(path, where) for path in (parameters.mean_path, parameters.projection_matrix_path)]
    variances = os.fspath(_located(parameters.pca_variances_path, where)) if parameters.use_whitening else None
    return load_pca(os.fspath(files[0]), os.fspath(files[1]), parameters.pca_dim, variances)


def to_config(settings: dict[str, Any], model: str, heads: Sequence[str]) -> DelfConfig:
    """The configuration that makes a released program extract as our extractor did.

    Args:
      settings: of the extractor.
      model: path of the model, for the file.
      heads: which features.

    Returns:
      The message; PCA is off.

    Raises:
      InputError: the extractor has no scales, such as ``rootsift``, has a PCA, or differs from the released programs.
    """
    if not settings.get("image_scales") or {"global_pca", "local_pca"} & settings.keys():
        raise InputError(
            f"The extractor {settings.get('extractor')!r} cannot be written as a DelfConfig: it has no scales or a PCA."
        )
    unreleased = [name for name, value in RELEASED.items() if settings.get(name) not in (None, value)]
    if unreleased:
        raise InputError(f"A DelfConfig cannot express the present {', '.join(unreleased)}.")
    config = DelfConfig(model_path=model, image_scales=settings["image_scales"])
    config.is_tf2_exported = settings.get("signature") != "tensors"
    config.max_image_size, config.min_image_size = settings["max_image_size"], settings.get("min_image_size", -1)
    config.use_square_images = bool(settings.get("use_square_images"))
    config.use_local_features, config.use_global_features = "local" in heads, "global" in heads
    config.delf_local_config.use_pca = config.delf_global_config.use_pca = False
    config.delf_local_config.max_feature_num = settings.get("max_feature_num") or 1000
    config.delf_local_config.score_threshold = settings.get("score_threshold") or 0.0
    if settings.get("use_resized_coordinates"):
        config.delf_local_config.use_resized_coordinates = True
    config.delf_global_config.image_scales_ind.extend(settings.get("global_scales_ind") or [])
    return config

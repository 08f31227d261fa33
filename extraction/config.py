"""How a model is applied to an image: the hyper-parameters of extraction, checked."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from delg.common.errors import InputError
from extraction.images import CROP_RULES
from extraction.resize import INTERPOLATIONS
from extraction.runtimes.table import check_runtime
from extraction.scale_pooling import build_scale_pooling
from extraction.scaling import SCALE_RULES

KEYPOINTS = ("centre", "released")
MAX_SCALE = 16
CHOICES: dict[str, Iterable[str]] = {
    "keypoints": KEYPOINTS,
    "scale_rule": SCALE_RULES,
    "crop_rule": CROP_RULES,
    "interpolation": INTERPOLATIONS,
}
MATCHING: Mapping[str, Any] = {"mutual": True, "residual_share": 0.02, "one_per_place": True}
"""Arguments of ``ransac`` that suit local features of a model: 20 of the released 1,024 pixels, in any photo."""
SWITCHES = ("gem_plus", "regional_gem", "relup", "stage1_inner_leak", "normalize_pooled")


@dataclass(frozen=True)
class ExtractionConfig:
    """How a model is applied to an image.

    Attributes:
      image_scales: factors on the sides of the image, or shares of ``max_image_size`` with the rule ``long_side``;
        local features come from all of them.
      global_scales_ind: which of them (indices, any order) the global descriptor is joined from.
      max_image_size: longest side in pixels before scaling; -1 for no limit.
      max_feature_num: local features kept of an image.
      score_threshold: least attention of a local feature; None for no threshold. Attention has no fixed range: the
        number belongs to one trained model (released: 175.0 of R50-GLD, 166.1 of R101-GLD, 454.6 of R50-GLDv2-clean,
        357.48 of R101-GLDv2-clean, 100.0 of DELF).
      keypoints: ``"centre"`` puts a keypoint at the centre of its receptive field; ``"released"`` at the released
        ``stride * index / scale``, which is 2 to 3 pixels of the scaled image up and to the left of it.
      min_image_size: a longest side below it is enlarged to it before scaling; -1 for no limit.
      gem_plus, regional_gem, relup, stage1_inner_leak, normalize_pooled: see :class:`delg.superglobal.Switches`; the
        model's own switches stay on.
      scale_pooling: how the scales are joined, a choice of :data:`extraction.scale_pooling.SCALE_POOLINGS`.
      scale_rule: how an image is brought to a scale, a choice of :data:`extraction.scaling.SCALE_RULES`.
      antialias: low-pass filter before shrinking; only for rules that resize the network's input.
      crop_rule: how a crop becomes whole pixels, a choice of :data:`extraction.images.CROP_RULES`.
      use_square_images: the image is brought to a square as long as its longest side before scaling.
      use_resized_coordinates: keypoints are in pixels of the image at scale 1, not of the image that was given; of
        official files alone (see :func:`extraction.formats.checks.check_coordinates`).
      runtime: a choice of :data:`extraction.runtimes.table.RUNTIMES`; None for Keras' backend.
      iou: a local feature whose box overlaps that of a better one by more is left out (see
        :func:`extraction.extractors.select.suppressed`); 1 keeps all.
      side_multiple: sides of an image at every scale are rounded to a multiple of so many pixels, such as the patch of
        a transformer, which does not read the rest of a side; only for rules that resize the network's input.
      interpolation: how an image is brought to scale 1, a choice of :data:`extraction.resize.INTERPOLATIONS`; images
        above 24 megapixels, which are shrunk while they are decoded, are always interpolated bilinearly.
      precision: of the network's arithmetic, a choice of :data:`extraction.runtimes.table.PRECISIONS`.

    Raises:
      InputError: a value is of the wrong kind, out of range, or no choice.
    """

    image_scales: tuple[float, ...]
    global_scales_ind: tuple[int, ...]
    max_image_size: int = 1024
    max_feature_num: int = 1000
    score_threshold: float | None = None
    keypoints: Literal["centre", "released"] = "centre"
    min_image_size: int = -1
    gem_plus: bool = False
    regional_gem: bool = False
    relup: bool = False
    stage1_inner_leak: bool = False
    normalize_pooled: bool | None = None
    scale_pooling: str = "sum"
    scale_rule: str = "delg"
    antialias: bool = False
    crop_rule: str = "round"
    use_square_images: bool = False
    use_resized_coordinates: bool = False
    runtime: str | None = None
    precision: str = "float32"
    iou: float = 1.0
    side_multiple: int = 1
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        self._take_numbers()
        check_limits(self.max_image_size, self.max_feature_num, self.min_image_size)
        for name in (*SWITCHES, "antialias", "use_square_images", "use_resized_coordinates"):
            value = getattr(self, name)
            if type(value) is not bool and not (name == "normalize_pooled" and value is None):
                raise InputError(f"{name} expects True or False. Received: {value!r}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"Unknown {name} {getattr(self, name)!r}; the choices are {', '.join(choices)}.")
        check_runtime(self.runtime, self.precision)
        if isinstance(self.iou, bool) or not isinstance(self.iou, int | float) or not 0 <= self.iou <= 1:
            raise InputError(f"iou expects a number from 0 to 1. Received: {self.iou!r}")
        build_scale_pooling(self.scale_pooling)
        if type(self.side_multiple) is not int or self.side_multiple < 1:
            raise InputError(f"side_multiple expects 1 or more. Received: {self.side_multiple!r}")
        if self.side_multiple > 1 and SCALE_RULES[self.scale_rule].on_pixels:
            raise InputError(
                f"side_multiple={self.side_multiple} cannot be combined with scale_rule={self.scale_rule!r}, which "
                "OpenCV interpolates."
            )
        if SCALE_RULES[self.scale_rule].long_side and not (self.max_image_size > 0 and max(self.image_scales) <= 1):
            raise InputError(
                f"scale_rule={self.scale_rule!r} expects a max_image_size and image_scales up to 1, its shares. "
                f"Received: max_image_size={self.max_image_size}, image_scales={list(self.image_scales)}"
            )
        if self.antialias and SCALE_RULES[self.scale_rule].on_pixels:
            raise InputError(
                f"antialias=True cannot be combined with scale_rule={self.scale_rule!r}, which OpenCV interpolates."
            )

    def _take_numbers(self) -> None:
        try:
            scales = tuple(float(scale) for scale in self.image_scales)
            indices = tuple(sorted({_whole(i) for i in self.global_scales_ind}))
            threshold = None if self.score_threshold is None else float(self.score_threshold)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"image_scales, global_scales_ind and score_threshold expect numbers: {error}") from error
        if threshold is not None and not math.isfinite(threshold):
            raise InputError(f"score_threshold expects a finite number. Received: {threshold}")
        object.__setattr__(self, "image_scales", scales)
        object.__setattr__(self, "global_scales_ind", indices)
        object.__setattr__(self, "score_threshold", threshold)
        if not scales or not all(0 < scale < MAX_SCALE for scale in scales):
            raise InputError(f"image_scales expects factors between 0 and {MAX_SCALE}. Received: {list(scales)}")
        if not indices or not all(0 <= i < len(scales) for i in indices):
            raise InputError(
                f"global_scales_ind expects indices from 0 to {len(scales) - 1} into image_scales. "
                f"Received: {list(indices)}"
            )

    def settings(self) -> dict[str, Any]:
        """Every field as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def check_limits(max_image_size: int, max_feature_num: int, min_image_size: int = -1) -> None:
    """Checks limits of an extractor.

    Raises:
      InputError: a limit is not a whole number, or out of range, or the limits of the image exclude all sizes.
    """
    for name, side in (("max_image_size", max_image_size), ("min_image_size", min_image_size)):
        if type(side) is not int or (side < 1 and side != -1):
            raise InputError(f"{name} expects 1 or more, or -1 for no limit. Received: {side!r}")
    if 0 < max_image_size < min_image_size:
        raise InputError(f"min_image_size {min_image_size} is above max_image_size {max_image_size}.")
    if type(max_feature_num) is not int or max_feature_num < 1:
        raise InputError(f"max_feature_num expects 1 or more. Received: {max_feature_num!r}")


def _whole(number: Any) -> int:
    """A whole number as int."""
    if int(number) != number:
        raise ValueError(f"expected whole numbers for global_scales_ind and not {number!r}")
    return int(number)


def fitted(defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A model's options, overridden by others.

    Where the overrides hold scales without ``global_scales_ind``, and the model's indices do not fit these, the global
    descriptor is joined from all scales.

    Args:
      defaults: options of the model, by their names in :class:`ExtractionConfig`.
      overrides: options that take precedence.
    """
    options = {**defaults, **overrides}
    if "image_scales" in overrides and "global_scales_ind" not in overrides:
        try:
            count = len(options["image_scales"])
            fits = all(0 <= i < count for i in options["global_scales_ind"])
        except (KeyError, TypeError):
            return options  # the configuration reports the error
        if not fits:
            options["global_scales_ind"] = list(range(count))
    return options


OPTIONS = tuple(field.name for field in fields(ExtractionConfig))

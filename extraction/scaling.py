"""The scales of an image: which runs of the network describe it, and how it is resized to each scale, by rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.images import Size

Tensor = Any


@dataclass(frozen=True)
class ScaleRule:
    """A rule for the size and the interpolation of a scaled image.

    Attributes:
      side: rounds a side in pixels, times the factor, to whole pixels.
      on_pixels: whether OpenCV resizes the uint8 image; otherwise the network's float32 input is resized.
      text: the rule in words, for the settings of a store.
      long_side: scales are shares of the longest side that the limit of the image allows, and enlarge nothing;
        otherwise they are factors on the image at scale 1. Scales that give one size count once.
    """

    side: Callable[[float], int]
    on_pixels: bool
    text: str
    long_side: bool = False

    def size(self, base: Size, factor: float) -> Size:
        """``(width, height)`` of an image times a factor; a side may become 0."""
        return self.side(base[0] * factor), self.side(base[1] * factor)

    def factors(self, scales: Sequence[float], base: Size, longest: float) -> list[float]:
        """The factor of each scale on the sides ``base`` at scale 1, where ``longest`` is the limit of the image."""
        if not self.long_side:
            return list(scales)
        return [min(1.0, scale * longest / max(base)) for scale in scales]

    def in_multiples(self, multiple: int) -> "ScaleRule":
        """The rule with sides rounded to a multiple of so many pixels."""
        side = self.side
        return self if multiple == 1 else replace(self, side=lambda length: multiple * round(side(length) / multiple))


SCALE_RULES = {
    "delg": ScaleRule(round, False, "bilinear, half-pixel centres"),
    "superglobal": ScaleRule(int, False, "bilinear, half-pixel centres, sides cut down to whole pixels"),
    "cvnet": ScaleRule(round, True, "opencv on the pixels, area below 1 and bilinear above"),
    "long_side": ScaleRule(round, True, "opencv on the pixels, area, to shares of max_image_size", long_side=True),
}
"""``delg`` (and DELG in PyTorch): sides rounded half to even; ``superglobal``: sides rounded down; ``cvnet``: OpenCV on
the pixels, area interpolation below 1, bilinear above 1, sides rounded half to even; ``long_side``: the same, and a
scale is the longest side as a share of ``max_image_size``, so that large and small photos are seen at one size."""


class Pyramid:
    """One image at any scale, as the network's input."""

    def __init__(
        self, image: NDArray[np.uint8], rule: ScaleRule, antialias: bool, normalize: Callable[[Tensor], Tensor]
    ) -> None:
        """Keeps the image.

        Args:
          image: ``(H, W, 3)`` uint8 RGB at scale 1.
          rule: of the size and the interpolation.
          antialias: low-pass filter before shrinking; only for rules that resize the network's input.
          normalize: ``(1, h, w, 3)`` RGB values in 0..255 to the network's input.
        """
        self._image, self._rule, self._antialias, self._normalize = image, rule, antialias, normalize
        self._input = None if rule.on_pixels else normalize(image[None])

    @property
    def base(self) -> Size:
        """``(width, height)`` at scale 1."""
        return self._image.shape[1], self._image.shape[0]

    def __call__(self, scale: float, size: Size) -> Tensor:
        """The network's input ``(1, h, w, 3)`` float32.

        Args:
          scale: factor on the sides.
          size: ``(width, height)`` of the result, the rule's own or a larger one.
        """
        if self._rule.on_pixels:
            return self._normalize(self._resized_pixels(scale, size)[None])
        if size == self.base:
            return self._input
        from keras import ops  # only here, so that the rules can be named without it

        how = {"interpolation": "bilinear", "antialias": self._antialias, "data_format": "channels_last"}
        return ops.image.resize(self._input, (size[1], size[0]), **how)

    def _resized_pixels(self, scale: float, size: Size) -> NDArray[np.uint8]:
        import cv2  # only here, so that the rules can be named without it

        if size == self.base:
            return self._image
        if size != self._rule.size(self.base, scale):
            return np.asarray(cv2.resize(self._image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = cv2.resize(self._image, None, fx=scale, fy=scale, interpolation=method)  # by factor, as released
        return np.asarray(pixels, np.uint8)


@dataclass(frozen=True)
class Pass:
    """One run of the network.

    Attributes:
      scale: factor on the sides of the image at scale 1.
      size: ``(width, height)`` of its input.
      heads: what is computed.
    """

    scale: float
    size: Size
    heads: tuple[str, ...]


def plan_passes(
    scales: Sequence[float],
    global_scales_ind: Sequence[int],
    base: Size,
    min_sides: Mapping[str, int],
    rule: ScaleRule = SCALE_RULES["delg"],
    *,
    longest: float = -1,
) -> list[Pass]:
    """The runs of the network for one image, in the order of the scales.

    Local features come from every scale, the global descriptor from some. A head leaves out a scale whose shorter side
    is below the smallest side that the head accepts. A head that would have no scale gets its largest scale with the
    sides raised to the smallest side, so that every image of one pixel or more is described.

    Args:
      scales: factors, or shares of ``longest``, as the rule has it.
      global_scales_ind: indices of the scales of the global descriptor.
      base: ``(width, height)`` at scale 1.
      min_sides: smallest side that each head of the model, ``"global"`` or ``"local"``, accepts.
      rule: gives the sizes.
      longest: the longest side that the limit of the image allows, in pixels.
    """
    factors = rule.factors(scales, base, longest)
    sizes = [rule.size(base, factor) for factor in factors]
    scales_of = {"global": sorted(set(global_scales_ind)), "local": list(range(len(scales)))}
    heads: dict[int, list[str]] = {i: [] for i in range(len(scales))}
    for head in ("global", "local"):
        if head not in min_sides:
            continue
        usable = [i for i in scales_of[head] if min(sizes[i]) >= min_sides[head]]
        if rule.long_side:
            usable = [i for place, i in enumerate(usable) if sizes[i] not in [sizes[j] for j in usable[:place]]]
        for i in usable or [max(scales_of[head], key=lambda i: factors[i])]:
            heads[i].append(head)
    passes = []
    for i, heads_of_scale in heads.items():
        if heads_of_scale:
            least = max(min_sides[head] for head in heads_of_scale)
            width, height = sizes[i]
            passes.append(Pass(factors[i], (max(width, least), max(height, least)), tuple(heads_of_scale)))
    return passes

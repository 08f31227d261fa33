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
    """

    side: Callable[[float], int]
    on_pixels: bool
    text: str

    def size(self, base: Size, scale: float) -> Size:
        """``(width, height)`` of an image at a scale; a side may become 0."""
        return self.side(base[0] * scale), self.side(base[1] * scale)

    def in_multiples(self, multiple: int) -> "ScaleRule":
        """The rule with sides rounded to a multiple of so many pixels."""
        side = self.side
        return self if multiple == 1 else replace(self, side=lambda length: multiple * round(side(length) / multiple))


SCALE_RULES = {
    "delg": ScaleRule(round, False, "bilinear, half-pixel centres"),
    "superglobal": ScaleRule(int, False, "bilinear, half-pixel centres, sides cut down to whole pixels"),
    "cvnet": ScaleRule(round, True, "opencv on the pixels, area below 1 and bilinear above"),
}
"""``delg`` (and DELG in PyTorch): sides rounded half to even; ``superglobal``: sides rounded down; ``cvnet``: OpenCV on
the pixels, area interpolation below 1, bilinear above 1, sides rounded half to even."""


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
          scale: nominal factor.
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
      scale: nominal factor.
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
) -> list[Pass]:
    """The runs of the network for one image, in the order of the scales.

    Local features come from every scale, the global descriptor from some. A head leaves out a scale whose shorter side
    is below the smallest side that the head accepts. A head that would have no scale gets its largest scale with the
    sides raised to the smallest side, so that every image of one pixel or more is described.

    Args:
      scales: factors.
      global_scales_ind: indices of the scales of the global descriptor.
      base: ``(width, height)`` at scale 1.
      min_sides: smallest side that each head of the model, ``"global"`` or ``"local"``, accepts.
      rule: gives the sizes.
    """
    sizes = [rule.size(base, scale) for scale in scales]
    scales_of = {"global": sorted(set(global_scales_ind)), "local": list(range(len(scales)))}
    heads: dict[int, list[str]] = {i: [] for i in range(len(scales))}
    for head in ("global", "local"):
        if head not in min_sides:
            continue
        usable = [i for i in scales_of[head] if min(sizes[i]) >= min_sides[head]]
        for i in usable or [max(scales_of[head], key=lambda i: scales[i])]:
            heads[i].append(head)
    passes = []
    for i, heads_of_scale in heads.items():
        if heads_of_scale:
            least = max(min_sides[head] for head in heads_of_scale)
            width, height = sizes[i]
            passes.append(Pass(scales[i], (max(width, least), max(height, least)), tuple(heads_of_scale)))
    return passes

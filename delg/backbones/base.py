"""What the package knows of a backbone: the network, its levels, and where the cells of a level look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import keras

from delg.common.errors import InputError
from delg.geometry import Window, smallest_side

RELEASED_RECEPTIVE_FIELD = 291.0  # pixels that a cell of block3 of ResNet-50 sees; released for every backbone


@dataclass(frozen=True)
class Backbone:
    """A network from images to feature maps, and what it declares of them.

    A plug-in, ``module:Class`` or ``module:function``, returns one. Whatever an argument of a plug-in is, only the
    backbone knows its meaning; the same holds for the names of the levels.

    Attributes:
      model: normalised images ``(B, H, W, 3)`` to a dict: a feature map ``(B, h, w, C)`` for each level, and the tokens
        ``(B, T, C)`` and the attention ``(B, h, w, A)`` where there are any. The patch tokens of a transformer are one
        level, rows by columns.
      levels: for each level, from shallow to deep, the windows between the image and its cells. Windows of stride 1
        that reach as far to both sides may be left out.
      global_level: the level that the global head reads.
      local_level: the level that the local head reads.
      receptive_field: side in pixels of the window that a cell of the local level sees. Boxes around keypoints have
        this side; non-maximum suppression and exported models use them.
      tokens: name of the output with tokens that belong to no patch, the class token first; None without tokens.
      attention: name of the output ``(B, h, w, A)`` with the attention that the class token pays to each cell of the
        local level, in ``A`` attention heads; None where the network does not put it out.
      image_side: the only image side in pixels that the network accepts; None where it accepts every size, as it does
        when it interpolates its position embeddings.
    """

    model: keras.Model
    levels: Mapping[str, tuple[Window, ...]] = field(repr=False)
    global_level: str
    local_level: str
    receptive_field: float
    tokens: str | None = None
    attention: str | None = None
    image_side: int | None = None

    def __post_init__(self) -> None:
        outputs = self.model.output
        expected = [*self.levels, *(name for name in (self.tokens, self.attention) if name)]
        if not isinstance(outputs, dict) or sorted(outputs) != sorted(expected):
            raise InputError(
                f"A backbone puts out a dict of the names that it declares, {expected}. Received: {outputs}"
            )
        for head in (self.global_level, self.local_level):
            if head not in self.levels:
                raise InputError(f"The level {head!r} of a head is not among the backbone's levels {expected}.")
        for name, output in outputs.items():
            if len(output.shape) != (3 if name == self.tokens else 4) or output.shape[-1] is None:
                raise InputError(
                    "A backbone puts out levels (B, h, w, C), tokens (B, T, C) and attention (B, h, w, A). "
                    f"Received: {name} {output.shape}"
                )

    @property
    def padding(self) -> float:
        """Pixels between a keypoint and the sides of its box, as released: 145 for a receptive field of 291."""
        return (self.receptive_field - 1) / 2

    def stride(self, level: str) -> int:
        """Input pixels between neighbouring cells of a level."""
        return prod(window.stride for window in self.levels[level])

    def min_side(self, cells: int = 1) -> int:
        """Smallest image side, in pixels, that leaves so many cells of the global level."""
        return self.image_side or smallest_side(self.levels[self.global_level], cells)

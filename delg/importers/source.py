"""What a reader of a weight file hands over: named arrays and how they fit our model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.safetensors_file import Stored

Arrays = dict[str, np.ndarray]
DEPTHWISE = "depthwise_conv/kernel"  # end of the path of a depthwise kernel, (h, w, C, 1) and (C, 1, h, w) in PyTorch


def _unchanged(arrays: Arrays) -> Arrays:
    return arrays


@dataclass(frozen=True)
class WeightSource:
    """The weights of one model as a file holds them.

    Attributes:
      format: name of the format.
      preset: the preset of our model that the file belongs to; ``"config.json"`` where ``overrides`` say everything.
      overrides: arguments of :class:`delg.model.Delg` that the file decides.
      files: what was read, for the record.
      stored: the weights by their names in the file; what has no place in our model by nature is left out.
      name: our variable's path to its name in the file; None for a variable that such a file never holds and that
        keeps its first value.
      torch_layout: matrices and kernels lie as PyTorch has them, ``(out, in, ...)``.
      finish: changes the arrays, by our paths, once all are there.
      notes: what a user should know of the conversion, one sentence each.
    """

    format: str
    preset: str
    overrides: dict[str, Any]
    files: tuple[Path, ...]
    stored: Mapping[str, Stored]
    name: Callable[[str], str | None]
    torch_layout: bool = False
    finish: Callable[[Arrays], Arrays] = _unchanged
    notes: tuple[str, ...] = ()

    def in_file(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one of our variables in the file: ``(h, w, in, out)`` to ``(out, in, h, w)`` for PyTorch."""
        if not self.torch_layout or len(shape) < 2:
            return shape
        if path.endswith(DEPTHWISE):
            return (*shape[2:], *shape[:2])
        return (shape[-1], shape[-2], *shape[:-2])

    def ours(self, path: str, array: np.ndarray) -> np.ndarray:
        """An array of the file in the layout of one of our variables."""
        if not self.torch_layout or array.ndim < 2:
            return array
        return np.moveaxis(array, (0, 1), (-2, -1) if path.endswith(DEPTHWISE) else (-1, -2))

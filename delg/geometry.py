"""Where the cells of a feature map look: exact centres of their receptive fields in input pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """One sliding-window layer along one axis.

    Attributes:
      kernel: window size in cells.
      stride: step in cells.
      padding: ``"same"`` (TensorFlow's: as little as needed, the odd cell at the end), ``"valid"`` (none) or
        ``"symmetric"`` (``(kernel - 1) // 2`` cells on both sides, PyTorch's usual choice).
    """

    kernel: int
    stride: int
    padding: str

    def pads(self, size: int) -> tuple[int, int]:
        """Cells added before and after an axis of ``size`` cells."""
        if self.padding == "valid":
            return 0, 0
        if self.padding == "symmetric":
            return (self.kernel - 1) // 2, (self.kernel - 1) // 2
        total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
        return total // 2, total - total // 2

    def output_size(self, size: int) -> int:
        """Number of window positions over ``size`` cells; 0 when none fits."""
        padded = size + sum(self.pads(size))
        return max((padded - self.kernel) // self.stride + 1, 0)


def cell_centres(windows: Sequence[Window], size: int) -> NDArray[np.float64]:
    """Centres of the cells that remain after a chain of windows, in pixels of the input.

    Args:
      windows: the layers from the input on; those of stride 1 and symmetric reach may be left out.
      size: input side in pixels.

    Returns:
      ``(n,)`` float64; the centre of the first pixel is 0. Centres may lie outside the image when padding is large.
    """
    first, spacing, count = 0.0, 1.0, size
    for window in windows:
        before = window.pads(count)[0]
        first += spacing * ((window.kernel - 1) / 2 - before)
        spacing *= window.stride
        count = window.output_size(count)
    return first + spacing * np.arange(count, dtype=np.float64)


def smallest_side(windows: Sequence[Window], cells: int = 1) -> int:
    """The smallest input side, in pixels, that leaves at least so many cells."""
    side = 1
    while len(cell_centres(windows, side)) < cells:
        side += 1
    return side

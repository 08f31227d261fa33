"""Regional-GeM: every position of a feature map is mixed with the generalised mean around it."""

from typing import Any

import keras
from keras import ops

from delg.numerics import float32_at_least

Tensor = Any
FLOOR = 1e-30  # of the mean: its root at 0 is 1e-12 instead of 0, and has a gradient


class RegionalGeM(keras.layers.Layer):
    """``(x + (mean_window x^p)^(1/p)) / 2`` (SuperGlobal, arXiv 2308.06954).

    The window moves by one cell over the map, whose border is mirrored without repeating the outermost cell, so
    that the size is kept. Computed in float32 whatever the dtype policy.

    Args:
      p: the exponent; the released value is 2.5.
      window: side of the square window in cells, odd; the released value is 5.

    Raises:
      ValueError: ``p`` is not positive, or the window is not odd.

    Example:
      >>> RegionalGeM()(keras.ops.ones((2, 7, 7, 16))).shape
      (2, 7, 7, 16)
    """

    def __init__(self, p: float = 2.5, window: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if p <= 0 or type(window) is not int or window < 1 or window % 2 == 0:
            raise ValueError(f"RegionalGeM expects p > 0 and an odd window. Received: p={p}, window={window}")
        self.p, self.window = float(p), window

    @property
    def cells(self) -> int:
        """Smallest side of a map that can be mirrored."""
        return self.window // 2 + 1

    def call(self, x: Tensor) -> Tensor:
        """``(B, h, w, C)``, at least 0, to the same shape; ``h`` and ``w`` must be at least :attr:`cells`."""
        if any(side is not None and side < self.cells for side in x.shape[1:3]):
            raise ValueError(f"RegionalGeM expects a map of {self.cells} cells or more. Received: {tuple(x.shape)}")
        x, margin = float32_at_least(x), (self.window // 2, self.window // 2)
        powers = ops.pad(ops.power(x, self.p), ((0, 0), margin, margin, (0, 0)), mode="reflect")
        mean = ops.average_pool(powers, self.window, strides=1, padding="valid", data_format="channels_last")
        return 0.5 * ops.power(ops.maximum(mean, FLOOR), 1.0 / self.p) + 0.5 * x

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "p": self.p, "window": self.window}

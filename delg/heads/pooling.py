"""Poolings of a feature map to one vector, and filters of the feature map before them."""

from typing import Any

import keras
from keras import ops

from delg.common.spec import Table, build, split
from delg.heads.base import MapFilter, TokenPooling
from delg.numerics import float32_at_least, full_precision, l2_normalize

Tensor = Any
FLOOR = 1e-30  # of the mean in RegionalGeM: its root at 0 is 1e-12 instead of 0, and has a gradient


class GeM(keras.layers.Layer):
    """Generalised-mean pooling ``(mean_hw max(x, epsilon)^p)^(1/p)`` (arXiv 1711.02512, equation 3).

    Computed in float32 whatever the dtype policy, because ``epsilon^p`` underflows in half precision.

    Args:
      p: the exponent; 1 is the mean, large values approach the maximum. The released DELG value is 3.
      epsilon: floor of the activations.
      learned: the exponent is a weight of shape ``(1,)`` that starts at ``p`` (released CVNet).

    Example:
      >>> GeM(p=3.0)(keras.ops.ones((2, 7, 7, 16))).shape
      (2, 16)
    """

    def __init__(self, p: float = 3.0, epsilon: float = 1e-6, learned: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if p <= 0:
            raise ValueError(f"GeM expects p > 0. Received: p={p}")
        self.p, self.epsilon, self.learned = float(p), float(epsilon), bool(learned)
        self.exponent: Any = self.p

    def build(self, input_shape: tuple) -> None:
        """Makes the exponent's weight where it is learned."""
        if self.learned:
            start = keras.initializers.Constant(self.p)
            self.exponent = self.add_weight(
                shape=(1,), initializer=start, dtype=full_precision(), autocast=False, name="p"
            )

    def call(self, x: Tensor) -> Tensor:
        """Pools ``(B, h, w, C)`` to ``(B, C)``."""
        x = ops.maximum(float32_at_least(x), self.epsilon)
        return ops.power(ops.mean(ops.power(x, self.exponent), axis=(1, 2)), 1.0 / self.exponent)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """``(B, C)``."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "p": self.p, "epsilon": self.epsilon, "learned": self.learned}


class ClassToken(TokenPooling):
    """The first token; the feature map is not read."""

    def call(self, x: Tensor, tokens: Tensor) -> Tensor:
        """``(B, C)``."""
        return float32_at_least(tokens[:, 0])

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """``(B, C)``."""
        return (input_shape[0], input_shape[-1])


class ClassTokenGeM(TokenPooling):
    """The first token and GeM of the patches, each L2-normalised, one after the other.

    Args:
      p: the exponent of :class:`GeM`.
    """

    def __init__(self, p: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.p, self.gem = float(p), GeM(p, name="gem")

    def build(self, input_shape: tuple) -> None:
        """Builds the pooling of the patches."""
        self.gem.build(input_shape)

    def call(self, x: Tensor, tokens: Tensor) -> Tensor:
        """``(B, 2 C)``."""
        return ops.concatenate([l2_normalize(float32_at_least(tokens[:, 0])), l2_normalize(self.gem(x))], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """``(B, 2 C)``."""
        return (input_shape[0], 2 * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "p": self.p}


class RegionalGeM(MapFilter):
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
        self.cells = window // 2 + 1  # that many can be mirrored

    def call(self, x: Tensor) -> Tensor:
        """``(B, h, w, C)``, at least 0, to the same shape; ``h`` and ``w`` must be at least :attr:`cells`."""
        if any(side is not None and side < self.cells for side in x.shape[1:3]):
            raise ValueError(f"RegionalGeM expects a map of {self.cells} cells or more. Received: {tuple(x.shape)}")
        x, margin = float32_at_least(x), (self.window // 2, self.window // 2)
        powers = ops.pad(ops.power(x, self.p), ((0, 0), margin, margin, (0, 0)), mode="reflect")
        mean = ops.average_pool(powers, self.window, strides=1, padding="valid", data_format="channels_last")
        return 0.5 * ops.power(ops.maximum(mean, FLOOR), 1.0 / self.p) + 0.5 * x

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "p": self.p, "window": self.window}


def gem(p: float = 3.0, epsilon: float = 1e-6, learned: bool = False) -> keras.layers.Layer:
    """:class:`GeM`."""
    return GeM(p, epsilon, learned, name="pooling")


def gem_plus(p: float = 4.6, epsilon: float = 1e-8) -> keras.layers.Layer:
    """:class:`GeM` with the exponent that SuperGlobal puts in place of the learned one (arXiv 2308.06954)."""
    return GeM(p, epsilon, name="pooling")


def average() -> keras.layers.Layer:
    """The mean over cells, as in the DELF baseline."""
    return keras.layers.GlobalAveragePooling2D(name="pooling")


def class_token() -> ClassToken:
    """:class:`ClassToken`, of a backbone that has one."""
    return ClassToken(name="pooling")


def class_token_gem(p: float = 3.0) -> ClassTokenGeM:
    """:class:`ClassTokenGeM`, of a backbone that has a class token."""
    return ClassTokenGeM(p, name="pooling")


def regional_gem(p: float = 2.5, window: int = 5) -> RegionalGeM:
    """:class:`RegionalGeM`."""
    return RegionalGeM(p, window, name="regional_gem")


POOLINGS: Table = {
    "attention": "delg.backbones.vit:attention_pooling",
    "average": average,
    "class_token": class_token,
    "class_token_gem": class_token_gem,
    "gem": gem,
    "gem_plus": gem_plus,
}
MAP_FILTERS: Table = {"regional_gem": regional_gem}


def build_pooling(text: str) -> tuple[list[MapFilter], keras.layers.Layer]:
    """Builds a chain such as ``"regional_gem, gem(p=4.6)"``: filters of the feature map, then one pooling.

    Args:
      text: names of :data:`MAP_FILTERS`, if any, and at the end one of :data:`POOLINGS`; ``module:Class`` for either.

    Returns:
      The filters, which keep the shape ``(B, h, w, C)``, and the pooling to ``(B, D)``, see
      :class:`delg.heads.base.TokenPooling`.

    Raises:
      InputError: an unknown name or a bad argument.
    """
    *filters, last = split(text) or [text]
    built = [build(part, MAP_FILTERS, "filter of the feature map", base=MapFilter) for part in filters]
    return built, build(last, POOLINGS, "pooling", base=keras.layers.Layer)

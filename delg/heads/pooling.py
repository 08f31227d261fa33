"""Poolings of a feature map to one vector, chosen by name, after filters of the map where those are asked for."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from delg.common.spec import build, split
from delg.heads.regional import RegionalGeM
from delg.numerics import float32_at_least, full_precision

Tensor = Any


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


def gem(p: float = 3.0, epsilon: float = 1e-6, learned: bool = False) -> keras.layers.Layer:
    """:class:`GeM`."""
    return GeM(p, epsilon, learned, name="pooling")


def gem_plus(p: float = 4.6, epsilon: float = 1e-8) -> keras.layers.Layer:
    """:class:`GeM` with the exponent that SuperGlobal puts in place of the learned one (arXiv 2308.06954)."""
    return GeM(p, epsilon, name="pooling")


def average() -> keras.layers.Layer:
    """The mean over positions, as in the DELF baseline."""
    return keras.layers.GlobalAveragePooling2D(name="pooling")


def regional_gem(p: float = 2.5, window: int = 5) -> RegionalGeM:
    """:class:`delg.heads.regional.RegionalGeM`."""
    return RegionalGeM(p, window, name="regional_gem")


POOLINGS: dict[str, Callable[..., keras.layers.Layer]] = {"average": average, "gem": gem, "gem_plus": gem_plus}
MAP_FILTERS: dict[str, Callable[..., keras.layers.Layer]] = {"regional_gem": regional_gem}


def build_pooling(text: str) -> tuple[list[keras.layers.Layer], keras.layers.Layer]:
    """Builds a chain such as ``"regional_gem, gem(p=4.6)"``: filters of the map, then one pooling.

    Args:
      text: names of :data:`MAP_FILTERS`, none as a rule, and at the end one of :data:`POOLINGS`.

    Returns:
      The filters, which keep the shape ``(B, h, w, C)``, and the pooling to ``(B, C)``.

    Raises:
      InputError: an unknown name or a bad argument.
    """
    *filters, last = split(text) or [text]
    return [build(part, MAP_FILTERS, "filter of the feature map") for part in filters], build(last, POOLINGS, "pooling")

"""ResNet backbones: one builder for the released DELG convention, the CVNet convention and small CPU networks.

References:
  He et al., Deep Residual Learning, arXiv 1512.03385; released DELG code (`delf/python/training/model/resnet50.py`)
  for the ``"released"`` convention; CVNet's `resnet.py` for ``"symmetric"``; SuperGlobal, arXiv 2308.06954, for ReLUP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from delg.backbones.base import RELEASED_RECEPTIVE_FIELD, Backbone
from delg.geometry import Window

Tensor = Any
ALPHA = 0.014  # of ReLUP


@dataclass(frozen=True)
class Convention:
    """What two published ResNets of one depth differ in.

    Attributes:
      padding: ``"same"`` or ``"symmetric"``, of every convolution larger than 1x1.
      stride_on_3x3: the stride of a stage sits on the 3x3 convolution instead of the first 1x1.
      use_bias: convolutions have biases.
      epsilon: of batch normalisation.
      momentum: of batch normalisation's moving averages, in Keras' sense (the share that is kept).
      stem: kernel size of the first convolution, of stride 2.
      pool: padding of the 3x3 max-pooling of stride 2 after the stem.
    """

    padding: str
    stride_on_3x3: bool
    use_bias: bool
    epsilon: float
    momentum: float
    stem: int = 7
    pool: str = "valid"


RELEASED = Convention("same", stride_on_3x3=False, use_bias=True, epsilon=1e-3, momentum=0.99)
SYMMETRIC = Convention("symmetric", stride_on_3x3=True, use_bias=False, epsilon=1e-5, momentum=0.9, pool="symmetric")
SMALL = Convention(
    "symmetric", stride_on_3x3=True, use_bias=False, epsilon=1e-3, momentum=0.9, stem=5, pool="symmetric"
)


class ReLUP(keras.layers.Layer):
    """``max(x, alpha)``: small and negative values become ``alpha`` (SuperGlobal, arXiv 2308.06954).

    No shift: ``ReLUP(0.0)`` is ReLU, and values above ``alpha`` stay what they are.

    Args:
      alpha: the smallest value; the released one is 0.014.

    Example:
      >>> ReLUP()(keras.ops.array([-1.0, 0.01, 0.5]))
      [0.014, 0.014, 0.5]
    """

    def __init__(self, alpha: float = ALPHA, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = float(alpha)

    def call(self, x: Tensor) -> Tensor:
        """Same shape and dtype as ``x``."""
        return ops.maximum(x, self.alpha)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "alpha": self.alpha}


class _Builder:
    """Adds layers with the released names and keeps the windows that move or thin the grid.

    ``inner_floor`` and ``output_floor`` are what the activations inside a unit and at its end cannot fall below.
    """

    def __init__(self, convention: Convention, width_factor: int) -> None:
        self.convention, self.expansion = convention, width_factor
        self.windows: list[Window] = []
        self.inner_floor = self.output_floor = 0.0

    def convolution(self, x: Tensor, filters: int, kernel: int, stride: int, name: str) -> Tensor:
        padding = self.convention.padding if kernel > 1 else "valid"
        if padding == "symmetric":
            x = layers.ZeroPadding2D((kernel - 1) // 2, name=f"{name}_pad")(x)
            padding = "valid"
        use_bias = self.convention.use_bias
        return layers.Conv2D(filters, kernel, stride, padding, use_bias=use_bias, name=name)(x)

    def normalization(self, x: Tensor, name: str) -> Tensor:
        c = self.convention
        return layers.BatchNormalization(epsilon=c.epsilon, momentum=c.momentum, name=name)(x)

    def inner(self, x: Tensor, name: str) -> Tensor:
        """Normalisation and activation after a convolution inside a unit."""
        return _activation(self.normalization(x, f"bn{name}"), self.inner_floor, f"res{name}_relu")

    def stem(self, x: Tensor, filters: int) -> Tensor:
        c = self.convention
        x = layers.ReLU(name="conv1_relu")(
            self.normalization(self.convolution(x, filters, c.stem, 2, "conv1"), "bn_conv1")
        )
        self.windows.append(Window(c.stem, 2, c.padding))
        self.windows.append(Window(3, 2, c.pool))
        if c.pool == "symmetric":  # after a ReLU, padding with 0 equals padding with -infinity
            x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
        return layers.MaxPooling2D(3, 2, "valid", name="pool1")(x)

    def bottleneck(self, x: Tensor, width: int, stride: int, name: str, project: bool) -> Tensor:
        """1x1, 3x3, 1x1 with a skip connection (arXiv 1512.03385, figure 5 right)."""
        first, second = (1, stride) if self.convention.stride_on_3x3 else (stride, 1)
        y = self.convolution(x, width, 1, first, f"res{name}_branch2a")
        y = self.inner(y, f"{name}_branch2a")
        y = self.convolution(y, width, 3, second, f"res{name}_branch2b")
        y = self.inner(y, f"{name}_branch2b")
        y = self.convolution(y, width * self.expansion, 1, 1, f"res{name}_branch2c")
        return self._joined(x, self.normalization(y, f"bn{name}_branch2c"), stride, name, project)

    def basic(self, x: Tensor, width: int, stride: int, name: str, project: bool) -> Tensor:
        """Two 3x3 convolutions with a skip connection (arXiv 1512.03385, figure 5 left)."""
        y = self.convolution(x, width, 3, stride, f"res{name}_branch2a")
        y = self.inner(y, f"{name}_branch2a")
        y = self.convolution(y, width, 3, 1, f"res{name}_branch2b")
        return self._joined(x, self.normalization(y, f"bn{name}_branch2b"), stride, name, project)

    def _joined(self, x: Tensor, y: Tensor, stride: int, name: str, project: bool) -> Tensor:
        if project:
            x = self.convolution(x, y.shape[-1], 1, stride, f"res{name}_branch1")
            x = self.normalization(x, f"bn{name}_branch1")
        return _activation(layers.Add(name=f"res{name}_add")([y, x]), self.output_floor, f"res{name}_relu")

    def stage(self, x: Tensor, index: int, *, depth: int, width: int, stride: int, basic: bool) -> Tensor:
        unit = self.basic if basic else self.bottleneck
        for i in range(depth):
            step = stride if i == 0 else 1
            x = unit(x, width, step, f"{index + 1}{chr(ord('a') + i)}", project=i == 0)
        on_1x1 = not (basic or self.convention.stride_on_3x3)
        self.windows.append(Window(1, stride, "valid") if on_1x1 else Window(3, stride, self.convention.padding))
        return x


def _activation(x: Tensor, floor: float, name: str) -> Tensor:
    return (ReLUP(floor, name=name) if floor else layers.ReLU(name=name))(x)


def resnet(
    depths: Sequence[int],
    widths: Sequence[int],
    convention: Convention,
    *,
    strides: Sequence[int] = (1, 2, 2, 2),
    block3_strides: bool = False,
    basic: bool = False,
    relup: bool = False,
    stage1_inner_leak: bool = False,
) -> Backbone:
    """Builds a four-stage ResNet of version 1.

    Args:
      depths: units in each of the four stages.
      widths: inner width of each stage; bottleneck units put out four times as much.
      convention: padding, strides, biases and normalisation.
      strides: step of each stage.
      block3_strides: thin ``block3`` by 2 before it is handed to the heads, and take the stride of the last stage
        away in exchange; ``block4`` is the same either way for 1x1 strides.
      basic: units of two 3x3 convolutions instead of bottlenecks.
      relup: ReLUP in place of ReLU inside the units of the first stage and at the end of the units of the first
        three, as SuperGlobal has it. The weights stay the same; ``block1`` to ``block4`` all change.
      stage1_inner_leak: ReLUP inside the units of the first stage also without ``relup``: what the released
        SuperGlobal code does when its switch is off.

    Returns:
      The backbone; ``model`` maps float32 images ``(B, H, W, 3)`` to ``block0`` (after the stem) ... ``block4``.
    """
    builder = _Builder(convention, 1 if basic else 4)
    images = keras.Input((None, None, 3), name="images")
    x = builder.stem(images, widths[0])
    maps, levels = {"block0": x}, {"block0": tuple(builder.windows)}
    for index, (depth, width, stride) in enumerate(zip(depths, widths, strides, strict=True), start=1):
        if index == 4 and block3_strides:
            stride = 1  # noqa: PLW2901
        builder.inner_floor = ALPHA if index == 1 and (relup or stage1_inner_leak) else 0.0
        builder.output_floor = ALPHA if index < 4 and relup else 0.0
        x = builder.stage(x, index, depth=depth, width=width, stride=stride, basic=basic)
        if index == 3 and block3_strides:
            x = layers.MaxPooling2D(1, 2, "valid", name="block3_subsample")(x)
            builder.windows.append(Window(1, 2, "valid"))
        maps[f"block{index}"], levels[f"block{index}"] = x, tuple(builder.windows)
    model = keras.Model(images, maps, name="backbone")
    return Backbone(model, levels, "block4", "block3", RELEASED_RECEPTIVE_FIELD)

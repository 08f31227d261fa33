"""EfficientNet-Lite: inverted residual blocks without squeeze-and-excitation, 4 to 5 million weights.

References:
  Tan and Le, EfficientNet, arXiv 1905.11946; the Lite variants of the TensorFlow TPU repository
  (`models/official/efficientnet/lite`), of which the ImageNet weights are.
"""

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from delg.backbones.base import Backbone
from delg.common.errors import InputError
from delg.geometry import Window

Tensor = Any
VARIANTS = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))  # factors of width and depth of Lite0, Lite1, Lite2
STAGES = (  # kernel, stride, expansion, channels and blocks of Lite0
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, HEAD = 32, 1280  # channels, which no factor changes
LEVELS = {5: "stride16", 7: "stride32"}  # the stages whose last blocks are levels
EPSILON, MOMENTUM = 1e-3, 0.99  # of batch normalisation; many channels have a variance of 0, so that epsilon counts


@dataclass(frozen=True)
class Block:
    """An inverted residual block: 1x1 expansion, depthwise convolution, 1x1 projection.

    Attributes:
      stage: 1 to 7.
      kernel: side of the depthwise convolution.
      stride: its step.
      expanded: channels of the depthwise convolution.
      channels: channels that the block puts out.
      expands: there is a 1x1 expansion.
      joins: the input is added to the output.
    """

    stage: int
    kernel: int
    stride: int
    expanded: int
    channels: int
    expands: bool
    joins: bool


def blocks_of(variant: int) -> list[Block]:
    """The blocks of Lite0, Lite1 or Lite2, in their order."""
    width, depth = VARIANTS[variant]
    blocks, before = [], STEM
    for stage, (kernel, stride, expansion, channels, count) in enumerate(STAGES, start=1):
        after = _rounded(channels * width)
        repeats = count if stage in (1, len(STAGES)) else math.ceil(depth * count)
        for i in range(repeats):
            step = stride if i == 0 else 1
            joins = step == 1 and before == after
            blocks.append(Block(stage, kernel, step, before * expansion, after, expansion > 1, joins))
            before = after
    return blocks


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, or the next one where that is more than a tenth less."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def efficientnet_lite(variant: int = 0) -> Backbone:
    """EfficientNet-Lite0, 1 or 2 for images of any size.

    Levels: ``stride16``, the end of stage 5; ``stride32``, the end of stage 7; ``head``, 1280 channels within 0 and 6
    after the last 1x1 convolution, also at stride 32, which the global head reads. The padding is TensorFlow's
    ``"same"`` of the image's own size.

    Args:
      variant: 0, 1 or 2.

    Raises:
      InputError: another variant.
    """
    if type(variant) is not int or not 0 <= variant < len(VARIANTS):
        raise InputError(f"The backbone's variant expects 0 to {len(VARIANTS) - 1}. Received: {variant!r}")
    images = keras.Input((None, None, 3), name="images")
    x = _activated(layers.Conv2D(STEM, 3, 2, "same", use_bias=False, name="stem_conv")(images), "stem")
    windows, maps, levels = [Window(3, 2, "same")], {}, {}
    field, spacing = 3, 2  # side of the window that a cell sees, and pixels between cells
    receptive_field = 0
    blocks = blocks_of(variant)
    for i, block in enumerate(blocks):
        x = _block(x, block, f"block{i}")
        field += (block.kernel - 1) * spacing
        spacing *= block.stride
        if block.stride > 1:
            windows.append(Window(block.kernel, block.stride, "same"))
        last = block.stage == len(STAGES) or blocks[i + 1].stage > block.stage
        if last and block.stage in LEVELS:
            maps[LEVELS[block.stage]], levels[LEVELS[block.stage]] = x, tuple(windows)
            receptive_field = receptive_field or field
    maps["head"] = _activated(layers.Conv2D(HEAD, 1, use_bias=False, name="head_conv")(x), "head")
    levels["head"] = tuple(windows)
    return Backbone(keras.Model(images, maps, name="backbone"), levels, "head", "stride16", float(receptive_field))


def _block(x: Tensor, block: Block, name: str) -> Tensor:
    y = x
    if block.expands:
        expand = layers.Conv2D(block.expanded, 1, use_bias=False, name=f"{name}_expand_conv")
        y = _activated(expand(y), f"{name}_expand")
    depthwise = layers.DepthwiseConv2D(
        block.kernel, block.stride, "same", use_bias=False, name=f"{name}_depthwise_conv"
    )
    y = _activated(depthwise(y), f"{name}_depthwise")
    project = layers.Conv2D(block.channels, 1, use_bias=False, name=f"{name}_project_conv")
    y = _normalized(project(y), f"{name}_project")
    return layers.Add(name=f"{name}_add")([x, y]) if block.joins else y


def _normalized(x: Tensor, name: str) -> Tensor:
    return layers.BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=f"{name}_bn")(x)


def _activated(x: Tensor, name: str) -> Tensor:
    return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(_normalized(x, name))

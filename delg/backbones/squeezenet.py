"""SqueezeNet 1.1 as a backbone: 0.7 million weights, no normalisation layers, small enough for a CPU.

References:
  Iandola et al., SqueezeNet, arXiv 1602.07360; version 1.1 of the authors' repository (three poolings, after the stem,
  ``fire3`` and ``fire5``); ImageNet weights of its Keras port.
"""

from typing import Any

import keras
from keras import layers

from delg.backbones.base import RELEASED_RECEPTIVE_FIELD, Backbone
from delg.common.errors import InputError
from delg.geometry import Window

Tensor = Any
SQUEEZES = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}  # of a fire module; it puts out 8 times as much
POOLED = Window(3, 2, "valid")


def _fire(x: Tensor, number: int) -> Tensor:
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side (arXiv 1602.07360, figure 1)."""
    squeeze, name = SQUEEZES[number], f"fire{number}"
    x = layers.Conv2D(squeeze, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
    left = layers.Conv2D(4 * squeeze, 1, activation="relu", name=f"{name}_expand1x1")(x)
    right = layers.Conv2D(4 * squeeze, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return layers.Concatenate(name=f"{name}_concat")([left, right])


def squeezenet(block3_strides: bool = False) -> Backbone:
    """SqueezeNet 1.1: ``block3`` is ``fire7`` (384 channels), ``block4`` is ``fire9`` (512), both at stride 16.

    Args:
      block3_strides: thin ``block3`` by 2 before it is handed to the heads.
    """
    if type(block3_strides) is not bool:
        raise InputError(f"The backbone's block3_strides expects True or False. Received: {block3_strides!r}")
    images = keras.Input((None, None, 3), name="images")
    x = layers.Conv2D(64, 3, 2, activation="relu", name="conv1")(images)
    windows: tuple[Window, ...] = (POOLED,)  # the first convolution has the same size and step
    maps, levels = {"block0": x}, {"block0": windows}
    for block, fires in enumerate(((2, 3), (4, 5), (6, 7), (8, 9)), start=1):
        if block < 4:
            x = layers.MaxPooling2D(3, 2, name=f"pool{2 * block - 1}")(x)
            windows = (*windows, POOLED)
        for number in fires:
            x = _fire(x, number)
        maps[f"block{block}"], levels[f"block{block}"] = x, windows
    if block3_strides:
        maps["block3"] = layers.MaxPooling2D(1, 2, name="block3_subsample")(maps["block3"])
        levels["block3"] = (*levels["block3"], Window(1, 2, "valid"))
    model = keras.Model(images, maps, name="backbone")
    return Backbone(model, levels, "block4", "block3", RELEASED_RECEPTIVE_FIELD)

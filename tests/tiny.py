"""The least backbone: a model of three convolutions is made, traced and saved soon."""

import keras
from keras import layers

from delg.backbones.base import Backbone
from delg.geometry import Window

BACKBONE = "tests.tiny:three_convolutions"


def three_convolutions() -> Backbone:
    """Few layers, as the time that TensorFlow takes to trace a step grows with their number."""
    images = keras.Input((None, None, 3), name="images")
    x, maps, levels = images, {}, {}
    for number, (width, kernel, stride) in enumerate([(8, 5, 4), (24, 3, 2), (32, 3, 2)], start=1):
        x = layers.Conv2D(width, kernel, stride, padding="same", name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"bn_conv{number}")(x)
        x = maps[f"block{number + 1}"] = layers.ReLU(name=f"relu{number}")(x)
        before = levels[f"block{number}"] if number > 1 else ()
        levels[f"block{number + 1}"] = (*before, Window(kernel, stride, "same"))
    return Backbone(keras.Model(images, maps, name="backbone"), levels, "block4", "block3", 13.0)

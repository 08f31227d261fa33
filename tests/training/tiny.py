"""A model that trains in seconds."""

import keras
from keras import layers

import delg
from delg.backbones.base import Backbone
from delg.geometry import Window
from training.computation import StepConfig

SIZE = 32
OVERRIDES = {
    "backbone": "tests.training.tiny:three_convolutions",
    "embedding_dim": 16,
    "local_dim": 8,
    "attention_channels": 8,
    "arcface_scale": 16.0,
}


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


def tiny_model(seed: int = 0, **overrides) -> "delg.Delg":
    return delg.create("delg_small", num_classes=8, seed=seed, **OVERRIDES | overrides)


def step_config(batch_size: int = 16, **settings) -> StepConfig:
    return StepConfig(batch_size=batch_size, image_size=SIZE, **settings)

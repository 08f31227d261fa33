"""A model that trains in seconds."""

import delg
from tests.tiny import BACKBONE
from training.computation import StepConfig

SIZE = 32
OVERRIDES = {
    "backbone": BACKBONE,
    "embedding_dim": 16,
    "local_dim": 8,
    "attention_channels": 8,
    "arcface_scale": 16.0,
}


def tiny_model(seed: int = 0, **overrides) -> "delg.Delg":
    return delg.create("delg_small", num_classes=8, seed=seed, **OVERRIDES | overrides)


def step_config(batch_size: int = 16, **settings) -> StepConfig:
    return StepConfig(batch_size=batch_size, image_size=SIZE, **settings)

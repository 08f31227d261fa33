"""The linear adaptation of ILIAS: its layer, and three steps of its training in float64."""

import numpy as np
import pytest

from extraction.adaptation import Adam, Adaptation, Weights
from tests.golden import rule
from tests.golden.conftest import SECOND, largest_difference, load_golden

SCALE, RATE, DECAY = 16.0, 1e-3, 1e-6
LAYER, CLASSES = "adaptation_layer.layer", "classifier.weight"


@pytest.fixture
def golden(request):
    return load_golden(request.config, "ilias_linear", SECOND)


@pytest.fixture
def drawn(salt2):
    return lambda name, shape: rule.vit_weight(name, shape, salt2).astype(np.float64)


def test_the_layer(golden, drawn, measured):
    x, expected = golden["linear/input"], golden["linear/output"]
    shape = expected.shape[1], x.shape[1]
    drawings = drawn("layer.weight", shape), drawn("layer.bias", shape[:1])
    layer = Adaptation(*(array.astype(np.float32) for array in drawings))
    measured("adaptation", largest_difference(layer(x), expected), 1e-6)


def test_three_steps_of_the_training(golden, drawn, measured):
    fields = {name.removeprefix("linear/train64/"): values for name, values in golden.items()}
    x, labels = golden["linear/input"].astype(np.float64), fields["labels"]
    names = {"weight": f"{LAYER}.weight", "bias": f"{LAYER}.bias", "vectors": CLASSES}
    start = {key: drawn(name, fields[f"after3/{name}"].shape) for key, name in names.items()}
    weights = Weights(**start)
    adam = Adam(weights, RATE, DECAY)
    for step in (1, 2, 3):
        loss, cosines, gradients = weights.loss(x, labels, SCALE)
        measured("adaptation training", abs(loss - fields[f"step{step}/loss"].item()), 1e-6)
        measured("adaptation training", largest_difference(cosines, fields[f"step{step}/cosines"]), 1e-6)
        for name, gradient in zip(names.values(), gradients) if step == 1 else ():
            measured("adaptation training", largest_difference(gradient, fields[f"step1/grad/{name}"]), 1e-6)
        adam.step(gradients)
    for key, name in names.items():
        measured("adaptation training", largest_difference(getattr(weights, key), fields[f"after3/{name}"]), 1e-6)

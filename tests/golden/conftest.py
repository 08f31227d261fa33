"""The golden files: numbers that the released implementations compute on weights and images made by a rule."""

from pathlib import Path

import keras
import numpy as np
import pytest

import delg
from tests.golden import rule

HERE = Path(__file__).parent / "data"


def official_name(path: str) -> str:
    """Our weight path to the released one."""
    if path.startswith("local_head/"):
        return path.removeprefix("local_head/")
    if path.startswith("classifier/"):
        return path
    return f"classifier/{path}" if path.startswith("att_fc") else f"backbone/{path}"


def fill_by_rule(model: keras.Model) -> None:
    for variable in model.weights:
        variable.assign(rule.weight(official_name(variable.path), tuple(variable.shape)))


@pytest.fixture(scope="session", params=[True, False], ids=["strides1", "strides0"])
def released(request: pytest.FixtureRequest) -> tuple[str, "delg.Delg"]:
    """The prefix of the golden fields and the R50 model with the rule's weights."""
    model = delg.from_preset("delg_r50", num_classes=10, block3_strides=request.param)
    fill_by_rule(model)
    return f"strides{int(request.param)}", model


@pytest.fixture(scope="session")
def delg_golden() -> dict[str, np.ndarray]:
    with np.load(HERE / "delg_r50_small.npz") as file:
        return dict(file)

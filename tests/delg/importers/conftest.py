"""Shapes of the released networks, whose models take seconds to make."""

import pytest

import delg
from delg.importers.strict import shapes_of

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="session")
def cvnet_shapes() -> Shapes:
    return shapes_of(delg.create("cvnet_r50"))


@pytest.fixture(scope="session")
def delg_shapes() -> Shapes:
    """With the classifiers of training."""
    return shapes_of(delg.create("delg_r50", num_classes=10))


@pytest.fixture(scope="session")
def delg_r50(delg_shapes) -> Shapes:
    """Without them."""
    return {path: shape for path, shape in delg_shapes.items() if not path.startswith(("classifier", "att_fc"))}

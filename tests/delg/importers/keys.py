"""The official key lists, and what follows from them."""

import json
import re
from pathlib import Path

KEYS = Path(__file__).parents[2] / "golden" / "data"
Shapes = dict[str, tuple[int, ...]]


def load_keys(name: str) -> dict:
    return json.loads((KEYS / f"{name}.json").read_text(encoding="utf-8"))


def torch_keys(network: str) -> Shapes:
    """Names and shapes of a state dict, ``cvnet_r50`` or ``delg_pytorch_r50``."""
    return {name: tuple(shape) for name, (shape, _) in load_keys("keys_cvnet")[network].items()}


def released_path(official: str) -> str:
    """An official Keras name of the released DELG to our variable's path."""
    part, rest = official.split("/", 1)
    if part in ("attention", "autoencoder"):
        return f"local_head/{official}"
    return official if official == "classifier/cosine_weights" else rest


def deeper(shapes: Shapes, pattern: str, units: list[str]) -> Shapes:
    """The names of a ResNet-101: a unit of the third stage, given by a pattern with one group, for each new unit."""
    added = {
        name[: match.start(1)] + unit + name[match.end(1) :]: shape
        for unit in units
        for name, shape in shapes.items()
        if (match := re.search(pattern, name))
    }
    assert added and not set(added) & set(shapes)
    return shapes | added


def torch_r101(shapes: Shapes) -> Shapes:
    """``s3.b6`` gives ``s3.b7`` to ``s3.b23``."""
    return deeper(shapes, r"\.s3\.b(6)\.", [str(i) for i in range(7, 24)])

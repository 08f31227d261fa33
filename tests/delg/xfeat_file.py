"""A file with the names and shapes of the released ``xfeat.pt``, whose values are made by rule."""

from pathlib import Path

import numpy as np

from tests.delg.importers.torch_writer import TorchFile, tensor
from tests.golden.rule import weight

UNITS = {  # output channels, input channels and kernel size of convolutions with batch normalisation
    "block1": [(4, 1, 3), (8, 4, 3), (8, 8, 3), (24, 8, 3)],
    "block2": [(24, 24, 3), (24, 24, 3)],
    "block3": [(64, 24, 3), (64, 64, 3), (64, 64, 1)],
    "block4": [(64, 64, 3), (64, 64, 3), (64, 64, 3)],
    "block5": [(128, 64, 3), (128, 128, 3), (128, 128, 3), (64, 128, 1)],
    "block_fusion": [(64, 64, 3), (64, 64, 3)],
    "heatmap_head": [(64, 64, 1), (64, 64, 1)],
    "keypoint_head": [(64, 64, 1), (64, 64, 1), (64, 64, 1)],
}
PLAIN = {"skip1.1": (24, 1), "block_fusion.2": (64, 64), "heatmap_head.2": (1, 64), "keypoint_head.3": (65, 64)}
MATCHER = [(0, 512, 128), (3, 512, 512), (6, 512, 512), (9, 512, 512), (12, 64, 512)]


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def normalisation(name: str, width: int) -> None:
        for leaf in ("running_mean", "running_var"):
            found[f"{name}.{leaf}"] = (width,)
        found[f"{name}.num_batches_tracked"] = ()

    for part, units in UNITS.items():
        for i, (width, channels, side) in enumerate(units):
            found[f"{part}.{i}.layer.0.weight"] = (width, channels, side, side)
            normalisation(f"{part}.{i}.layer.1", width)
    for name, (width, channels) in PLAIN.items():
        found |= {f"{name}.weight": (width, channels, 1, 1), f"{name}.bias": (width,)}
    for i, width, channels in MATCHER:
        found |= {f"fine_matcher.{i}.weight": (width, channels), f"fine_matcher.{i}.bias": (width,)}
        if i < MATCHER[-1][0]:
            normalisation(f"fine_matcher.{i + 1}", width)
    return found


def arrays() -> dict[str, np.ndarray]:
    return {name: np.atleast_1d(weight(name, shape)) for name, shape in shapes().items()}


def write_xfeat(path: Path, **changes: np.ndarray | None) -> Path:
    """Writes the file; a change replaces an array, None leaves it out, and new names are added (``__`` for ``.``)."""
    changed = arrays() | {name.replace("__", "."): array for name, array in changes.items()}
    return TorchFile({name: tensor(array) for name, array in changed.items() if array is not None}).archive(path)

"""The network of ELViS in NumPy: arXiv 2603.28603, and the checkpoints that its authors released."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.network_file import network_weights
from delg.common.strict import Shapes
from extraction.features import Floats
from matching.rerankers.descriptors import normalised

RELEASED = (128, 768)  # values of a projected descriptor, and of one of DINOv2
STEPS = 1 << 16  # of the table of vote weights


def shapes_for(width: int, descriptor: int, hidden: int = 128) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, as a released checkpoint has them.

    Args:
      width: values of a projected descriptor.
      descriptor: values of a descriptor.
      hidden: units behind the similarity to the dust bin.
    """
    return {
        "dust_bin": (),
        "remap_local.0.weight": (width, descriptor),
        "remap_local.0.bias": (width,),
        "remap_local.1.weight": (width,),
        "remap_local.1.bias": (width,),
        "f.0.weight": (16, 1),
        "f.0.bias": (16,),
        "f.1.weight": (16,),
        "f.1.bias": (16,),
        "f.3.weight": (1, 16),
        "f.3.bias": (1,),
        "g.0.weight": (64, 1),
        "g.0.bias": (64,),
        "g.2.weight": (1, 64),
        "g.2.bias": (1,),
        "dust_bin_mlp.0.weight": (hidden, width),
        "dust_bin_mlp.0.bias": (hidden,),
        "dust_bin_mlp.2.weight": (1, hidden),
        "dust_bin_mlp.2.bias": (1,),
    }


def _shapes(in_file: Shapes) -> Shapes:
    """The shapes for the descriptors of a file; the released ones where the file does not say."""
    projection, hidden = (in_file.get(f"{name}.0.weight", ()) for name in ("remap_local", "dust_bin_mlp"))
    sizes = projection if len(projection) == 2 else RELEASED
    return shapes_for(*sizes, *hidden[:1])


@dataclass(frozen=True, eq=False)
class ElvisNetwork:
    """A projection of local descriptors, their similarity to the dust bin, and the weight of a vote.

    Attributes:
      weights: float32 arrays by the names of :func:`shapes_for`.
    """

    weights: Mapping[str, NDArray[np.float32]]

    @classmethod
    def load(cls, path: str) -> Self:
        """Reads a checkpoint.

        Raises:
          InputError: the file holds no such network; names the weights that are missing, unexpected or of another
            shape.
        """
        return cls(network_weights(path, "ELViS", _shapes))

    @property
    def dust_bin(self) -> float:
        """Similarity of the two dust bins."""
        return float(self.weights["dust_bin"])

    def project(self, descriptors: Floats) -> Floats:
        """``(N, D)`` unit vectors to ``(N, w)`` unit vectors.

        Raises:
          InputError: the descriptors have another length than those of the training.
        """
        w = self.weights
        if descriptors.shape[1] != w["remap_local.0.weight"].shape[1]:
            raise InputError(
                f"The weights of elvis are for local descriptors of {w['remap_local.0.weight'].shape[1]} values; these "
                f"have {descriptors.shape[1]}."
            )
        rows = descriptors @ w["remap_local.0.weight"].T + w["remap_local.0.bias"]
        rows = _layer_norm(rows, 1e-5) * w["remap_local.1.weight"] + w["remap_local.1.bias"]
        return normalised(rows)

    def gains(self, projected: Floats) -> Floats:
        """``(N, w)`` projected descriptors to their ``(N,)`` similarities to the dust bin, -1 to 1."""
        w = self.weights
        hidden = _gelu(projected @ w["dust_bin_mlp.0.weight"].T + w["dust_bin_mlp.0.bias"])
        return np.tanh(hidden @ w["dust_bin_mlp.2.weight"][0] + w["dust_bin_mlp.2.bias"])

    def weighted(self, votes: Floats) -> Floats:
        """The weight of each vote, 0 to 1; votes are entries of a transport plan, 0 to 1.

        A weight depends on one number, so it is read from a table, linear between its 65,536 steps.
        """
        places = np.clip(votes, 0, 1) * np.float32(STEPS)
        lower = np.minimum(places.astype(np.int32), STEPS - 1)
        left = self._table[lower]
        return left + (places - lower) * (self._table[lower + 1] - left)

    @cached_property
    def _table(self) -> Floats:
        w = {name: values.astype(np.float64) for name, values in self.weights.items() if name.startswith("f.")}
        votes = np.arange(STEPS + 1)[:, None] / STEPS
        rows = _layer_norm(votes @ w["f.0.weight"].T + w["f.0.bias"], 1e-6) * w["f.1.weight"] + w["f.1.bias"]
        values = _gelu(rows) @ w["f.3.weight"][0] + w["f.3.bias"]
        return (1 / (1 + np.exp(-values))).astype(np.float32)


def _layer_norm(rows: NDArray[np.floating], epsilon: float) -> NDArray[np.floating]:
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + rows.dtype.type(epsilon))


def _gelu(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """``x Phi(x)`` with the exact distribution function."""
    from scipy.special import erf

    kind = values.dtype.type
    return values * (erf(values * kind(0.5**0.5)) + kind(1)) * kind(0.5)

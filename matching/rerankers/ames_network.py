"""The network of AMES in NumPy: a transformer over the local descriptors of two images, and a score of the pair.

Tokens lie in the order query, match token, image, so that the tokens that an attention sees are always one run of
rows. Nothing is padded, so no mask is needed.
"""

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.network_file import network_weights
from delg.common.strict import Shapes
from extraction.features import Floats

HEADS = 2
EPSILON = 1e-5  # of the layer normalisations
TINY = 1e-12  # smallest norm of a descriptor that is scaled to 1
LAYER = re.compile(r"decoder\.layers\.(\d+)\.")

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Query:
    """What all pairs of a query share.

    Attributes:
      joint: ``(m + 1, 3 w)`` queries, keys and values of its tokens and of the match token in the first layer.
      tokens: ``(m, w)`` its tokens after the first self-attention, which sees no image.
    """

    joint: Floats
    tokens: Floats


class AmesNetwork:
    """AMES (Suma et al., ECCV 2024, arXiv 2408.03282), as released.

    Attributes:
      dimension: values of a local descriptor.
      binary: whether descriptors become signs before the first layer.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Reads a released checkpoint; widths and the number of layers are those of the file.

        Raises:
          InputError: the file cannot be read or holds other weights; names each that is missing, unexpected or of
            another shape.
        """
        weights = network_weights(path, "AMES", shapes)
        self.binary = "remap_local.0.W" in weights
        self.dimension = len(weights["remap_local.0.W"] if self.binary else weights["remap_local.0.weight"].T)
        self._width = len(weights["mtc_token"])
        self._weights = weights
        self._layers = [self._layer(f"decoder.layers.{i}.") for i in range(_depth(weights))]

    def _layer(self, prefix: str) -> Weights:
        """The weights of a layer, matrices as ``(in, out)``; attention's queries are divided by the root of a width."""
        layer = {
            name.removeprefix(prefix): np.array(array.T, order="C")
            for name, array in self._weights.items()
            if name.startswith(prefix)
        }
        for name in ("self_attn", "cross_attn"):
            for part in ("in_proj_weight", "in_proj_bias"):
                layer[f"{name}.{part}"][..., : self._width] /= np.sqrt(self._width / HEADS).astype(np.float32)
        return layer

    def tokens(self, descriptors: Floats, *, image: bool) -> Floats:
        """Tokens of an image's descriptors.

        Args:
          descriptors: ``(n, dimension)``.
          image: whether the image is one of the database, whose tokens the released programs keep as float16; those of
            the binary variant, which keeps bits, are not rounded.

        Returns:
          ``(n, w)`` float32.
        """
        w, norms = self._weights, np.linalg.norm(descriptors, axis=1, keepdims=True)
        units = (descriptors / np.maximum(norms, TINY)).astype(np.float32)
        first, second = ("remap_local.1", "remap_local.2") if self.binary else ("remap_local.0", "remap_local.1")
        values = np.sign(units @ w["remap_local.0.W"]) if self.binary else units
        values = values @ w[f"{first}.weight"].T + w[f"{first}.bias"]
        tokens = _normalized(values, w[f"{second}.weight"], w[f"{second}.bias"])
        return tokens.astype(np.float16).astype(np.float32) if image and not self.binary else tokens

    def query(self, tokens: Floats) -> Query:
        """Does the part of the first layer that sees no image.

        Args:
          tokens: ``(m, w)`` of the query.
        """
        layer, m = self._layers[0], len(tokens)
        joint = _projected(np.concatenate([tokens, self._weights["mtc_token"][None]]), layer, "self_attn")
        attended = _attended(joint[:m], joint, self._width)
        return Query(joint, _added(tokens, attended, layer, "self_attn", "norm1"))

    def score(self, query: Query, image: Floats) -> float:
        """Score of a pair, larger where both show the same; see :meth:`states` for the arithmetic.

        Args:
          query: of :meth:`query`.
          image: ``(n, w)`` tokens of the database image.
        """
        match = self.states(query, image, whole=False)[-1][len(query.tokens)]
        return float(match @ self._weights["classifier.weight"][0] + self._weights["classifier.bias"][0])

    def states(self, query: Query, image: Floats, *, whole: bool = True) -> list[Floats]:
        """The tokens after each layer.

        A layer is self-attention, cross-attention and two linear maps with a ReLU between them, each added to its
        input and normalised. In self-attention the tokens of an image see their own image, in cross-attention the
        other one; the match token sees all tokens, and all see the match token.

        Args:
          query: of :meth:`query`.
          image: ``(n, w)`` tokens of the database image.
          whole: False leaves out what the score does not need: of the last layer only the match token is made.

        Returns:
          ``(m + 1 + n, w)`` of each layer: query, match token, image.
        """
        m, states = len(query.tokens), []
        x = np.concatenate([query.tokens, self._weights["mtc_token"][None], image])
        for i, layer in enumerate(self._layers):
            joint = _projected(x[m + 1 :] if i == 0 else x, layer, "self_attn")
            joint = np.concatenate([query.joint, joint]) if i == 0 else joint
            start = m if i == 0 else 0  # the query's part of the first layer is there
            attended = np.concatenate(
                [
                    _attended(joint[start:m], joint[: m + 1], self._width),
                    _attended(joint[m : m + 1], joint, self._width),
                    _attended(joint[m + 1 :], joint[m:], self._width),
                ]
            )
            x[start:] = _added(x[start:], attended, layer, "self_attn", "norm1")
            joint = _projected(x, layer, "cross_attn")
            attended_match = _attended(joint[m : m + 1], joint, self._width)
            if whole or i < len(self._layers) - 1:
                of_query = _attended(joint[:m], joint[m:], self._width)
                of_image = _attended(joint[m + 1 :], joint[: m + 1], self._width)
                x = _added(x, np.concatenate([of_query, attended_match, of_image]), layer, "cross_attn", "norm2")
                x = _transformed(x, layer)
            else:
                match = _added(x[m : m + 1], attended_match, layer, "cross_attn", "norm2")
                x[m : m + 1] = _transformed(match, layer)
            states.append(x)
            x = x.copy() if whole else x
        return states


def _depth(names: Any) -> int:
    """The number of layers that the names of weights speak of."""
    return 1 + max((int(match[1]) for match in map(LAYER.match, names) if match), default=0)


def shapes(in_file: Shapes) -> dict[str, tuple[int, ...]]:
    """The shapes of all weights of a network whose widths, depth and variant are those of a file, by name."""

    def side(name: str, axis: int, otherwise: int) -> int:
        return in_file[name][axis] if len(in_file.get(name, ())) > axis else otherwise

    width = side("mtc_token", 0, 128)
    expected: dict[str, tuple[int, ...]]
    hidden = side("decoder.layers.0.linear1.weight", 0, 1024)
    if "remap_local.0.W" in in_file:
        expected = {"remap_local.0.W": (side("remap_local.0.W", 0, 768), width), "remap_local.1.weight": (width, width)}
        names = ("remap_local.1.bias", "remap_local.2.weight", "remap_local.2.bias")
    else:
        expected = {"remap_local.0.weight": (width, side("remap_local.0.weight", 1, 768))}
        names = ("remap_local.0.bias", "remap_local.1.weight", "remap_local.1.bias")
    expected |= dict.fromkeys(("mtc_token", *names), (width,))
    expected |= {"classifier.weight": (1, width), "classifier.bias": (1,)}
    for i in range(_depth(in_file)):
        layer: dict[str, tuple[int, ...]] = {
            "linear1.weight": (hidden, width),
            "linear1.bias": (hidden,),
            "linear2.weight": (width, hidden),
            "linear2.bias": (width,),
        }
        for part in ("self_attn", "cross_attn"):
            layer |= {f"{part}.in_proj_weight": (3 * width, width), f"{part}.in_proj_bias": (3 * width,)}
            layer |= {f"{part}.out_proj.weight": (width, width), f"{part}.out_proj.bias": (width,)}
        layer |= {f"norm{j}.{leaf}": (width,) for j in (1, 2, 3) for leaf in ("weight", "bias")}
        expected |= {f"decoder.layers.{i}.{name}": shape for name, shape in layer.items()}
    return expected


def _normalized(x: Floats, weight: Floats, bias: Floats) -> Floats:
    """Layer normalisation of rows."""
    x = np.subtract(x, x.mean(axis=1, keepdims=True), dtype=np.float32)
    variance = np.einsum("nd,nd->n", x, x)[:, None] / x.shape[1]
    x *= weight / np.sqrt(variance + EPSILON)
    x += bias
    return x


def _projected(x: Floats, layer: Weights, part: str) -> Floats:
    """``(n, 3 w)`` queries, keys and values of tokens."""
    joint = x @ layer[f"{part}.in_proj_weight"]
    joint += layer[f"{part}.in_proj_bias"]
    return joint


def _attended(seeing: Floats, seen: Floats, width: int) -> Floats:
    """Attention before its last linear map: ``(n, w)`` mixed values.

    Args:
      seeing: ``(n, 3 w)`` of the tokens that see.
      seen: ``(s, 3 w)`` of the tokens that are seen, one or more.
      width: w.
    """
    mixed = np.empty((len(seeing), width), np.float32)
    size = width // HEADS
    for start in range(0, width, size):
        query, key, value = (slice(part * width + start, part * width + start + size) for part in range(3))
        shares = seeing[:, query] @ seen[:, key].T
        shares -= shares.max(axis=1, keepdims=True)
        np.exp(shares, out=shares)
        mixed[:, start : start + size] = (shares @ seen[:, value]) / shares.sum(axis=1, keepdims=True)
    return mixed


def _added(x: Floats, attended: Floats, layer: Weights, part: str, norm: str) -> Floats:
    """An attention's last linear map, added to the tokens and normalised."""
    y = attended @ layer[f"{part}.out_proj.weight"]
    y += layer[f"{part}.out_proj.bias"]
    y += x
    return _normalized(y, layer[f"{norm}.weight"], layer[f"{norm}.bias"])


def _transformed(x: Floats, layer: Weights) -> Floats:
    """The two linear maps at the end of a layer, added to the tokens and normalised."""
    hidden: Floats = x @ layer["linear1.weight"]
    hidden += layer["linear1.bias"]
    np.maximum(hidden, 0, out=hidden)
    y: Floats = hidden @ layer["linear2.weight"]
    y += layer["linear2.bias"]
    y += x
    return _normalized(y, layer["norm3.weight"], layer["norm3.bias"])

"""Extractors made of others: the global descriptor of one with the local features of another, and joined descriptors.

Each image is decoded once, and all parts describe these pixels.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.extractors.base import Extractor, Picture, select_heads
from extraction.features import Features
from extraction.formats.checks import VERSIONS, check_coordinates, differing
from extraction.images import Reading, Size
from extraction.scale_pooling import unit
from extraction.settings import common_settings


class Composed(Extractor):
    """What all composed extractors share.

    The settings of the parts are recorded as ``parts``, by name, without those of reading images and the versions of
    packages, which all parts share and which stand beside ``parts``.

    Attributes:
      parts: the extractors by name.
    """

    def __init__(self, kind: str, parts: Mapping[str, Extractor], **own: Any):
        """Takes the parts.

        Args:
          kind: name of the composed extractor.
          parts: the extractors by name.
          **own: further settings.

        Raises:
          InputError: the parts read images in different ways, or a part gives keypoints of the resized image.
        """
        for part in parts.values():
            check_coordinates(part.settings)
        self.parts = parts
        self.batched = any(part.batched for part in parts.values())
        shared = _reading(kind, parts) | _versions(parts)
        of_parts = {
            name: {key: value for key, value in part.settings.items() if key not in {*shared, "decoder"}}
            for name, part in parts.items()
        }
        self.settings = common_settings(kind, **own, parts=of_parts) | shared

    def __call__(
        self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0, size: Size | None = None
    ) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; see :class:`extraction.extractors.base.Extractor`."""
        return self.together([Picture(image, name, resize_factor, size)])[0]

    def base_size(self, size: Size, resize_factor: float = 1.0) -> Size:
        """The largest width and the largest height that a part resizes an image to."""
        sizes = [part.base_size(size, resize_factor) for part in self.parts.values()]
        return max(width for width, _ in sizes), max(height for _, height in sizes)

    def share_cores(self, threads: int) -> None:
        """Receives the number of threads that are going to call the extractor at once."""
        for part in self.parts.values():
            part.share_cores(threads)

    def makers(self) -> tuple[Any, ...]:
        """The extractor and all its parts."""
        return (self, *(maker for part in self.parts.values() for maker in part.makers()))


class Pair(Composed):
    """The global descriptor of one extractor, and the local features of another."""

    def __init__(self, global_: Extractor, local: Extractor):
        """Takes both; each then skips the work for its other head where it can.

        Args:
          global_: gives the global descriptor; ``global`` in a text.
          local: gives the local features.

        Raises:
          InputError: an extractor lacks its head, or the two read images in different ways.
        """
        local = copy(local) if local is global_ else local  # as each part skips the other's head
        parts = {"global": select_heads(global_, ("global",)), "local": select_heads(local, ("local",))}
        super().__init__("pair", parts)
        self.signed, self.local_dtype, self.matching = local.signed, local.local_dtype, local.matching
        self.dimensions = {head: part.dimensions[head] for head, part in parts.items() if head in part.dimensions}

    def parts_of_heads(self) -> Mapping[str, Extractor]:
        """The parts."""
        return self.parts

    def together(self, pictures: Sequence[Picture]) -> list[Features]:
        """Describes pictures, by the part of each head that is wanted."""
        described = {head: _described(self.parts[head], pictures) for head in self.heads}
        if len(described) == 1:
            return next(iter(described.values()))
        return [
            replace(of_local, global_descriptor=of_global.global_descriptor)
            for of_global, of_local in zip(described["global"], described["local"], strict=True)
        ]


class Concat(Composed):
    """Global descriptors of several extractors, joined so that the similarity is the mean of theirs by weight.

    Each is L2-normalised and multiplied by the square root of its weight; they are joined, and the whole is
    L2-normalised: ``cos = sum(w_i cos_i) / sum(w_i)``.
    """

    heads = ("global",)

    def __init__(self, parts: Sequence[Extractor], weights: Sequence[float] | None = None):
        """Takes the parts.

        Args:
          parts: two or more.
          weights: of the parts, above 0; None for equal weights.

        Raises:
          InputError: too few parts, a part without a global descriptor, or weights that do not fit.
        """
        if not isinstance(parts, list | tuple) or len(parts) < 2:
            raise InputError("concat expects a list of two extractors or more as parts.")
        given = [1.0] * len(parts) if weights is None else weights
        try:
            self.weights = np.array([float(weight) for weight in given])
        except (TypeError, ValueError) as error:
            raise InputError(f"concat expects numbers as weights. Received: {weights!r}") from error
        if len(self.weights) != len(parts) or not np.all((self.weights > 0) & np.isfinite(self.weights)):
            raise InputError(f"concat expects {len(parts)} weights above 0, one for each part. Received: {weights!r}")
        named = {f"part{i}": select_heads(part, ("global",)) for i, part in enumerate(parts, 1)}
        super().__init__("concat", named, weights=self.weights.tolist())
        widths = [part.dimensions.get("global") for part in named.values()]
        if None not in widths:
            self.dimensions = {"global": sum(width or 0 for width in widths)}

    def together(self, pictures: Sequence[Picture]) -> list[Features]:
        """Describes pictures by all parts."""
        columns = [_described(part, pictures) for part in self.parts.values()]
        return [replace(row[0], global_descriptor=self._joined(row)) for row in zip(*columns, strict=True)]

    def _joined(self, features: Sequence[Features]) -> NDArray[np.float32]:
        vectors = [one.global_descriptor.astype(np.float64) for one in features]
        joined = np.concatenate([root * unit(v) for root, v in zip(np.sqrt(self.weights), vectors, strict=True)])
        return unit(joined).astype(np.float32)


def _described(part: Extractor, pictures: Sequence[Picture]) -> list[Features]:
    """Features of pictures by one part, those of one :meth:`Extractor.base_size` of this part together."""
    places = defaultdict(list)
    for place, (image, _, factor, size) in enumerate(pictures):
        places[part.base_size(size or (image.shape[1], image.shape[0]), factor)].append(place)
    by_place: dict[int, Features] = {}
    for group in places.values():
        by_place |= zip(group, part.together([pictures[place] for place in group]), strict=True)
    return [by_place[place] for place in range(len(pictures))]


def _reading(kind: str, parts: Mapping[str, Extractor]) -> dict[str, Any]:
    """How all parts read images; the rule of crops is that of the parts that have one.

    Raises:
      InputError: two parts differ.
    """
    readings = {}
    for name, part in parts.items():
        rule = {key: part.settings[key] for key in ("crop_rule",) if key in part.settings}
        readings[name] = Reading.of(part.settings).settings() | rule
    for (one, left), (other, right) in combinations(readings.items(), 2):
        both = left.keys() & right.keys()
        lines = differing(*({key: reading[key] for key in both} for reading in (left, right)))
        if lines:
            raise InputError(
                f"{kind} reads an image once for all parts, but {one} and {other} read differently: {'; '.join(lines)}."
            )
    return {key: value for reading in readings.values() for key, value in reading.items()}


def _versions(parts: Mapping[str, Extractor]) -> dict[str, Any]:
    """The versions of packages that parts record."""
    return {key: part.settings[key] for part in parts.values() for key in VERSIONS if key in part.settings}

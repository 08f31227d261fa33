"""Features of images in memory and of a part of a source, and checks of descriptors and rankings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Features
from extraction.formats.base import FeatureSource
from matching.ranking import Ranking


class MemorySource(FeatureSource):
    """Features of images held in memory, such as the one query of ``delg-search``; paths are not known.

    Attributes:
      images: the features.
      global_descriptors: ``(N, D)`` float32; ``D`` is 0 when the images have none.
    """

    checked = False

    def __init__(self, images: Sequence[Features]):
        """Takes the images.

        Raises:
          InputError: their global descriptors differ in dimension.
        """
        dimensions = sorted({image.global_descriptor.size for image in images})
        if len(dimensions) > 1:
            raise InputError(f"Expected global descriptors of one dimension. Received: {dimensions}")
        super().__init__(Path(), [image.name for image in images], {})
        self.images = list(images)
        self.global_descriptors = np.array([image.global_descriptor for image in images], np.float32).reshape(
            len(self.images), dimensions[0] if dimensions else 0
        )

    def read(self, i: int) -> Features:
        """All features of image ``i``."""
        return self.images[i]

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the images."""
        return type(self), (self.images,)


class Slice(FeatureSource):
    """Consecutive images of a source, without the source's paths."""

    checked = False

    def __init__(self, source: FeatureSource, rows: range):
        """Takes the rows ``rows.start`` to ``rows.stop``, without it."""
        super().__init__(source.folder, source.names[rows.start : rows.stop], source.settings)
        self._source, self._span, self.local_dtype = source, rows, source.local_dtype
        self.global_descriptors = source.global_descriptors[rows.start : rows.stop]

    def read(self, i: int) -> Features:
        """All features of image ``i``."""
        return self._source.features(self._span[i])

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same source."""
        return type(self), (self._source, self._span)


def matrix(descriptors: NDArray[np.floating], name: str) -> NDArray[np.floating]:
    """Checks a set of global descriptors, without reading it.

    Args:
      descriptors: should be ``(N, D)`` with ``D`` above 0.
      name: whose they are, for the message.

    Returns:
      The same array.

    Raises:
      InputError: it is not a matrix of numbers, or has no columns.
    """
    if descriptors.dtype.kind not in "fiu":
        raise InputError(f"Expected {name} global descriptors of numbers. Received: {descriptors.dtype}")
    if descriptors.ndim != 2 or descriptors.shape[1] == 0:
        raise InputError(
            f"Expected {name} global descriptors of shape (N, D) with D > 0. Received: {descriptors.shape}"
            + ("; the features hold no global descriptor" if descriptors.ndim == 2 else "")
        )
    return descriptors


def check_dimensions(queries: NDArray[np.floating], database: NDArray[np.floating]) -> None:
    """Checks that global descriptors of queries and database can be compared.

    Raises:
      InputError: one is no matrix ``(N, D)``, has no columns, or the two differ in ``D``.
    """
    q, d = matrix(queries, "query").shape[1], matrix(database, "database").shape[1]
    if q != d:
        raise InputError(f"Query and database global descriptors differ in dimension: {q} and {d}.")


def check_ranking(queries: FeatureSource, database: FeatureSource, ranking: Ranking, top_k: int) -> None:
    """Checks that a ranking is one of these queries and this database, as far as its first ``top_k`` columns tell.

    Raises:
      InputError: it has not a row for each query, names an image that is not there, has ``-1`` before the end of a row,
        or scores that are not finite.
    """
    if len(ranking) != len(queries):
        raise InputError(f"Expected a ranking for each of {len(queries)} queries. Received: {len(ranking)} rows")
    rows, scores = ranking.indices[:, :top_k], ranking.scores[:, :top_k]
    if rows.dtype.kind not in "iu":
        raise InputError(f"Expected a ranking of whole numbers. Received: {rows.dtype}")
    if rows.size and not -1 <= rows.min() <= rows.max() < len(database):
        raise InputError(f"Expected a ranking of {len(database)} images. Received: row {rows.min()} to {rows.max()}")
    present = rows >= 0
    if (present[:, 1:] > present[:, :-1]).any():
        raise InputError("Expected rankings that hold -1 at the ends of their rows only.")
    if not np.isfinite(scores[present]).all():
        raise InputError("Expected rankings with finite scores.")

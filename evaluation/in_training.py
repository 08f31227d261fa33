"""A quick retrieval benchmark of a model in memory, which a trainer runs at intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.folders import PROTOCOL, folders
from evaluation.metrics import ranking
from extraction.config import ExtractionConfig
from extraction.extractors.delg import DelgExtractor
from extraction.images import BadImageError, ImageRef, load_image


class RetrievalCheck:
    """First-stage retrieval of a folder benchmark by the global descriptor at one scale.

    Args:
      data_dir: database, a folder for each instance, see :func:`evaluation.benchmarks.folders.folders`.
      queries_dir: queries; None takes every database image as a query in turn.
      max_image_size: longest image side in pixels; larger images are shrunk.

    Raises:
      InputError: a folder is missing or empty, or no query has a positive.
    """

    def __init__(self, data_dir: str, queries_dir: str | None, max_image_size: int) -> None:
        self._benchmark = folders(data_dir, queries_dir)
        self._config = ExtractionConfig((1.0,), (0,), max_image_size=max_image_size)
        self._extractor: tuple[Any, DelgExtractor] | None = None

    def __call__(self, model: Any) -> dict[str, float]:
        """Describes all images with the model's present weights.

        Args:
          model: a :class:`delg.model.Delg`.

        Returns:
          ``mAP`` and ``R@1`` in percent.
        """
        followed = model.dtype_policy.name == "float32"  # otherwise the extractor holds a copy of earlier weights
        if self._extractor is None or self._extractor[0] is not model or not followed:
            extractor = DelgExtractor(model, self._config)
            extractor.heads = ("global",)
            self._extractor = (model, extractor)
        benchmark = self._benchmark
        database = self.describe(benchmark.database)
        queries = database if benchmark.queries is benchmark.database else self.describe(benchmark.queries)
        order = np.argsort(-queries @ database.T, axis=1, kind="stable")
        scores = ranking.evaluate(list(order), benchmark.protocols[PROTOCOL])
        return {"mAP": 100 * scores.map, "R@1": 100 * float(scores.any_recalls()[0])}

    def describe(self, images: Sequence[ImageRef]) -> NDArray[np.float32]:
        """``(N, D)`` descriptors; zeros for an image that cannot be read."""
        assert self._extractor is not None
        model, extractor = self._extractor
        descriptors = np.zeros((len(images), model.embedding_dim), np.float32)
        for row, ref in enumerate(images):
            try:
                descriptors[row] = extractor(load_image(ref)[0], ref.name).global_descriptor
            except BadImageError:
                continue
        return descriptors

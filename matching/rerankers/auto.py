"""Reranking by all evidence together: geometry helps where it can tell, and does not spoil a good first stage."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import json_sha256
from delg.common.progress import progress_bar
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from matching.local.matching import Inliers
from matching.ranking import Ranking
from matching.rerankers.base import GeometricReranker, Scores
from matching.rerankers.candidates import check_products
from matching.rerankers.ransac import PATIENCE, Ransac
from matching.source import check_dimensions
from matching.threads import available
from matching.verdict.calibration import Calibration, shipped
from matching.verdict.verification import Verifier


class Auto(GeometricReranker):
    """Reranker ``auto``: orders candidates by the probability that they show the same thing as the query.

    The probability weighs the inliers against chance, their spread, and the similarity of the global descriptors, see
    :class:`matching.verdict.Calibration`. The scores are the logarithms of the odds.
    """

    name = "auto"
    uses_local = False

    def __init__(
        self,
        top_k: int = 50,
        *,
        calibration: str | None = None,
        matching: Mapping[str, Any] | None = None,
        threads: int | None = None,
    ):
        """Sets the parameters.

        Args:
          top_k: how many candidates of each query are verified.
          calibration: file of a learned calibration; None for the shipped one of the extractor.
          matching: arguments of ``ransac`` for local features; None for those of the calibration, which of a shipped
            one are what the features record.
          threads: of the pool over candidates; None for one a core. The result does not depend on it.

        Raises:
          InputError: an argument is out of range, or the file holds no calibration.
        """
        super().__init__(top_k)
        if matching is not None and not isinstance(matching, Mapping):
            raise InputError(f"auto expects matching as arguments of ransac by name. Received: {matching!r}")
        self.threads = available(threads)
        self._matching = matching
        self._learned = None if calibration is None else Calibration.load(calibration)
        self._matcher = Ransac(**(matching or (self._learned.matching if self._learned else {})))

    def inliers(self, query: Features, index: Features) -> Inliers:
        """Matches two images with the settings of the reranker.

        Raises:
          InputError: the features cannot be compared.
        """
        return self._matcher.inliers(query, index)

    def evidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores, which are logarithms already."""
        return scores

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Scores]:
        """Logarithms of the odds.

        Raises:
          InputError: the features cannot be compared, or there are none.
        """
        calibration = self._learned or Calibration.of(database.settings, heads_of(database))
        if self._matching is not None:
            calibration = replace(calibration, matching=dict(self._matching))
        verifier = Verifier(database, calibration, top_k=self.top_k, threads=self.threads)
        for q in progress_bar(range(len(candidates)), desc=self.name, unit="query", delay=PATIENCE):
            rows = candidates.row(q)
            answer = verifier(queries.features(q), rows, similarities_of(queries, q, database, rows))
            yield np.array([candidate.log_odds for candidate in answer.candidates], np.float64)

    def identity(self) -> list[Any]:
        """See :meth:`matching.rerankers.base.Reranker.identity`; the shipped calibrations are part of it."""
        return [*super().identity(), json_sha256([asdict(one) for one in shipped()])]


def similarities_of(queries: FeatureSource, q: int, database: FeatureSource, rows: NDArray[np.int64]) -> Floats | None:
    """``(K,)`` cosines of a query and its candidates; None where neither side has global descriptors.

    Raises:
      InputError: the descriptors differ in dimension, are missing on one side, zero or not finite.
    """
    if queries.global_descriptors.shape[1:] == database.global_descriptors.shape[1:] == (0,):
        return None
    check_dimensions(queries.global_descriptors, database.global_descriptors)
    query = np.asarray(queries.global_descriptors[q], np.float32)
    vectors = np.asarray(database.global_descriptors[rows], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        products = vectors @ query
    check_products("auto", query, vectors, products)
    return products


def heads_of(source: FeatureSource) -> list[str]:
    """Which features the images of a source have: ``global``, ``local`` or both."""
    has_local = source.local_bytes > 0 or any(len(source.features(i)) for i in range(min(len(source), 1)))
    return [*(["global"] if source.global_descriptors.shape[1] else []), *(["local"] if has_local else [])]

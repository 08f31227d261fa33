"""Rerankers around another one: ``fused`` adds its scores to those of the ranking, ``gated`` spares clear cases."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.sources import source_sha256
from extraction.formats.base import FeatureSource
from matching.checks import number
from matching.ranking import Ranking
from matching.rerankers.base import GeometricReranker, Reranker, Scores
from matching.rerankers.table import build_reranker


class Wrapped(Reranker):
    """A reranker that decides by the scores of an inner reranker, or of a chain.

    Attributes:
      inner: the inner reranker.
    """

    def __init__(self, reranker: str):
        """Builds the inner reranker; its ``top_k`` is that of this one.

        Raises:
          InputError: the text is not of the form of :func:`matching.rerankers.table.build_reranker`.
        """
        if not isinstance(reranker, str):
            raise InputError(f"{self.name} expects reranker as the text of a reranker. Received: {reranker!r}")
        self.inner = build_reranker(reranker)
        super().__init__(self.inner.top_k)
        self.uses_local = self.inner.uses_local

    @property
    def geometric(self) -> GeometricReranker | None:
        """That of the inner reranker."""
        return self.inner.geometric

    def identity(self) -> list[Any]:
        """Name and numbers, identity of the inner reranker, and the source of the wrapper."""
        numbers = {name: value for name, value in self.arguments.items() if name != "reranker"}
        return [self.name, numbers, self.inner.identity(), source_sha256("matching.rerankers.wrapped")]

    @abstractmethod
    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Scores]:
        """See :meth:`matching.rerankers.base.Reranker.scores`."""


class Fused(Wrapped):
    """Reranker ``fused``: orders candidates by ``s + weight e``.

    s is the score of the ranking, the global similarity or the score of the link before in a chain; e is the evidence
    of the inner reranker, see :meth:`matching.rerankers.base.Reranker.evidence`: the logarithm of one and the inliers
    for ``ransac``, the score for others.
    """

    name = "fused"

    def __init__(self, reranker: str, weight: float = 1.0):
        """Sets the parameters.

        Args:
          reranker: the inner reranker or chain, as text.
          weight: of its evidence.

        Raises:
          InputError: an argument is out of range, or the text names no reranker.
        """
        super().__init__(reranker)
        self.weight = number("fused: weight", weight)
        if self.inner.arguments.get("settled"):
            raise InputError("fused expects settled=None: places that are settled by inliers are not by the sum.")

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Scores]:
        """Scores of the ranking plus weighted evidence.

        Raises:
          InputError: the inner reranker cannot compare the features.
        """
        for q, scores in enumerate(self.inner.scores(queries, database, candidates)):
            before = candidates.scores[q, : len(candidates.row(q))].astype(np.float64)
            yield before + self.weight * self.inner.evidence(np.asarray(scores, np.float64))


class Gated(Wrapped):
    """Reranker ``gated``: reranks only the queries whose first result has weak evidence.

    Evidence is weak where the first score is below ``similarity``, or less than ``gap`` above the second. Other
    queries keep their ranking and its scores, and their local features are not read.
    """

    name = "gated"

    def __init__(self, reranker: str, similarity: float | None = None, gap: float | None = None):
        """Sets the parameters.

        Args:
          reranker: the inner reranker or chain, as text.
          similarity: smallest first score, the cosine of a first stage, of a query that is spared; None for no such
            limit.
          gap: smallest difference of the first two scores; likewise.

        Raises:
          InputError: an argument is out of range, no limit is given, or the text names no reranker.
        """
        super().__init__(reranker)
        if similarity is None and gap is None:
            raise InputError("gated expects similarity, gap or both; without a limit no query has weak evidence.")
        for name, limit in (("similarity", similarity), ("gap", gap)):
            if limit is not None:
                number(f"gated: {name}", limit)
        self.similarity, self.gap = similarity, gap

    def weak(self, scores: Scores) -> bool:
        """Whether the evidence of a query is weak.

        Args:
          scores: ``(n,)`` of its candidates, decreasing.
        """
        if len(scores) < 2:
            return False  # nothing can change places
        low = self.similarity is not None and scores[0] < self.similarity
        return bool(low or (self.gap is not None and scores[0] - scores[1] < self.gap))

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Scores]:
        """Scores of the inner reranker for queries of weak evidence, those of the ranking for the others.

        Raises:
          InputError: the inner reranker cannot compare the features.
        """
        before = [candidates.scores[q, : len(candidates.row(q))] for q in range(len(candidates))]
        spared = np.array([not self.weak(scores) for scores in before], bool)
        rows = np.where(spared[:, None], -1, candidates.indices)
        remaining = Ranking(rows, np.where(spared[:, None], -np.inf, candidates.scores).astype(np.float32))
        for q, scores in enumerate(self.inner.scores(queries, database, remaining)):
            yield before[q] if spared[q] else scores

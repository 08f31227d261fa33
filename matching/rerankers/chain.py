"""Rerankers one after the other, such as ``superglobal | ransac(top_k=50)``."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.sources import source_sha256
from extraction.features import Floats
from extraction.formats.base import FeatureSource
from matching.ranking import Ranking
from matching.rerankers.base import GeometricReranker, Reranker


class Chain(Reranker):
    """Each link reranks the ranking of the link before.

    A later link with a smaller ``top_k`` leaves the order that the earlier ones gave to the rest. Links that weigh the
    scores of a ranking, such as ``fused``, weigh those of the link before. ``top_k`` is the largest of the links.

    Attributes:
      links: the rerankers, first to last.
    """

    def __init__(self, links: Sequence[Reranker]):
        """Takes the links.

        Raises:
          InputError: there are none.
        """
        if not links:
            raise InputError("A chain expects one reranker or more.")
        super().__init__(max(link.top_k for link in links))
        self.links = list(links)
        self.uses_local = any(link.uses_local for link in links)

    @property
    def geometric(self) -> GeometricReranker | None:
        """That of the last link that has one."""
        return next((link.geometric for link in reversed(self.links) if link.geometric), None)

    def evidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """That of the last link."""
        return self.links[-1].evidence(scores)

    def __call__(self, queries: FeatureSource, database: FeatureSource, ranking: Ranking) -> Ranking:
        """Reranks with each link in turn.

        Raises:
          InputError: a link cannot compare the features.
        """
        for link in self.links:
            ranking = link(queries, database, ranking)
        return ranking

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Floats]:
        """Scores of the candidates after the last link."""
        reranked = self(queries, database, candidates)
        for q in range(len(candidates)):
            rows, n = reranked.row(q), len(reranked.row(q))
            yield reranked.scores[q, :n][np.argsort(rows)][np.argsort(np.argsort(candidates.row(q)))]

    def identity(self) -> list[Any]:
        """Identities of the links, and the source of the chain."""
        return [*(link.identity() for link in self.links), source_sha256("matching.rerankers.chain")]

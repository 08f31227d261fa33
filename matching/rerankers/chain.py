"""Rerankers one after the other, such as ``superglobal | ransac(top_k=50)``."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.sources import source_sha256
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from matching.local.matching import Inliers
from matching.ranking import Ranking
from matching.rerankers.base import GeometricReranker, Reranker


class Chain(Reranker):
    """Each link reranks the ranking of the link before.

    A later link with a smaller ``top_k`` leaves the order that the earlier ones gave to the rest. Links that weigh the
    scores of a ranking (``ransac(score='fused')``) weigh those of the link before. ``top_k`` is the largest of the
    links.

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


class GeometricChain(Chain, GeometricReranker):
    """A chain with a link that is geometric."""

    def __init__(self, links: Sequence[Reranker]):
        """Takes the links, of which one or more are geometric."""
        super().__init__(links)
        self.geometric = [link for link in self.links if isinstance(link, GeometricReranker)][-1]
        self.threads = self.geometric.threads

    def inliers(self, query: Features, index: Features) -> Inliers:
        """Inliers of the last link that is geometric.

        Raises:
          InputError: the features cannot be compared.
        """
        return self.geometric.inliers(query, index)


def chain(links: Sequence[Reranker]) -> Chain:
    """A chain of rerankers, which is geometric where a link is.

    Raises:
      InputError: there are no links.
    """
    geometric = any(isinstance(link, GeometricReranker) for link in links)
    return GeometricChain(links) if geometric else Chain(links)

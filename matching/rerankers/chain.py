"""Rerankers one after the other, such as ``superglobal | ransac(top_k=50)``."""

from collections.abc import Callable, Sequence

from delg.common.errors import InputError
from extraction.features import Features
from matching.local.matching import Inliers
from matching.ranking import Ranking
from matching.rerankers.base import Reranker
from matching.source import Source


class Chain:
    """Each link reranks what the one before it returns.

    A later link with a shorter head leaves the order that the earlier ones gave to the rest. Links that weigh the
    ranking's own scores (``ransac(score='fused')``) weigh those of the link before.

    Attributes:
      links: the rerankers, first to last.
      head: the longest head among them.
      inliers: that of the last link which matches local features; a chain without such a link has none.
    """

    inliers: Callable[[Features, Features], Inliers]

    def __init__(self, links: Sequence[Reranker]):
        """Takes the links.

        Raises:
          InputError: there are none.
        """
        if not links:
            raise InputError("A chain expects one reranker or more.")
        self.links = list(links)
        self.head = max(link.head for link in self.links)
        for link in self.links:
            if hasattr(link, "inliers"):
                self.inliers = link.inliers

    def __call__(self, queries: Source, database: Source, ranking: Ranking) -> Ranking:
        """Reranks with each link in turn.

        Raises:
          InputError: a link cannot compare the features.
        """
        for link in self.links:
            ranking = link(queries, database, ranking)
        return ranking

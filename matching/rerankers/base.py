"""What a reranker is."""

from typing import Protocol

from matching.ranking import Ranking
from matching.source import Source


class Reranker(Protocol):
    """The second stage. It permutes the head of each row, adds and loses nothing, and keeps the tail's order.

    Rows may end in ``-1``; the scores of the answer decrease, too.

    Attributes:
      head: how many candidates of each query it looks at.
    """

    head: int

    def __call__(self, queries: Source, database: Source, ranking: Ranking) -> Ranking:
        """Reranks the rows ``indices[q]`` of the database for each query ``q``."""
        ...

"""The rerankers by name, and how one is built from text."""

from collections.abc import Callable
from typing import Protocol

from matching.ranking import Ranking
from matching.ransac import Ransac
from matching.source import Source
from matching.superglobal import SuperGlobal
from protos.spec import build


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


RERANKERS: dict[str, Callable[..., Reranker]] = {
    "ransac": Ransac,
    "superglobal": SuperGlobal,
}


def build_reranker(text: str) -> Reranker:
    """Builds a reranker from ``name(argument=value)``, such as ``superglobal(k=9, beta=0.15)``.

    Raises:
      InputError: the name is unknown, or an argument does not fit.
    """
    return build(text, RERANKERS, "reranker")

"""One query image against a database: what ``delg-search`` does once the query is described."""

import math
from typing import NamedTuple

from delg.common.errors import InputError
from extraction.features import Features
from matching.indexes.saved import Searchable
from matching.indexes.table import search, unranked
from matching.ranking import Ranking
from matching.rerankers.table import Reranker
from matching.source import MemorySource, Source, Store


class Result(NamedTuple):
    """One image that was found.

    Attributes:
      name: of the image.
      score: of the last stage.
      row: of the database.
      before: its rank in the first stage, 1 for the best; None where there are no global descriptors, so that all
        images come to the reranker alike.
      path: of the image below the folder that its name starts in; empty where that is not known.
    """

    name: str
    score: float
    row: int
    before: int | None
    path: str = ""


def parse_crop(text: list[str] | None) -> tuple[float, float, float, float] | None:
    """The crop from its four numbers.

    Raises:
      InputError: it is not four numbers ``x1 < x2``, ``y1 < y2``.
    """
    if text is None:
        return None
    message = f"--crop expects x1,y1,x2,y2 with x1 < x2 and y1 < y2. Received: {','.join(text)!r}"
    try:
        x1, y1, x2, y2 = (float(number) for number in text)
    except ValueError as error:
        raise InputError(message) from error
    if not (x1 < x2 and y1 < y2) or math.inf in (-x1, -y1, x2, y2):
        raise InputError(message)
    return x1, y1, x2, y2


def find(
    query: Features,
    store: Store | None,
    top_k: int,
    reranker: Reranker | None = None,
    index: Searchable | None = None,
) -> list[Result]:
    """The best images of a database for one query.

    Args:
      query: its features.
      store: the database; None to search an index alone, without a reranker.
      top_k: how many.
      reranker: second stage, or None.
      index: of the store, to search instead of all its descriptors.

    Returns:
      The images, best first; an approximate index may find fewer than ``top_k``. Without global descriptors the
      reranker alone decides.

    Raises:
      InputError: there are no global descriptors and no reranker that looks at all images, or the features cannot
        be compared.
    """
    source = MemorySource([query])
    depth = top_k if reranker is None else max(top_k, reranker.top_k)
    if index is not None:
        if not source.global_descriptors.shape[1]:
            raise InputError("The query's features hold no global descriptor, which an index is searched by.")
        ranking = index.search(source.global_descriptors, min(depth, len(index)))
    elif store is None:
        raise InputError("Expected a feature store or an index to search.")
    else:
        ranking = _search(source, store, depth, reranker)
    compared = bool(source.global_descriptors.shape[1])
    before = {int(row): rank for rank, row in enumerate(ranking.row(0), 1)} if compared else {}
    if reranker is not None:
        if store is None:
            raise InputError("A reranker expects the feature store that the index was made from.")
        ranking = reranker(source, store, ranking)
    best = ranking.top(top_k)
    rows = [int(row) for row in best.row(0)]
    names = index.names_of(rows) if index is not None else [store.names[row] for row in rows] if store else []
    scores = best.scores[0].tolist()
    paths = [store.path_of(row) for row in rows] if store is not None else index.paths_of(rows) if index else []
    return [
        Result(name, score, row, before.get(row), path) for name, score, row, path in zip(names, scores, rows, paths)
    ]


def _search(source: Source, store: Source, depth: int, reranker: Reranker | None) -> Ranking:
    """The first stage over all descriptors of a store."""
    if source.global_descriptors.shape[1] == store.global_descriptors.shape[1] == 0:
        if reranker is None or reranker.top_k < len(store):
            raise InputError(
                "The features hold no global descriptors; expected a reranker that looks at all images, such as "
                f"'ransac(top_k={len(store)})'."
            )
        return unranked(1, len(store))
    return search(source.global_descriptors, store.global_descriptors, depth)

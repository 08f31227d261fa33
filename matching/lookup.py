"""Search of a database for one query image that has been described, as ``delg-search`` does."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from delg.common.errors import InputError
from extraction.features import Features
from extraction.formats.base import FeatureSource
from matching.indexes.saved import Searchable
from matching.indexes.table import search, unranked
from matching.ranking import Ranking
from matching.rerankers.base import Reranker
from matching.source import MemorySource


class Result(NamedTuple):
    """One result of a search.

    Attributes:
      name: of the image.
      score: of the last stage.
      row: of the database.
      before: rank in the first stage, 1 for the best; None without global descriptors, where the first stage has no
        order.
      path: of the image below the folder of the images; empty where the path is not known.
    """

    name: str
    score: float
    row: int
    before: int | None
    path: str = ""


def check_crop(crop: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    """Checks the crop of a query; None is the whole image.

    Raises:
      InputError: the crop is not four finite numbers ``x1 < x2``, ``y1 < y2``.
    """
    if crop is None:
        return None
    if len(crop) == 4:
        x1, y1, x2, y2 = crop
        if -math.inf < x1 < x2 < math.inf and -math.inf < y1 < y2 < math.inf:
            return x1, y1, x2, y2
    raise InputError(
        f"--crop expects x1,y1,x2,y2 with x1 < x2 and y1 < y2. Received: {','.join(f'{side:g}' for side in crop)}"
    )


def find(
    query: Features,
    store: FeatureSource | None,
    top_k: int,
    reranker: Reranker | None = None,
    index: Searchable | None = None,
) -> list[Result]:
    """The best images of a database for one query.

    Args:
      query: the features of the query.
      store: the database; None to search an index alone, without a reranker.
      top_k: number of results.
      reranker: second stage, or None.
      index: of the store; is searched instead of all descriptors of the store.

    Returns:
      The images, best first; an approximate index may find fewer than ``top_k``. Without global descriptors the
      reranker alone decides.

    Raises:
      InputError: there are no global descriptors and no reranker of all images, or the features cannot be compared.
    """
    source = MemorySource([query])
    depth = top_k if reranker is None else max(top_k, reranker.top_k)
    if index is not None:
        if not source.global_descriptors.shape[1]:
            raise InputError("The features of the query hold no global descriptor; a search of an index needs one.")
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


def _search(source: FeatureSource, store: FeatureSource, depth: int, reranker: Reranker | None) -> Ranking:
    """The first stage over all descriptors of a store."""
    if source.global_descriptors.shape[1] == store.global_descriptors.shape[1] == 0:
        if reranker is None or reranker.top_k < len(store):
            raise InputError(
                "The features hold no global descriptors; expected a reranker of all images, such as "
                f"'ransac(top_k={len(store)})'."
            )
        return unranked(1, len(store))
    return search(source.global_descriptors, store.global_descriptors, depth)

"""One query image against a database: what ``delg-search`` does once the query is described."""

from extraction.features import Features
from matching.index import search, unranked
from matching.rerankers import Reranker
from matching.source import MemorySource, Source
from protos.errors import InputError


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
    if not (x1 < x2 and y1 < y2):
        raise InputError(message)
    return x1, y1, x2, y2


def find(query: Features, store: Source, top_k: int, reranker: Reranker | None = None) -> list[tuple[str, float]]:
    """The best images of a store for one query.

    Args:
      query: its features.
      store: the database.
      top_k: how many.
      reranker: second stage, or None.

    Returns:
      Names and scores, best first. Without global descriptors the reranker alone decides.

    Raises:
      InputError: there are no global descriptors and no reranker that looks at all images, or the features cannot
        be compared.
    """
    source = MemorySource([query])
    if source.global_descriptors.shape[1] == store.global_descriptors.shape[1] == 0:
        if reranker is None or reranker.head < len(store):
            raise InputError(
                "The features hold no global descriptors; expected a reranker that looks at all images, such as "
                f"'ransac(top_k={len(store)})'."
            )
        ranking = unranked(1, len(store))
    else:
        depth = top_k if reranker is None else max(top_k, reranker.head)
        ranking = search(source.global_descriptors, store.global_descriptors, depth)
    if reranker is not None:
        ranking = reranker(source, store, ranking)
    best = ranking.top(top_k)
    return [(store.names[row], float(score)) for row, score in zip(best.indices[0], best.scores[0])]

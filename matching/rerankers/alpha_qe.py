"""Query expansion: the query is joined with its best results and the candidates are compared with the sum."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from extraction.features import Floats
from extraction.formats.base import FeatureSource
from matching.checks import MOST, number, whole
from matching.ranking import Ranking
from matching.rerankers.base import Reranker
from matching.rerankers.candidates import check_finite, check_products
from matching.source import check_dimensions
from matching.threads import single_threaded

BUDGET = 64 << 20  # bytes of similarities, and of database rows read, held at once, each

Rows = NDArray[np.int64]


class AlphaQE(Reranker):
    """Reranker ``alpha_qe``: expands the query with its best results.

    The query becomes the normalised sum of itself, with weight 1, and of the first ``n`` database descriptors of its
    ranking, weighted by their similarity to the power alpha (Radenovic et al., TPAMI 2018, arXiv 1711.02512). The
    images of the ranking are then ordered by their similarity to it. After a link that verifies, as in
    ``ransac | alpha_qe``, the first ``n`` are the verified ones.
    """

    name = "alpha_qe"

    def __init__(self, top_k: int | None = None, *, n: int = 10, alpha: float = 3.0):
        """Sets the parameters.

        Args:
          top_k: how many candidates of each query are reranked; None for all that are ranked.
          n: how many of the first results join the query.
          alpha: exponent of the similarity, which counts as 0 where it is negative; 0 weighs all alike.

        Raises:
          InputError: an argument is out of range.
        """
        super().__init__(MOST if top_k is None else top_k)
        self.n, self.alpha = whole("alpha_qe: n", n, 0), number("alpha_qe: alpha", alpha)

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Floats]:
        """Cosines of the candidates and the expanded query.

        Args:
          queries: their global descriptors.
          database: its global descriptors, of which the candidates' are read in blocks, for some queries at a time.
          candidates: rows of the database for each query.

        Raises:
          InputError: the descriptors differ in dimension, are missing, zero or not finite.
        """
        check_dimensions(queries.global_descriptors, database.global_descriptors)
        step = max(1, BUDGET // (4 * max(len(database), 1)))
        with single_threaded():
            for start in range(0, len(candidates), step):
                batch = range(start, min(start + step, len(candidates)))
                rows = [candidates.row(q) for q in batch]
                expanded = [
                    self.expand(np.asarray(queries.global_descriptors[q], np.float32), database, own)
                    for q, own in zip(batch, rows)
                ]
                yield from _similarities(np.array(expanded), database, rows)

    def expand(self, query: Floats, database: FeatureSource, rows: Rows) -> Floats:
        """The expanded query.

        Args:
          query: ``(D,)`` float32 of unit norm.
          database: its global descriptors.
          rows: the query's ranking, best first.

        Returns:
          ``(D,)`` float32 of unit norm.
        """
        best = np.asarray(database.global_descriptors[rows[: self.n]], np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            similarities = best @ query
            check_products("alpha_qe", query, best, similarities)
            total = query + np.maximum(similarities, 0) ** np.float32(self.alpha) @ best
            return np.asarray(total / max(float(np.linalg.norm(total)), np.finfo(np.float32).tiny), np.float32)


def _similarities(queries: Floats, database: FeatureSource, rows: list[Rows]) -> list[Floats]:
    """Inner products of each query with its own rows of the database; each row is read once."""
    union = np.unique(np.concatenate(rows))
    products = np.zeros((len(queries), len(union)), np.float32)
    step = max(1, BUDGET // (4 * queries.shape[1]))
    for start in range(0, len(union), step):
        block = np.asarray(database.global_descriptors[union[start : start + step]], np.float32)
        part = products[:, start : start + step]
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(queries, block.T, out=part)
        check_products("alpha_qe", np.ones(1, np.float32), block, part[0])
    similarities = [row[np.searchsorted(union, own)] for row, own in zip(products, rows)]
    for values in similarities:
        check_finite("alpha_qe", values)
    return similarities

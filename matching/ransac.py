"""Reranking by the number of local matches that agree on one transform (DELG's geometric verification)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features
from matching import geometry, local
from matching.heads import Head, with_heads
from matching.local import Inliers
from matching.ranking import Ranking
from matching.source import Source
from matching.threads import available, single_threaded
from protos.errors import InputError
from protos.progress import progress_bar

REMEMBERED = 500_000  # inlier counts
PATIENCE = 5.0  # seconds without a progress line


class Ransac:
    """Reranker ``ransac``.

    The released rule: the first ``top_k`` are ordered by number of inliers, then by global similarity; those without
    inliers keep their order. The new scores of the head are the numbers of inliers.

    The inlier counts of image pairs are remembered (up to 500,000, then all are forgotten) as long as calls are made
    with the same two sources, since a benchmark reranks nearly the same candidates under each of its protocols.
    """

    def __init__(
        self,
        top_k: int = 100,
        *,
        matching_threshold: float = 1.0,
        residual: float = 20.0,
        ratio: float | None = None,
        model: str = "affine",
        trials: int = 1000,
        seed: int = 0,
        mutual: bool = False,
        plausible_only: bool = True,
        released: bool = False,
        threads: int | None = None,
    ):
        """Sets the parameters.

        Args:
          top_k: how many candidates of each query are reranked.
          matching_threshold: see :func:`matching.local.match`, as for all down to ``plausible_only``.
          residual: pixels in the query image.
          ratio: of nearest to second nearest distance, or None.
          model: affine, homography or similarity.
          trials: most samples drawn for a pair.
          seed: of the random generator.
          mutual: keep only mutual nearest neighbours.
          plausible_only: refuse mirrored, collapsed and extremely stretched fits.
          released: match by the released algorithm instead, which is slow; see :mod:`matching.reference`.
          threads: of the pool over candidates; None for one a core. The result does not depend on it.

        Raises:
          InputError: one is out of range.
        """
        if not isinstance(top_k, int) or top_k < 1:
            raise InputError(f"ransac expects top_k of 1 or more. Received: {top_k!r}")
        if released and (model != "affine" or mutual):
            raise InputError("ransac(released=True) expects model='affine' and mutual=False.")
        local.check_nearest(matching_threshold, ratio)
        geometry.check(model, residual, trials, seed)
        self.head = top_k
        self.threads = available(threads)
        self._released = released
        self._options: dict[str, Any] = {
            "matching_threshold": matching_threshold,
            "ratio": ratio,
            "residual": residual,
            "trials": trials,
            "seed": seed,
        }
        if not released:
            self._options |= {"model": model, "mutual": mutual, "plausible_only": plausible_only}
        self._counts: dict[tuple[int, int], int] = {}
        self._sources: tuple[Source, Source] | None = None

    def inliers(self, query: Features, index: Features) -> Inliers:
        """Matches two images with this reranker's parameters.

        Raises:
          InputError: the features cannot be compared.
        """
        if self._released:
            from matching import reference  # imports SciPy

            return reference.match(query, index, **self._options)
        return local.match(query, index, **self._options)

    def __call__(self, queries: Source, database: Source, ranking: Ranking) -> Ranking:
        """Reranks the first ``top_k`` of each row.

        Args:
          queries: their local features are read one image at a time.
          database: its local features are read as they are needed, one image a thread.
          ranking: rows of the database for each query.

        Returns:
          The same images in each row, in new order.

        Raises:
          InputError: local features of the two sources cannot be compared.
        """
        if self._sources is None or self._sources[0] is not queries or self._sources[1] is not database:
            self._counts, self._sources = {}, (queries, database)
        with single_threaded(), ThreadPoolExecutor(self.threads, thread_name_prefix="ransac") as pool:
            bar = progress_bar(range(len(ranking)), desc="ransac", unit="query", delay=PATIENCE)
            heads = [self._head(pool, queries, database, q, ranking.row(q)[: self.head]) for q in bar]
        return with_heads(ranking, heads)

    def _head(
        self, pool: ThreadPoolExecutor, queries: Source, database: Source, q: int, rows: NDArray[np.int64]
    ) -> Head:
        new = [int(row) for row in rows if (q, int(row)) not in self._counts]
        counts = {int(row): self._counts[q, int(row)] for row in rows if (q, int(row)) in self._counts}
        if new:
            query = queries.features(q)
            counts |= zip(new, pool.map(lambda row: len(self.inliers(query, database.features(row))), new))
            if len(self._counts) + len(new) > REMEMBERED:
                self._counts.clear()
            self._counts |= {(q, row): counts[row] for row in new}
        inliers = np.array([counts[int(row)] for row in rows], np.float32)
        order = np.argsort(-inliers, kind="stable")
        return rows[order], inliers[order]

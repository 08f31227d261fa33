"""Reranking by the number of local matches that agree on one transform (DELG's geometric verification)."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.progress import progress_bar
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from matching.checks import number, whole
from matching.local import MATCHING_THRESHOLD, MIN_MATCHES, RESIDUAL, TRIALS, geometry, matching
from matching.local.matching import Inliers
from matching.ranking import Ranking
from matching.rerankers.base import GeometricReranker, Scores
from matching.rerankers.verification import settle, windowed
from matching.threads import available, single_threaded

REMEMBERED = 500_000  # inlier counts
PATIENCE = 5.0  # seconds without a progress line
AHEAD = 4  # candidates handed out at once, times the threads
HELD = 64 << 20  # bytes of matched points that wait for their geometry

Rows = NDArray[np.int64]
Points = tuple[Floats, Floats]


class Ransac(GeometricReranker):
    """Reranker ``ransac``: orders candidates by the number of local matches that agree on one transform.

    The released rule: the first ``top_k`` are ordered by number of inliers, then by global similarity; those without
    inliers keep their order. The new scores are the numbers of inliers.

    With ``settled=n`` candidates are verified only until the first n places are certain to be those of verifying all;
    see :func:`matching.rerankers.verification.settle`. Those that were not verified count as without inliers.

    The inlier counts of image pairs are remembered (up to 500,000, then all are forgotten) as long as calls are made
    with the same two sources, since a benchmark reranks nearly the same candidates under each of its protocols.
    """

    name = "ransac"

    def __init__(
        self,
        top_k: int = 100,
        *,
        matching_threshold: float = MATCHING_THRESHOLD,
        residual: float = RESIDUAL,
        residual_share: float | None = None,
        ratio: float | None = None,
        model: str = "affine",
        trials: int = TRIALS,
        seed: int = 0,
        mutual: bool = False,
        plausible_only: bool = True,
        one_per_place: bool = False,
        released: bool = False,
        settled: int | None = None,
        threads: int | None = None,
    ):
        """Sets the parameters.

        Args:
          top_k: how many candidates of each query are reranked.
          matching_threshold: see :func:`matching.local.matching.match`, as for all down to ``one_per_place``.
          residual: pixels in the query image.
          residual_share: the residual as a share of the query image's longer side instead, 0 to 1, so that small and
            large photos are treated alike; None for ``residual``.
          ratio: of nearest to second nearest distance, or None.
          model: affine, homography or similarity.
          trials: most samples drawn for a pair.
          seed: of the random generator.
          mutual: keep only mutual nearest neighbours.
          plausible_only: refuse mirrored, collapsed and extremely stretched fits.
          one_per_place: count inliers that share a place once; the released rule, and so the default, counts all.
            :func:`matching.rerankers.table.build_reranker` sets another default for own photos.
          released: match by the released algorithm instead, which is slow; see :mod:`matching.local.released`.
          settled: how many first places must be certain; None verifies every candidate.
          threads: of the pool over candidates; None for one a core. The result does not depend on it.

        Raises:
          InputError: an argument is out of range.
        """
        super().__init__(top_k)
        self.settled = settled if settled is None else whole("ransac: settled", settled)
        if released and (model != "affine" or mutual or one_per_place or settled is not None):
            raise InputError(
                "ransac(released=True) expects model='affine', mutual=False, one_per_place=False and settled=None."
            )
        matching.check_nearest(matching_threshold, ratio)
        geometry.check(model, residual, trials, seed)
        self.threads = available(threads)
        if residual_share is not None:
            number("ransac: residual_share", residual_share, above=True, most=1)
        self.model = model
        self._residual, self._residual_share = residual, residual_share
        self._released = released
        self._nearest: dict[str, Any] = {"matching_threshold": matching_threshold, "ratio": ratio}
        self._geometry: dict[str, Any] = {"trials": trials, "seed": seed}
        if not released:
            self._nearest["mutual"] = mutual
            self._geometry |= {"model": model, "plausible_only": plausible_only, "one_per_place": one_per_place}
        self._counts: dict[tuple[int, int], int] = {}
        self._bounds: dict[tuple[int, int], int] = {}
        self._sources: tuple[FeatureSource, FeatureSource] | None = None

    def residual(self, query: Features) -> float:
        """Largest error of an inlier, in pixels of a query image."""
        longest = max(query.image_size)  # 0 where a file format does not record the size
        return self._residual_share * longest if self._residual_share and longest else self._residual

    def inliers(self, query: Features, index: Features) -> Inliers:
        """Matches two images with this reranker's parameters.

        Raises:
          InputError: the features cannot be compared.
        """
        options = self._nearest | self._geometry | {"residual": self.residual(query)}
        with single_threaded():  # as in a call: sums in another order may end in another count
            if self._released:
                from matching.local import released as reference  # imports SciPy

                return reference.match(query, index, **options)
            return matching.match(query, index, **options)

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Scores]:
        """Scores of the candidates by their numbers of inliers.

        Args:
          queries: their local features are read one image at a time.
          database: its local features are read as they are needed, one image a thread.
          candidates: rows of the database for each query.

        Raises:
          InputError: local features of the two sources cannot be compared.
        """
        if self._sources is None or self._sources[0] is not queries or self._sources[1] is not database:
            self._counts, self._bounds, self._sources = {}, {}, (queries, database)
        with single_threaded(), ThreadPoolExecutor(self.threads, thread_name_prefix=self.name) as pool:
            for q in progress_bar(range(len(candidates)), desc=self.name, unit="query", delay=PATIENCE):
                yield self._of_query(_Pairs(self, pool, queries, database, q), candidates)

    def _of_query(self, pairs: "_Pairs", candidates: Ranking) -> Scores:
        """Scores of the candidates of one query."""
        rows = candidates.row(pairs.q)
        if self.settled is None:
            counts = np.array(pairs.counts(rows), np.int64)
        else:
            bounds = np.array(pairs.bounds(rows), np.int64)
            counts = settle(bounds, self.settled, lambda places: pairs.counts(rows[places]))
        return np.maximum(counts, 0).astype(np.float64)

    def evidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """``log(1 + inliers)``."""
        return np.log1p(scores)

    def points(self, query: Features, index: Features) -> Points:
        """The keypoints that :func:`matching.local.matching.match` hands to the geometry.

        Returns:
          ``(P, 2)`` of the index image, ``(P, 2)`` of the query, float32, the nearest descriptors first.

        Raises:
          InputError: the features cannot be compared.
        """
        return matching.points(query, index, matching.tentative(query, index, **self._nearest))

    def agreeing(self, query: Features, points: Points) -> int:
        """How many of these points, those of a query second, agree on one transform: the number of inliers."""
        options = self._geometry | {"residual": self.residual(query), "min_matches": MIN_MATCHES}
        return int(geometry.fit(*points, **options).inliers.sum())


class _Pairs:
    """A query and its candidates: numbers of inliers, and their bounds, each computed once."""

    def __init__(
        self, reranker: Ransac, pool: ThreadPoolExecutor, queries: FeatureSource, database: FeatureSource, q: int
    ):
        self.q = q
        self._reranker, self._pool, self._queries, self._database = reranker, pool, queries, database
        self._points: dict[int, Points] = {}
        self._held = 0
        self._holding = Lock()

    @cached_property
    def query(self) -> Features:
        """The query's features, read when the first pair is matched."""
        return self._queries.features(self.q)

    def counts(self, rows: Rows) -> list[int]:
        """Numbers of inliers of database rows."""
        return self._cached(self._reranker._counts, rows, self._count)

    def bounds(self, rows: Rows) -> list[int]:
        """Upper bounds of the numbers of inliers: the numbers of tentative matches; 0 for fewer than needed."""
        return self._cached(self._reranker._bounds, rows, self._bound)

    def _cached(
        self, cache: dict[tuple[int, int], int], rows: Rows, compute: Callable[[Features, int], int]
    ) -> list[int]:
        """The value of each row, from the cache or computed by the pool."""
        all_rows = rows.tolist()
        values = {row: cache[self.q, row] for row in all_rows if (self.q, row) in cache}
        missing = [row for row in all_rows if row not in values]
        if missing:
            results = windowed(self._pool, partial(compute, self.query), missing, AHEAD * self._reranker.threads)
            values |= zip(missing, results)
            if len(cache) + len(missing) > REMEMBERED:
                cache.clear()
            cache |= {(self.q, row): values[row] for row in missing}
        return [values[row] for row in all_rows]

    def _bound(self, query: Features, row: int) -> int:
        points = self._reranker.points(query, self._database.features(row))
        size = sum(side.nbytes for side in points)
        with self._holding:
            if self._held + size <= HELD:
                self._points[row] = points
                self._held += size
        return len(points[0]) if len(points[0]) >= MIN_MATCHES else 0

    def _count(self, query: Features, row: int) -> int:
        points = self._points.pop(row, None)
        if points is None:
            return len(self._reranker.inliers(query, self._database.features(row)))
        return self._reranker.agreeing(query, points)

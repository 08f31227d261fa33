"""How many of the inliers of local matching are right, where the true homographies are known."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.base import Benchmark
from evaluation.run.method import Alignment, Method
from evaluation.synthetic.truth import transfer
from extraction.features import Features
from matching.threads import available, single_threaded

TOLERANCE = 5.0  # pixels
Matrix = NDArray[np.float64]
Pairs = NDArray[np.int64]


def agreeing(query: Features, result: Features, pairs: Pairs, query_plane: Matrix, result_plane: Matrix) -> int:
    """Number of matches that the true homographies confirm.

    Args:
      query: the query's features.
      result: the database image's features.
      pairs: ``(M, 2)`` rows of their keypoints.
      query_plane: ``(3, 3)`` from the landmark's plane to the query photo.
      result_plane: the same for the database image.

    Returns:
      How many of the database keypoints, carried over into the query photo, lie within 5 pixels of the query
      keypoint that they are matched with (the residual of the released RANSAC is measured in the query, too).
    """
    expected = transfer(result.keypoints[pairs[:, 1]], result_plane, query_plane)
    distance = np.linalg.norm(expected - query.keypoints[pairs[:, 0]], axis=1)
    return int(np.count_nonzero(distance <= TOLERANCE))


def inlier_accuracy(
    benchmark: Benchmark, method: Method, reranker: Any, homographies: Mapping[str, Matrix]
) -> dict[str, float]:
    """Share of right inliers over all relevant pairs of a benchmark.

    Args:
      benchmark: its main protocol says which pairs are relevant.
      method: the features.
      reranker: a :class:`matching.rerankers.base.GeometricReranker`.
      homographies: of every query and database image.

    Returns:
      ``percent`` of the inliers that agree (NaN where there is none), ``inliers``, ``pairs`` of images,
      ``tolerance_px``.
    """
    alignment = Alignment(benchmark, method)
    wanted = [
        (benchmark.queries[q].name, int(alignment.query_rows[q]), benchmark.database[d].name, row)
        for q, truth in enumerate(benchmark.protocols[benchmark.main_protocol])
        for d, row in zip(truth.positives, alignment.database_rows[truth.positives].tolist())
    ]
    wanted = [
        pair for pair in wanted if min(pair[1], pair[3]) >= 0 and pair[0] in homographies and pair[2] in homographies
    ]

    def count(pair: tuple[str, int, str, int]) -> tuple[int, int]:
        query, result = method.queries.features(pair[1]), method.database.features(pair[3])
        pairs = reranker.inliers(query, result).pairs
        return agreeing(query, result, pairs, homographies[pair[0]], homographies[pair[2]]), len(pairs)

    with single_threaded(), ThreadPoolExecutor(available(reranker.threads)) as pool:
        counts = list(pool.map(count, wanted))
    agree, inliers = (sum(column) for column in zip((0, 0), *counts))
    percent = 100 * agree / inliers if inliers else float("nan")
    return {"percent": percent, "inliers": inliers, "pairs": len(wanted), "tolerance_px": TOLERANCE}

"""Inlier accuracy of local matching, where true homographies are known."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import Method
from evaluation.synthetic.truth import transfer
from extraction.features import Features
from matching.rerankers.base import GeometricReranker
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
      result_plane: ``(3, 3)`` from the landmark's plane to the database photo.

    Returns:
      Number of database keypoints that, mapped into the query photo, lie within 5 pixels of the matched query
      keypoint (the released RANSAC also measures its residual in the query).
    """
    expected = transfer(result.keypoints[pairs[:, 1]], result_plane, query_plane)
    distance = np.linalg.norm(expected - query.keypoints[pairs[:, 0]], axis=1)
    return int(np.count_nonzero(distance <= TOLERANCE))


def inlier_accuracy(
    benchmark: Benchmark, method: Method, reranker: GeometricReranker, homographies: Mapping[str, Matrix]
) -> dict[str, float]:
    """Share of right inliers over all relevant pairs of a benchmark.

    Args:
      benchmark: the positives of its main protocol are the relevant pairs.
      method: the features.
      reranker: finds the inliers.
      homographies: true homographies by image name.

    Returns:
      ``percent`` of the inliers that agree (NaN without inliers), number of ``inliers``, number of image ``pairs``,
      ``tolerance_px``.
    """
    alignment = method.aligned(benchmark)
    relevant_pairs = [
        (benchmark.queries[q].name, int(alignment.query_rows[q]), benchmark.database[d].name, row)
        for q, truth in enumerate(benchmark.protocols[benchmark.main_protocol])
        for d, row in zip(truth.positives, alignment.database_rows[truth.positives].tolist())
    ]
    relevant_pairs = [
        pair
        for pair in relevant_pairs
        if min(pair[1], pair[3]) >= 0 and pair[0] in homographies and pair[2] in homographies
    ]

    def count(pair: tuple[str, int, str, int]) -> tuple[int, int]:
        query, result = method.queries.features(pair[1]), method.database.features(pair[3])
        pairs = reranker.inliers(query, result).pairs
        return agreeing(query, result, pairs, homographies[pair[0]], homographies[pair[2]]), len(pairs)

    with single_threaded(), ThreadPoolExecutor(available(reranker.threads)) as pool:
        counts = list(pool.map(count, relevant_pairs))
    agree, inliers = (sum(column) for column in zip((0, 0), *counts))
    percent = 100 * agree / inliers if inliers else float("nan")
    return {"percent": percent, "inliers": inliers, "pairs": len(relevant_pairs), "tolerance_px": TOLERANCE}

"""How many of the inliers of local matching are right, where the true homographies are known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.base import Benchmark
from evaluation.runner import Alignment, Method
from extraction.features import Features
from protos.errors import InputError

TOLERANCE = 5.0  # pixels
Matrix = NDArray[np.float64]
Pairs = NDArray[np.int64]


def load_homographies(path: str | Path) -> dict[str, Matrix]:
    """True homographies of a benchmark.

    Args:
      path: an ``.npz`` of ``name -> (3, 3)``, from the landmark's plane to the image's pixels ``(x, y)``.

    Returns:
      The matrices by image name.

    Raises:
      InputError: the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name], np.float64).reshape(3, 3) for name in archive.files}
    except (OSError, ValueError) as error:
        raise InputError(f"The homographies {path} cannot be read: {error}") from error


def transfer(homography: Matrix, points: NDArray[np.floating]) -> Matrix:
    """Maps points by a homography.

    Args:
      homography: ``(3, 3)``.
      points: ``(N, 2)`` as ``(x, y)``.

    Returns:
      ``(N, 2)`` float64.
    """
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


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
    to_query = query_plane @ np.linalg.inv(result_plane)
    expected = transfer(to_query, result.keypoints[pairs[:, 1]].astype(np.float64))
    distance = np.linalg.norm(expected - query.keypoints[pairs[:, 0]], axis=1)
    return int(np.count_nonzero(distance <= TOLERANCE))


def inlier_accuracy(
    benchmark: Benchmark, method: Method, reranker: Any, homographies: Mapping[str, Matrix]
) -> dict[str, float]:
    """Share of right inliers over all relevant pairs of a benchmark.

    Args:
      benchmark: its main protocol says which pairs are relevant.
      method: the features.
      reranker: one that matches local features, ``reranker.inliers(query, result).pairs`` of ``(M, 2)`` keypoint rows.
      homographies: of every query and database image.

    Returns:
      ``percent`` of the inliers that agree (NaN where there is none), ``inliers``, ``pairs`` of images,
      ``tolerance_px``.
    """
    alignment = Alignment(benchmark, method)
    inliers = agree = images = 0
    for q, truth in enumerate(benchmark.protocols[benchmark.main_protocol]):
        for d in truth.positives:
            rows = int(alignment.query_rows[q]), int(alignment.database_rows[d])
            names = benchmark.queries[q].name, benchmark.database[d].name
            if min(rows) < 0 or any(name not in homographies for name in names):
                continue
            query, result = method.queries.features(rows[0]), method.database.features(rows[1])
            pairs = reranker.inliers(query, result).pairs
            agree += agreeing(query, result, pairs, *(homographies[name] for name in names))
            inliers += len(pairs)
            images += 1
    percent = 100 * agree / inliers if inliers else float("nan")
    return {"percent": percent, "inliers": inliers, "pairs": images, "tolerance_px": TOLERANCE}

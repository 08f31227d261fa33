"""Local matching as released: the reference of the faster estimator.

``detect_to_retrieve/image_reranking.py`` of the released DELG code: exact one-way nearest neighbours from a k-d tree,
then RANSAC with an affine transform. Samples are drawn and judged as ``skimage.measure.ransac`` does, which the
released code calls, so a seed gives the same inliers.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from delg.common.errors import InputError
from extraction.features import Features
from matching.local import MATCHING_THRESHOLD, MIN_MATCHES, RESIDUAL, TRIALS, geometry
from matching.local.matching import Inliers, check_nearest, check_pair, without_zeros

SAMPLE = 3
CHUNK = 50  # trials judged at once
EPSILON = np.finfo(np.float64).eps

Mask = NDArray[np.bool_]


def match(
    query: Features,
    index: Features,
    *,
    matching_threshold: float = MATCHING_THRESHOLD,
    ratio: float | None = None,
    residual: float = RESIDUAL,
    trials: int = TRIALS,
    seed: int = 0,
) -> Inliers:
    """Matches the local features of two images by the released algorithm.

    Args:
      query: the query image's features.
      index: the database image's features.
      matching_threshold: largest Euclidean distance of descriptors, exclusive; not used with ``ratio``.
      ratio: the released ratio test, in place of the threshold: nearer than ``ratio`` times the second nearest.
      residual: pixels in the query image, exclusive.
      trials: samples of three pairs drawn.
      seed: of the random generator.

    Returns:
      The inliers of the best sample; the transform is the least-squares fit to them.

    Raises:
      InputError: see :func:`matching.local.matching.match`; or descriptors are binary.
    """
    check_nearest(matching_threshold, ratio)
    geometry.check("affine", residual, trials, seed)
    if query.binary or index.binary:
        raise InputError("The released matching compares descriptors of floats, not binary ones.")
    check_pair(query, index)
    pairs = without_zeros(query, index, tentative(query, index, matching_threshold, ratio))
    if len(pairs) < MIN_MATCHES:
        return Inliers(np.zeros((0, 2), np.int64), None, tentative=len(pairs))
    source, target = index.keypoints[pairs[:, 1]], query.keypoints[pairs[:, 0]]
    mask = ransac(source, target, residual, trials, seed)
    if not mask.any():
        return Inliers(np.zeros((0, 2), np.int64), None, tentative=len(pairs))
    solution = np.linalg.lstsq(_homogeneous(source[mask]), target[mask].astype(np.float64), rcond=None)[0]
    return Inliers(pairs[mask], np.asarray(solution.T, np.float64), tentative=len(pairs))


def tentative(query: Features, index: Features, threshold: float, ratio: float | None) -> NDArray[np.int64]:
    """``(P, 2)`` rows ``(query, index)`` of descriptors that pass the test on distances."""
    if not len(query) or not len(index):
        return np.zeros((0, 2), np.int64)
    tree = cKDTree(index.descriptors)
    if ratio is None:  # of exact copies of a descriptor the tree finds another one with k = 1 than with k = 2
        distances, rows = tree.query(query.descriptors, distance_upper_bound=threshold)
        keep = np.isfinite(distances)
    else:
        two, both = tree.query(query.descriptors, k=2)
        keep, rows = two[:, 0] < ratio * two[:, 1], both[:, 0]
    return np.stack([np.flatnonzero(keep), rows[keep]], axis=1).astype(np.int64)


def ransac(source: NDArray[np.floating], target: NDArray[np.floating], residual: float, trials: int, seed: int) -> Mask:
    """Affine RANSAC.

    The best sample is the one with the most inliers, then with the least sum of squared residuals over all pairs. It
    ends early only when the probability that no sample so far was all inliers falls below the float64 epsilon.

    Args:
      source: ``(N, 2)``, N at least 4.
      target: ``(N, 2)``.
      residual: pixels in the target, exclusive.
      trials: samples drawn.
      seed: of the random generator.

    Returns:
      ``(N,)`` bool; all False when every sample is degenerate.
    """
    n, a, b = len(source), _homogeneous(source), target.astype(np.float64)
    rng = np.random.default_rng(seed)
    samples = np.stack([rng.choice(n, SAMPLE, replace=False) for _ in range(trials)])
    best, least, needed = np.zeros(n, bool), np.inf, np.inf
    for start in range(0, trials, CHUNK):
        squared = squared_residuals(a, b, samples[start : start + CHUNK])
        agree, total = squared < residual**2, squared.sum(1)
        for trial, (inliers, error) in enumerate(zip(agree, total), start + 1):
            count, most = inliers.sum(), best.sum()
            if count > most or (count == most > 0 and error < least):
                best, least = inliers, error
                needed = trials_needed(count / n)
            if trial >= needed:
                return best
    return best


def _homogeneous(points: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.column_stack([points.astype(np.float64), np.ones(len(points))])


def squared_residuals(
    a: NDArray[np.float64], b: NDArray[np.float64], samples: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``(T, N)`` squared residuals of the transforms through ``(T, 3)`` samples; infinite for degenerate ones."""
    corners = a[samples]
    sound = np.abs(np.linalg.det(corners)) > 1e-9
    squared = np.full((len(samples), len(a)), np.inf)
    transforms = np.linalg.solve(corners[sound], b[samples[sound]])
    squared[sound] = ((a @ transforms - b) ** 2).sum(-1)
    return squared


def trials_needed(share: float) -> float:
    """Trials after which, at this share of inliers, a sample of inliers only was almost surely drawn."""
    miss = np.clip(1 - share**SAMPLE, EPSILON, 1 - EPSILON)
    return float(np.ceil(np.log(EPSILON) / np.log(miss)))

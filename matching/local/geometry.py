"""Robust geometry: the transform that most matched points agree on, with OpenCV's USAC."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from matching.local import MIN_MATCHES, MODELS, RESIDUAL, TRIALS, few_places
from matching.local.refinement import refined
from matching.local.transforms import Matrix, Points, as_columns, plausible, squared_residuals

CONFIDENCE = 0.99999
LARGEST = 1e30  # pixels of a residual
ATTEMPTS = 2
PLACE = 1 / 20  # of the residual


@dataclass(frozen=True, eq=False)
class Fit:
    """A transform and who agrees with it.

    Attributes:
      transform: ``(2, 3)``, for homographies ``(3, 3)``, float64, source pixels ``(x, y)`` to target pixels; None
        when no transform was found.
      inliers: ``(N,)`` bool, whose residual in the target is below the limit.
    """

    transform: Matrix | None
    inliers: NDArray[np.bool_]


def fit(
    source: Points,
    target: Points,
    *,
    model: str = "affine",
    residual: float = RESIDUAL,
    trials: int = TRIALS,
    seed: int = 0,
    min_matches: int = MIN_MATCHES,
    plausible_only: bool = True,
    one_per_place: bool = False,
) -> Fit:
    """Finds the transform that most pairs agree on.

    Few distinct places: :mod:`matching.local.few_places`. Many, affine and homography: OpenCV's USAC with progressive
    sampling (Chum and Matas, "Matching with PROSAC", CVPR 2005), the score being the number of inliers; of pairs that
    may be one place the first is sampled first. Many, similarity: OpenCV's RANSAC, which does not depend on the seed.
    Then :mod:`matching.local.refinement`, but not of so few inliers that it would lift the counts of unrelated photos.
    The inliers are counted anew from the transform.

    Args:
      source: ``(N, 2)`` points ``(x, y)``, the most trusted pairs first.
      target: ``(N, 2)`` their counterparts.
      model: ``affine`` (6 degrees of freedom, as released), ``homography`` (8) or ``similarity`` (4).
      residual: pixels in the target; a pair agrees when it is strictly nearer.
      trials: most samples drawn; fewer when the probability of a better one falls below 0.00001.
      seed: of the random generator.
      min_matches: fewer pairs, or fewer that agree, count as none.
      plausible_only: refuse what :func:`plausible` refuses; its pairs are then set aside and the others tried once.
      one_per_place: of the inliers that share a place in either image, only the most trusted counts; a place is a
        square whose side is a twentieth of the residual, a pixel by default.

    Returns:
      The fit; no transform and no inliers when there is none.

    Raises:
      InputError: an argument is out of range.
    """
    check(model, residual, trials, seed)
    a, b = (np.ascontiguousarray(points, np.float32) for points in (source, target))
    left, pairs = np.arange(len(a)), as_columns(a, b)
    for attempt in range(ATTEMPTS):
        if len(left) < max(min_matches, 1):
            break
        transform = _estimate(
            a[left],
            b[left],
            model,
            residual=residual,
            trials=trials,
            seed=seed + attempt,
            plausible_only=plausible_only,
        )
        if transform is None:
            break
        squared = squared_residuals(transform[None], pairs)[0]
        agree = squared < residual**2
        better = refined(transform, pairs, squared, model, residual=residual)
        for candidate in (transform,) if better is None else (better, transform):
            inliers = agree if candidate is transform else squared_residuals(candidate[None], pairs)[0] < residual**2
            if not plausible_only or plausible(candidate, a[inliers]):
                if one_per_place:
                    inliers = few_places.one_per_place(a, b, inliers, PLACE * residual)
                return Fit(candidate, inliers) if inliers.sum() >= min_matches else _nothing(len(a))
        left = left[~agree[left]]
    return _nothing(len(a))


def check(model: str, residual: float, trials: int, seed: int) -> None:
    """Checks the arguments of :func:`fit`.

    Raises:
      InputError: one is out of range.
    """
    if model not in MODELS:
        raise InputError(f"Unknown geometric model {model!r}; the choices are {', '.join(MODELS)}.")
    if not isinstance(residual, int | float) or isinstance(residual, bool) or not 0 < residual <= LARGEST:
        raise InputError(f"residual expects pixels above 0. Received: {residual!r}")
    if not isinstance(trials, int) or isinstance(trials, bool) or not 1 <= trials < 2**31:
        raise InputError(f"trials expects 1 or more, below 2147483648. Received: {trials!r}")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31 - ATTEMPTS:
        raise InputError(f"seed expects a whole number from 0 to 2147483645. Received: {seed!r}")


def _nothing(n: int) -> Fit:
    return Fit(None, np.zeros(n, bool))


def _estimate(
    a: Points, b: Points, model: str, *, residual: float, trials: int, seed: int, plausible_only: bool
) -> Matrix | None:
    """The transform through the best sample of distinct places; None when there is none."""
    places = few_places.distinct(a, b, residual)
    if len(places[1]):
        return few_places.best_sample(
            a, b, places, model, residual=residual, trials=trials, seed=seed, plausible_only=plausible_only
        )
    a, b = few_places.spread(a, places[0]), few_places.spread(b, places[0])
    try:
        if model == "similarity":
            transform, _ = cv2.estimateAffinePartial2D(
                a, b, method=cv2.RANSAC, ransacReprojThreshold=residual, maxIters=trials, confidence=CONFIDENCE
            )
        elif model == "homography":
            transform, _ = cv2.findHomography(a, b, _usac(residual, trials, seed))
        else:
            transform, _ = cv2.estimateAffine2D(a, b, _usac(residual, trials, seed))
    except cv2.error:  # raised on degenerate points
        return None
    if transform is None or not np.isfinite(transform).all():
        return None
    return np.asarray(transform, np.float64)


def _usac(residual: float, trials: int, seed: int) -> cv2.UsacParams:
    params = cv2.UsacParams()
    params.threshold, params.maxIterations, params.confidence = residual, trials, CONFIDENCE
    params.randomGeneratorState = seed
    params.sampler = cv2.SAMPLING_PROSAC
    params.score = cv2.SCORE_METHOD_RANSAC
    params.loMethod, params.final_polisher = cv2.LOCAL_OPTIM_NULL, cv2.NONE_POLISHER
    params.isParallel = False
    return params

"""Robust geometry: the transform that most matched points agree on, with OpenCV's USAC."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb

import cv2
import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError

Matrix = NDArray[np.float64]
Points = NDArray[np.floating]

MODELS = ("affine", "homography", "similarity")
CONFIDENCE = 0.99999
LARGEST = 1e30  # pixels of a residual
MAX_SCALE = 8.0  # the range of DELG's image scales, 0.25 to 2
MAX_STRETCH = 6.0
ATTEMPTS = 2
PLACE = 2.0  # pixels: two pairs of points nearer than this in both images are one place
CROWDED = 512  # more pairs than this are many places, however some of them repeat
FEW = 64  # places: samples of so many or fewer are judged all at once, without OpenCV
SAMPLES = 1000  # of few places: all minimal samples where there are no more, else so many random ones
CHUNK = 250  # samples judged at once
SAMPLE = {"affine": 3, "homography": 4, "similarity": 2}
CONVINCING = 12  # inliers: fewer are chance as often as not, and local optimisation lifts the counts of chance as well
REFITS = 2  # rounds of local optimisation at most
WIDER = (2.0, 1.5, 1.2, 1.0)  # times the residual: the pairs that a transform is fitted to in the steps of a round


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


def apply(transform: Matrix, points: Points) -> Matrix:
    """Maps points.

    Args:
      transform: ``(2, 3)`` or ``(3, 3)``.
      points: ``(N, 2)`` as ``(x, y)``.

    Returns:
      ``(N, 2)`` float64; not finite where a homography sends a point to infinity.
    """
    mapped = points.astype(np.float64) @ transform[:, :2].T + transform[:, 2]
    if len(transform) == 2:
        return mapped
    with np.errstate(divide="ignore", invalid="ignore"):
        return mapped[:, :2] / mapped[:, 2:]


def within(transform: Matrix, source: Points, target: Points, residual: float) -> NDArray[np.bool_]:
    """Whose distance in the target, in pixels, is below ``residual`` (strictly, as released): ``(N,)`` bool."""
    difference = apply(transform, source) - target
    return np.einsum("nc,nc->n", difference, difference) < residual**2


def plausible(transform: Matrix, points: Points) -> bool:
    """Whether two photos of one object can be related so.

    A fit that mirrors, or that presses an image into a line or a point, finds agreement wherever keypoints crowd, so
    unrelated photos reach high counts with it. It must keep the orientation, change lengths by a factor of at most 8
    either way, and stretch one direction at most 6 times as much as the other.

    Args:
      transform: ``(2, 3)`` or ``(3, 3)``.
      points: ``(N, 2)`` the source points that agree; a homography is judged by its derivative at their mean, and
        must keep all of them on one side of its horizon.
    """
    linear = transform[:2, :2]
    if len(transform) == 3:
        depths = points @ transform[2, :2] + transform[2, 2]
        if not depths.size or depths.min() * depths.max() <= 0:
            return False
        centre = points.astype(np.float64).mean(0)
        depth = transform[2, :2] @ centre + transform[2, 2]
        linear = (linear - np.outer(apply(transform, centre[None])[0], transform[2, :2])) / depth
    if not np.isfinite(linear).all() or np.linalg.det(linear) <= 0:
        return False
    longest, shortest = np.linalg.svd(linear, compute_uv=False)
    return bool(longest <= MAX_SCALE and shortest >= 1 / MAX_SCALE and longest <= MAX_STRETCH * shortest)


def fit(
    source: Points,
    target: Points,
    *,
    model: str = "affine",
    residual: float = 20.0,
    trials: int = 1000,
    seed: int = 0,
    min_matches: int = 4,
    plausible_only: bool = True,
    one_per_place: bool = False,
) -> Fit:
    """Finds the transform that most pairs agree on.

    Pairs that repeat one place are sampled once, as a sample of copies determines no transform. Few places: every
    minimal sample is tried, or many at random. Many places, affine and homography: OpenCV's USAC with progressive
    sampling (Chum and Matas, "Matching with PROSAC", CVPR 2005), the score being the number of inliers. Many places,
    similarity: OpenCV's RANSAC, which does not depend on the seed. Local optimisation then fits the best transform by
    least squares to the pairs within a residual that shrinks from twice the limit, as long as more pairs agree (Chum,
    Matas and Kittler, "Locally optimized RANSAC", DAGM 2003). The inliers are counted from the transform.

    Args:
      source: ``(N, 2)`` points ``(x, y)``, the most trusted pairs first.
      target: ``(N, 2)`` their counterparts.
      model: ``affine`` (6 degrees of freedom, as released), ``homography`` (8) or ``similarity`` (4).
      residual: pixels in the target; a pair agrees when it is strictly nearer.
      trials: most samples drawn; fewer when the probability of a better one falls below 0.00001.
      seed: of the random generator.
      min_matches: fewer pairs, or fewer that agree, count as none.
      plausible_only: refuse what :func:`plausible` refuses; its pairs are then set aside and the others tried once.
      one_per_place: of the inliers that share a whole pixel in either image, only the most trusted counts.

    Returns:
      The fit; no transform and no inliers when there is none.

    Raises:
      InputError: an argument is out of range.
    """
    check(model, residual, trials, seed)
    a, b = (np.ascontiguousarray(points, np.float32) for points in (source, target))
    left = np.arange(len(a))
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
        agree = within(transform, a, b, residual)
        if not plausible_only or plausible(transform, a[agree]):
            transform, agree = _refined(
                transform, agree, a, b, model=model, residual=residual, plausible_only=plausible_only
            )
            if one_per_place:
                agree = first_of_places(a, b, agree)
            return Fit(transform, agree) if agree.sum() >= min_matches else _nothing(len(a))
        left = left[~agree[left]]
    return _nothing(len(a))


def first_of_places(source: Points, target: Points, agree: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The inliers that no earlier inlier shares a place with.

    Args:
      source: ``(N, 2)``, the most trusted pairs first.
      target: ``(N, 2)``.
      agree: ``(N,)`` the inliers.

    Returns:
      ``(N,)`` bool; a place is a whole pixel, in either image.
    """
    rows = np.flatnonzero(agree)
    for points in (source, target):
        pixels = np.rint(points[rows].astype(np.float64))
        _, first = np.unique(pixels[:, 0] + 1j * pixels[:, 1], return_index=True)
        rows = rows[np.sort(first)]
    chosen = np.zeros(len(agree), bool)
    chosen[rows] = True
    return chosen


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
    """The transform of the best sample of places; None when there is none."""
    rows = _places(a, b)
    if len(rows) <= FEW:
        return _best_of_few(a, b, rows, model=model, residual=residual, seed=seed, plausible_only=plausible_only)
    if len(rows) < len(a) / 2:
        a, b = np.ascontiguousarray(a[rows]), np.ascontiguousarray(b[rows])
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


def _places(a: Points, b: Points) -> NDArray[np.int64]:
    """Rows of pairs that stand for the distinct places, the most trusted of each, in order.

    Exact copies are found among any number of pairs, near ones among at most :data:`CROWDED`.
    """
    pairs = np.column_stack([a, b]) + np.float32(0)  # no negative zeros, which differ from zeros as bytes
    _, first = np.unique(pairs.view(np.dtype((np.void, pairs.itemsize * 4))).ravel(), return_index=True)
    rows = np.sort(first)
    if len(rows) > CROWDED:
        return rows
    cells = np.floor(a[rows].astype(np.float64) / (2 * PLACE))
    if len(np.unique(cells[:, 0] + 1j * cells[:, 1])) > 0.8 * len(rows):
        return rows
    left, places = pairs[rows], []
    while len(rows):
        places.append(rows[0])
        apart = np.abs(left - left[0]).max(1) >= PLACE
        rows, left = rows[apart], left[apart]
    return np.array(places, np.int64)


def _best_of_few(
    a: Points, b: Points, rows: NDArray[np.int64], *, model: str, residual: float, seed: int, plausible_only: bool
) -> Matrix | None:
    """The transform of the minimal sample of some rows that most pairs agree on, a plausible one where asked for.

    Sampling ends when a better transform would have been drawn with :data:`CONFIDENCE`.
    """
    best, most, drawn = None, 0, 0
    x, y = a.astype(np.float64), b.astype(np.float64)
    homogeneous = np.vstack([x.T, np.ones(len(x))])
    for samples in _samples(len(rows), SAMPLE[model], seed):
        transforms = _exact(x[rows[samples]], y[rows[samples]], model)
        transforms = transforms[np.isfinite(transforms).all((1, 2))]
        mapped = (transforms.reshape(-1, 3) @ homogeneous).reshape(*transforms.shape[:2], len(x))
        if model == "homography":
            with np.errstate(divide="ignore", invalid="ignore"):
                mapped = mapped[:, :2] / mapped[:, 2:]
        difference = mapped - y.T
        agree = difference[:, 0] ** 2 + difference[:, 1] ** 2 < residual**2
        counts = agree.sum(1)
        for trial in np.argsort(-counts, kind="stable"):
            if counts[trial] <= most:
                break
            if not plausible_only or plausible(transforms[trial], a[agree[trial]]):
                best, most = transforms[trial], int(counts[trial])
                break
        drawn += len(samples)
        if (1 - (most / len(a)) ** SAMPLE[model]) ** drawn <= 1 - CONFIDENCE:
            break
    return best / best[2, 2] if best is not None and len(best) == 3 and best[2, 2] else best


def _samples(count: int, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Minimal samples of some rows, in parts: all in random order where there are few, else random ones."""
    rng = np.random.default_rng(seed)
    if comb(count, size) <= SAMPLES:
        every = np.fromiter(chain.from_iterable(combinations(range(count), size)), np.int64).reshape(-1, size)
        every = rng.permutation(every)
    else:
        every = rng.random((SAMPLES, count)).argpartition(size, axis=1)[:, :size]
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]


def _exact(a: Matrix, b: Matrix, model: str) -> Matrix:
    """``(T, r, 3)`` transforms through ``(T, k, 2)`` minimal samples; those of degenerate samples are left out."""
    if model != "homography":
        (x, y), (u, v) = (np.moveaxis(side[:, 1] - side[:, 0], 1, 0) for side in (a, b))
        if model == "similarity":
            area = x**2 + y**2
            first, second = np.stack([x * u + y * v, y * u - x * v], 1), np.stack([x * v - y * u, x * u + y * v], 1)
        else:
            (p, q), (s, t) = (np.moveaxis(side[:, 2] - side[:, 0], 1, 0) for side in (a, b))
            area = x * q - y * p
            first, second = (np.stack([m * q - n * y, n * x - m * p], 1) for m, n in ((u, s), (v, t)))
        fine = np.abs(area) > 1e-6
        linear = np.stack([first, second], 1)[fine] / area[fine, None, None]
        return np.concatenate([linear, (b[fine, 0] - np.einsum("trc,tc->tr", linear, a[fine, 0]))[..., None]], 2)
    one, other = (np.concatenate([points, np.ones((*points.shape[:2], 1))], 2).swapaxes(1, 2) for points in (a, b))
    fine = np.abs(np.linalg.det(one[..., :3])) > 1e-6
    fine &= np.abs(np.linalg.det(other[..., :3])) > 1e-6
    left, right = (  # each maps the projective basis to its sample
        side[fine, :, :3] * np.linalg.solve(side[fine, :, :3], side[fine, :, 3:]).swapaxes(1, 2)
        for side in (one, other)
    )
    sound = np.abs(np.linalg.det(left)) > 1e-9
    return right[sound] @ np.linalg.inv(left[sound])


def _least_squares(a: Points, b: Points, model: str) -> Matrix | None:
    """The least-squares transform of some pairs; None of degenerate ones."""
    if model == "homography":
        try:
            transform, _ = cv2.findHomography(a, b, 0)
        except cv2.error:
            return None
        return None if transform is None else np.asarray(transform, np.float64)
    x, y = a.astype(np.float64), b.astype(np.float64)
    centre, other = x.mean(0), y.mean(0)
    x, y = x - centre, y - other
    if model == "affine":
        square = x.T @ x
        determinant = square[0, 0] * square[1, 1] - square[0, 1] ** 2
        if determinant <= 1e-9 * max(square[0, 0], square[1, 1]) ** 2:
            return None
        linear = np.linalg.solve(square, x.T @ y).T
    else:
        spread = np.einsum("nc,nc->", x, x)
        if not spread:
            return None
        c = np.einsum("nc,nc->", x, y) / spread
        s = (x[:, 0] @ y[:, 1] - x[:, 1] @ y[:, 0]) / spread
        linear = np.array([[c, -s], [s, c]])
    return np.column_stack([linear, other - linear @ centre])


def _refined(
    transform: Matrix,
    agree: NDArray[np.bool_],
    a: Points,
    b: Points,
    *,
    model: str,
    residual: float,
    plausible_only: bool,
) -> tuple[Matrix, NDArray[np.bool_]]:
    """The transform after local optimisation, and who agrees with it; never fewer than before."""
    count = int(agree.sum())
    for _ in range(REFITS if count >= CONVINCING else 0):
        current, before = transform, count
        for width in WIDER:
            chosen = within(current, a, b, width * residual)
            other = _least_squares(a[chosen], b[chosen], model) if chosen.sum() > SAMPLE[model] else None
            if other is None or not np.isfinite(other).all():
                break
            current, more = other, within(other, a, b, residual)
            if more.sum() > count and (not plausible_only or plausible(current, a[more])):
                transform, agree, count = current, more, int(more.sum())
        if count == before:
            break
    return transform, agree


def _usac(residual: float, trials: int, seed: int) -> cv2.UsacParams:
    params = cv2.UsacParams()
    params.threshold, params.maxIterations, params.confidence = residual, trials, CONFIDENCE
    params.randomGeneratorState = seed
    params.sampler = cv2.SAMPLING_PROSAC
    params.score = cv2.SCORE_METHOD_RANSAC
    params.loMethod, params.final_polisher = cv2.LOCAL_OPTIM_NULL, cv2.NONE_POLISHER
    params.isParallel = False
    return params

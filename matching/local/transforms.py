"""Transforms of the plane: mapped points, residuals, plausibility, and fits to pairs.

Stacks of transforms are ``(T, 2, 3)``, of homographies ``(T, 3, 3)``, float64. A transform that its pairs do not
determine holds values that are not finite, or agrees with few pairs.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Points = NDArray[np.floating]
Mask = NDArray[np.bool_]

MAX_SCALE = 8.0  # the range of DELG's image scales, 0.25 to 2
MAX_STRETCH = 6.0
TINY = 1e-30  # pixels
RIDGE = 1e-12  # of squares of points in the unit square: makes every system of equations solvable
SAMPLE = {"affine": 3, "homography": 4, "similarity": 2}  # pairs that determine a transform


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


def normalised(transform: Matrix | None) -> Matrix | None:
    """The transform with a last entry of 1 where it is a homography that can have it."""
    if transform is None or len(transform) == 2 or not transform[2, 2]:
        return transform
    return transform / transform[2, 2]


def as_columns(source: Points, target: Points) -> Matrix:
    """Pairs as ``(5, N)`` float64, rows ``x, y, 1`` of the source and ``x, y`` of the target."""
    columns = np.ones((5, len(source)))
    columns[:2], columns[3:] = source.T, target.T
    return columns


def squared_residuals(transforms: Matrix, pairs: Matrix) -> Matrix:
    """Squared distances of pairs in the target, under each of ``T`` transforms.

    Args:
      transforms: ``(T, 2, 3)`` or ``(T, 3, 3)``.
      pairs: ``(5, N)``, see :func:`as_columns`.

    Returns:
      ``(T, N)`` float64; not finite where a transform or its image is not.
    """
    mapped = (transforms.reshape(-1, 3) @ pairs[:3]).reshape(len(transforms), -1, pairs.shape[1])
    if mapped.shape[1] == 3:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            mapped = mapped[:, :2] / mapped[:, 2:]
    mapped -= pairs[3:]
    mapped *= mapped
    return mapped[:, 0] + mapped[:, 1]


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
    return bool(each_plausible(transform[None], points.astype(np.float64), np.ones((1, len(points)), bool))[0])


def each_plausible(transforms: Matrix, points: Matrix, agree: Mask) -> Mask:
    """Which of ``T`` transforms are :func:`plausible`.

    Args:
      transforms: ``(T, 2, 3)`` or ``(T, 3, 3)``.
      points: ``(N, 2)`` float64 source points.
      agree: ``(T, N)`` which of the points agree with each transform.

    Returns:
      ``(T,)`` bool.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        linear, fine = transforms[:, :2, :2], np.ones(len(transforms), bool)
        if transforms.shape[1] == 3:
            depths = transforms[:, 2, :2] @ points.T + transforms[:, 2, 2:]
            lowest = np.where(agree, depths, np.inf).min(1, initial=np.inf)
            fine = lowest * np.where(agree, depths, -np.inf).max(1, initial=-np.inf) > 0
            fine &= agree.any(1)
            centre = np.column_stack([agree @ points, agree.sum(1)]) / agree.sum(1)[:, None]
            mapped = np.einsum("trc,tc->tr", transforms, centre)
            depth = mapped[:, 2, None, None]
            linear = (linear - mapped[:, :2, None] / depth * transforms[:, 2, None, :2]) / depth
        (a, b), (c, d) = np.moveaxis(linear, 0, 2)
        turning, mirroring = np.hypot(a + d, b - c) / 2, np.hypot(a - d, b + c) / 2  # (longest +- shortest) / 2
        longest, shortest = turning + mirroring, turning - mirroring  # the latter below 0 where it mirrors
        fine &= (longest <= MAX_SCALE) & (shortest >= 1 / MAX_SCALE) & (longest <= MAX_STRETCH * shortest)
    return fine


def unit_square(points: Points) -> tuple[Matrix, Matrix]:
    """Points moved and scaled into ``[-1, 1]``, and the ``(3, 3)`` matrix that does so."""
    contiguous = np.array(points.T, np.float64, order="C")  # which NumPy reduces ten times faster
    low, high = contiguous.min(1), contiguous.max(1)
    centre, size = (low + high) / 2, max(float((high - low).max()) / 2, TINY)
    change = np.array([[1 / size, 0, -centre[0] / size], [0, 1 / size, -centre[1] / size], [0, 0, 1]])
    return (points - centre) / size, change


def products(source: Matrix, target: Matrix) -> Matrix:
    """What :func:`solved` needs of each pair, to be summed over those that a transform is fitted to.

    Args:
      source: ``(N, 2)`` float64, see :func:`unit_square`.
      target: ``(N, 2)`` float64.

    Returns:
      ``(N, 3, 5)``: with ``p = (x, y, 1)`` the products of p with p, and of p with the target.
    """
    rows = np.column_stack([source, np.ones(len(source))])
    return rows[:, :, None] * np.column_stack([rows, target])[:, None, :]


def solved(sums: Matrix, model: str) -> Matrix:
    """The transforms nearest to sets of pairs, by the sum of squared distances in the target.

    Args:
      sums: ``(T, 3, 5)`` of :func:`products`.
      model: ``affine`` or ``similarity``.

    Returns:
      ``(T, 2, 3)``; of pairs that leave it open, a transform that presses the source into a line or a point.
    """
    square, cross = sums[:, :, :3] + RIDGE * np.eye(3), sums[:, :, 3:]
    if model == "affine":
        return np.asarray(np.linalg.solve(square, cross).swapaxes(1, 2), np.float64)
    count = square[:, 2, 2]
    (x, y), (u, v) = square[:, 2, :2].T, cross[:, 2].T
    spread = square[:, 0, 0] + square[:, 1, 1] - (x * x + y * y) / count
    cosine = (cross[:, 0, 0] + cross[:, 1, 1] - (x * u + y * v) / count) / spread
    sine = (cross[:, 0, 1] - cross[:, 1, 0] - (x * v - y * u) / count) / spread
    first = [cosine, -sine, (u - cosine * x + sine * y) / count]
    return np.moveaxis(np.array([first, [sine, cosine, (v - sine * x - cosine * y) / count]]), 2, 0)


def through_four(source: Matrix, target: Matrix) -> Matrix:
    """``(T, 3, 3)`` homographies through ``(T, 4, 2)`` pairs, of largest entry 1 or -1."""
    bases = []
    for side in (source, target):  # the map from the corners of the projective basis to the four points
        first, second, third, fourth = np.moveaxis(np.concatenate([side, np.ones((len(side), 4, 1))], axis=2), 1, 0)
        weights = np.einsum("rtc,tc->tr", _adjugate_rows(first, second, third), fourth)
        bases.append([point * weights[:, i, None] for i, point in enumerate((first, second, third))])
    homographies = np.einsum("ktr,ktc->trc", np.array(bases[1]), _adjugate_rows(*bases[0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return homographies / np.abs(homographies).max((1, 2), keepdims=True)


def _adjugate_rows(first: Matrix, second: Matrix, third: Matrix) -> Matrix:
    """``(3, T, 3)`` rows of the adjugate of matrices with these ``(T, 3)`` columns."""
    return np.array([np.cross(second, third), np.cross(third, first), np.cross(first, second)])

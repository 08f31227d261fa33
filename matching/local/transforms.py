"""Transforms of the plane: what they do to points, which are plausible, and the best ones through some pairs.

Stacks of transforms are ``(T, 2, 3)``, of homographies ``(T, 3, 3)``, float64. A transform that some pairs do not
determine holds values that are not finite, or agrees with few.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Points = NDArray[np.floating]
Mask = NDArray[np.bool_]

MAX_SCALE = 8.0  # the range of DELG's image scales, 0.25 to 2
MAX_STRETCH = 6.0
RIDGE = 1e-12
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


def within(transform: Matrix, source: Points, target: Points, residual: float) -> Mask:
    """Whose distance in the target, in pixels, is below ``residual`` (strictly, as released): ``(N,)`` bool."""
    difference = apply(transform, source) - target
    return np.einsum("nc,nc->n", difference, difference) < residual**2


def squared_residuals(transforms: Matrix, source: Matrix, target: Matrix) -> Matrix:
    """Squared distances in the target of pairs under each of some transforms.

    Args:
      transforms: ``(T, 2, 3)`` or ``(T, 3, 3)``.
      source: ``(N, 2)`` float64.
      target: ``(N, 2)`` float64.

    Returns:
      ``(T, N)`` float64; not finite where a transform or its image is not.
    """
    rows = transforms.reshape(-1, 3)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mapped = (rows[:, :2] @ source.T + rows[:, 2:]).reshape(len(transforms), -1, len(source))
        if mapped.shape[1] == 3:
            mapped = mapped[:, :2] / mapped[:, 2:]
        mapped -= target.T
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
    """Which of some transforms are :func:`plausible`.

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


def least_squares(source: Matrix, target: Matrix, model: str) -> Matrix:
    """The transforms nearest to sets of pairs, in the squared distances of the target.

    Args:
      source: ``(T, k, 2)`` float64, k as many as :data:`SAMPLE` says, or more; centred and of the order of 1, as the
        normal equations are made regular by :data:`RIDGE`.
      target: ``(T, k, 2)`` float64.
      model: ``affine`` or ``similarity``; or ``homography``, of which four pairs give the transform through them, and
        more OpenCV's fit.

    Returns:
      A stack of T transforms.
    """
    if model == "homography":
        if source.shape[1] == SAMPLE[model]:
            return _through_four(source, target)
        return np.stack([_homography(*pairs) for pairs in zip(source, target)])
    if model == "similarity":
        return _similarities(*(side[..., 0] + 1j * side[..., 1] for side in (source, target)))
    rows = np.concatenate([source, np.ones((*source.shape[:2], 1))], axis=2)
    columns = rows.swapaxes(1, 2)
    return np.linalg.solve(columns @ rows + RIDGE * np.eye(3), columns @ target).swapaxes(1, 2)


def _similarities(source: NDArray[np.complex128], target: NDArray[np.complex128]) -> Matrix:
    """Least squares of ``target = turn source + shift`` in complex numbers, ``(T, k)``."""
    centre, other = source.mean(1), target.mean(1)
    x, y = source - centre[:, None], target - other[:, None]
    turn = (x.conj() * y).sum(1) / ((x.conj() * x).sum(1).real + RIDGE)
    shift = other - turn * centre
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.moveaxis(np.array(rows), 2, 0)


def _homography(source: Matrix, target: Matrix) -> Matrix:
    try:
        transform, _ = cv2.findHomography(source, target, 0)
    except cv2.error:  # raised on degenerate points
        transform = None
    return np.full((3, 3), np.nan) if transform is None else np.asarray(transform, np.float64)


def _through_four(source: Matrix, target: Matrix) -> Matrix:
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

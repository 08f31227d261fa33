"""Local optimisation of a transform (Chum, Matas and Kittler, "Locally optimized RANSAC", DAGM 2003).

A transform through a minimal sample has the errors of its three or four pairs; fits to many pairs find more inliers.
The number of inliers has no slope to follow, so a smooth step of the residual replaces it, which is made steeper from
fit to fit. Each fit weighs the pairs by the slope of the step at their residuals: pairs near the limit decide.
"""

import cv2
import numpy as np

from matching.local.transforms import RIDGE, SAMPLE, TINY, Matrix, normalised, solved

MIN_PER_SAMPLE = 5  # times the pairs of a sample: fewer inliers may agree by chance, and are left alone
FAR = 2.0  # residuals; pairs beyond take no part
LEAST_GAIN = 0.03  # of the inliers; where fewer pairs lie between the residual and FAR, no fit is tried
RIDGES = RIDGE * np.eye(8)
WIDTHS = (1.0, 0.5, 0.25, 0.12)  # of the step, in squares of the residual


def refined(transform: Matrix, pairs: Matrix, squared: Matrix, model: str, *, residual: float) -> Matrix | None:
    """A transform near to another with which more pairs agree.

    Args:
      transform: ``(2, 3)`` or ``(3, 3)``.
      pairs: ``(5, N)``, see :func:`matching.local.transforms.as_columns`.
      squared: ``(N,)`` squared distances under the transform.
      model: ``affine``, ``homography`` or ``similarity``.
      residual: pixels in the target, exclusive.

    Returns:
      The transform; None where no fit has more inliers, or where the inliers may agree by chance.
    """
    near = np.flatnonzero(squared < (FAR * residual) ** 2)
    most = int(np.count_nonzero(squared < residual**2))
    if most < MIN_PER_SAMPLE * SAMPLE[model] or len(near) <= (1 + LEAST_GAIN) * most:
        return None
    pairs, centre, size = _centred(pairs[:, near])
    squared, limit = squared[near] / size**2, np.float64(residual / size) ** 2
    to_unit = np.array([[1, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, size]]) / size
    to_pixels = np.array([[size, 0, centre[3]], [0, size, centre[4]], [0, 0, 1]])
    depth = transform[2] @ np.linalg.solve(to_unit, pairs[:3]) if model == "homography" else None
    best = None
    with np.errstate(all="ignore"):  # of a homography that sends a point to infinity
        for width in WIDTHS:
            root = squared - limit  # of 1 / weights
            root *= 0.5 / (width * limit)
            root *= root
            root += 1
            if depth is not None:
                root *= depth
            root *= root
            fit = _weighted_fit(pairs, 1 / root, model)
            mapped = fit @ pairs[:3]
            if depth is not None:
                mapped, depth = mapped[:2] / mapped[2], mapped[2]
            mapped -= pairs[3:]
            mapped *= mapped
            squared = mapped[0] + mapped[1]
            count = int(np.count_nonzero(squared < limit))
            if count > most:
                best, most = fit, count
    if best is None:
        return None
    whole = best if len(best) == 3 else np.vstack([best, [0, 0, 1]])
    return normalised((to_pixels @ whole @ to_unit)[: len(best)])


def _centred(pairs: Matrix) -> tuple[Matrix, Matrix, float]:
    """``(5, N)`` pairs moved and scaled into ``[-1, 1]``; the ``(5,)`` centre, and the scale of both images."""
    centre = pairs.mean(1)
    pairs = pairs - centre[:, None]
    size = max(float(np.abs(pairs).max()), TINY)
    pairs /= size
    pairs[2] = 1
    return pairs, centre, size


def _weighted_fit(pairs: Matrix, weights: Matrix, model: str) -> Matrix:
    """The transform nearest to weighted pairs, by squared distances; zeros where the pairs leave it open.

    Args:
      pairs: ``(5, N)``.
      weights: ``(N,)``; those of a homography divided by the squared depths of the fit before, since its equations are
        linear in distances times depths.
      model: ``affine``, ``homography`` or ``similarity``.
    """
    source, (u, v) = pairs[:3], pairs[3:]
    if model != "homography":
        sums = (source * weights) @ pairs.T
        if model == "similarity":
            return np.asarray(solved(sums[None], model)[0])
        return _solved(sums[:, :3], sums[:, 3:]).T
    by_u, by_v = ((source * (-weights * factor)) @ source.T for factor in (u, v))
    system = np.zeros((9, 9))
    system[:3, :3] = system[3:6, 3:6] = (source * weights) @ source.T
    system[:3, 6:], system[3:6, 6:], system[6:, :3], system[6:, 3:6] = by_u, by_v, by_u, by_v
    system[6:, 6:] = (source * (weights * (u * u + v * v))) @ source.T
    return np.append(_solved(system[:8, :8], -system[:8, 8:]), 1.0).reshape(3, 3)


def _solved(square: Matrix, right: Matrix) -> Matrix:
    """The solution of symmetric equations, sooner than by NumPy; zeros where there is none."""
    ridge = RIDGES[: len(square), : len(square)]
    return np.asarray(cv2.solve(square + ridge, right, flags=cv2.DECOMP_CHOLESKY)[1], np.float64)

"""Local optimisation of a transform (Chum, Matas and Kittler, "Locally optimized RANSAC", DAGM 2003).

A transform through a minimal sample has the errors of its three or four pairs. Fitted by least squares to those that
agree with it, it finds more; how many more depends on who is asked, so the limit tightens from far beyond the residual.
Then random sets of those near it are asked in turn, as long as the count grows.
"""

import numpy as np

from matching.local.transforms import (
    SAMPLE,
    Mask,
    Matrix,
    Points,
    columns,
    nearest_homography,
    normalised,
    products,
    solved,
    squared_residuals,
    unit_square,
)

MIN_PER_SAMPLE = 5  # times the pairs of a sample: fewer inliers are left alone, as they may agree by chance
FAR = 3.0  # residuals: pairs beyond are never asked
LEAST_GAIN = 0.03  # of the inliers: no more pairs than that between the residual and FAR are not worth the time
WIDE = (2.5, 2.0, 1.5, 1.2, 1.0)  # residuals
TIGHT = (1.1, 1.0)
REACH = 1.5  # residuals: from where random sets are drawn
SETS, SET_SIZE, ROUNDS = 32, 9, 8


def refined(
    transform: Matrix, source: Points, target: Points, model: str, *, residual: float, seed: int
) -> Matrix | None:
    """A transform near to another with which more pairs agree.

    Args:
      transform: ``(2, 3)`` or ``(3, 3)``.
      source: ``(N, 2)``.
      target: ``(N, 2)``.
      model: ``affine``, ``homography`` or ``similarity``.
      residual: pixels in the target, exclusive.
      seed: of the random sets.

    Returns:
      The transform; None where no other has more, or so few agree that more would prove nothing.
    """
    squared = squared_residuals(transform[None], *columns(source, target))
    near = squared[0] < (FAR * residual) ** 2
    count = int(np.count_nonzero(squared[0] < residual**2))
    if count < MIN_PER_SAMPLE * SAMPLE[model] or np.count_nonzero(near) <= (1 + LEAST_GAIN) * count:
        return None
    x, change = unit_square(source[near])
    search = _Search(
        x, target[near].astype(np.float64), model=model, residual=residual, squared=squared[:, near], count=count
    )
    search.tighten(squared[:, near], WIDE)
    rng, before = np.random.default_rng(seed), count
    for _ in range(ROUNDS if model != "homography" else 0):
        if search.count == before:
            break
        before = search.count
        search.tighten(search.judge(search.of_random_sets(rng)), TIGHT)
    if search.best is None:
        return None
    return normalised(search.best @ change)


class _Search:
    """The best transform so far of some pairs, ``best``, and how many agree with it, ``count``."""

    def __init__(self, x: Matrix, y: Matrix, *, model: str, residual: float, squared: Matrix, count: int):
        self.best: Matrix | None = None
        self.count = count
        self._x, self._y, self._model, self._residual = x, y, model, residual
        self._squared = squared[0]
        self._columns = columns(x, y)
        self._products = products(x, y).reshape(len(x), 15)

    def tighten(self, squared: Matrix, shares: tuple[float, ...]) -> None:
        """Fits each of some transforms, told by squared residuals, anew to the pairs within shares of the residual."""
        for share in shares:
            squared = self.judge(self._fitted(squared < (share * self._residual) ** 2))

    def judge(self, transforms: Matrix) -> Matrix:
        """Keeps the best of some transforms; gives their squared residuals, ``(T, N)``."""
        squared = squared_residuals(transforms, *self._columns)
        counts = np.count_nonzero(squared < self._residual**2, axis=1)
        top = int(counts.argmax())
        if counts[top] > self.count:
            self.best, self.count, self._squared = transforms[top], int(counts[top]), squared[top]
        return squared

    def of_random_sets(self, rng: np.random.Generator) -> Matrix:
        """Transforms of random sets of the pairs near to the best one."""
        rows = np.flatnonzero(self._squared < (REACH * self._residual) ** 2)
        chosen = rows[rng.integers(0, len(rows), (SETS, SET_SIZE))]
        return solved(self._products[chosen].sum(1).reshape(-1, 3, 5), self._model)

    def _fitted(self, chosen: Mask) -> Matrix:
        """The transforms nearest to ``(T, N)`` chosen pairs."""
        if self._model == "homography":
            return np.stack([nearest_homography(self._x[rows], self._y[rows]) for rows in chosen])
        return solved((chosen.astype(np.float64) @ self._products).reshape(-1, 3, 5), self._model)

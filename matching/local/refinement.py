"""Local optimisation of a transform (Chum, Matas and Kittler, "Locally optimized RANSAC", DAGM 2003)."""

import numpy as np

from matching.local.transforms import SAMPLE, Matrix, Points, least_squares, squared_residuals

MIN_PER_PAIR = 4  # inliers for each pair of a sample: fewer are left alone, as they may be a chance
WIDE = (2.5, 2.0, 1.5, 1.2, 1.0)  # of the residual
TIGHT = (1.1, 1.0)
FAR = 3.0  # of the residual: pairs beyond are left out
GAIN = 0.03
SETS, SET, REACH = 32, 9, 1.5  # random sets in a round, pairs of a set, multiple of the residual they are drawn from
ROUNDS = 8
STATS=[]

def refined(transform: Matrix, a: Points, b: Points, model: str, *, residual: float, seed: int) -> Matrix:
    x, y = a.astype(np.float64), b.astype(np.float64)
    squared = squared_residuals(transform[None], x, y)[0]
    r2 = residual**2
    count = np.count_nonzero(squared < r2)
    if count < MIN_PER_PAIR * SAMPLE[model]:
        return transform
    near = squared < (FAR * residual) ** 2
    if np.count_nonzero(near) <= (1 + GAIN) * count:
        return transform
    x, y, squared = x[near], y[near], squared[near]
    centre, scale = x.mean(0), max(np.abs(x - x.mean(0)).max(), 1e-300)
    x = (x - centre) / scale
    best, most, top = None, count, squared

    def judge(transforms):
        nonlocal best, most, top
        squared = squared_residuals(transforms, x, y)
        counts = np.count_nonzero(squared < r2, axis=1) if len(squared) > 1 else [np.count_nonzero(squared[0] < r2)]
        k = int(np.argmax(counts))
        if counts[k] > most:
            best, most, top = transforms[k], int(counts[k]), squared[k]
        return squared[k]

    def tighten(squared, shares):
        for share in shares:
            rows = np.flatnonzero(squared < (share * residual) ** 2)
            if len(rows) <= SAMPLE[model]:
                return
            squared = judge(least_squares(x[None, rows], y[None, rows], model))

    tighten(squared, WIDE)
    rng = np.random.default_rng(seed)
    rounds, before = ROUNDS if model != "homography" else 0, count
    while most > before and rounds:
        before, rounds = most, rounds - 1
        rows = np.flatnonzero(top < (REACH * residual) ** 2)
        rows = rows[rng.integers(0, len(rows), (SETS, SET))]
        tighten(judge(least_squares(x[rows], y[rows], model)), TIGHT)
    STATS.append(ROUNDS - rounds)
    if best is None:
        return transform
    best = best.copy()
    best[:, :2] /= scale
    best[:, 2] -= best[:, :2] @ centre
    return best

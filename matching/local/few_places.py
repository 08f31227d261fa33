"""The transform that most pairs agree on where only few places are distinct.

Progressive sampling of pairs, as OpenCV does it, then draws copies of one place again and again, which determine no
transform, and ends without one. Here each place is drawn as one, and all pairs are counted.
"""

from collections.abc import Iterator
from itertools import chain, combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from matching.local.transforms import SAMPLE, Mask, Matrix, Points, each_plausible, least_squares, squared_residuals

Rows = NDArray[np.int64]

FEW = 64  # places
EVERY = 2000  # minimal samples: so many or fewer are all tried
CHUNK = 500  # samples judged at once
NEAR = (0.0, 1 / 64, 1 / 16, 1 / 4, 1.0)  # of the residual: pairs so near to each other in both images may be one place
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


def first_of_cells(points: Matrix, size: float) -> Rows:
    """Rows of the points that no earlier point shares a cell of a grid with, increasing.

    Args:
      points: ``(N, d)`` float64, d at most 4.
      size: of a cell, in the points' unit; with 0 only equal points share one.
    """
    cells = np.floor(points / size) if size else points
    bits = (cells + 0.0).view(np.uint64)  # no negative zeros, whose bits differ from those of zeros
    keys = ((bits ^ (bits >> np.uint64(29))) * _MIX[: bits.shape[1]]).sum(1, dtype=np.uint64)
    return np.sort(np.unique(keys, return_index=True)[1])


def distinct(a: Points, b: Points, residual: float) -> tuple[Rows, Rows]:
    """Rows of pairs that stand for distinct places, the first of each.

    Args:
      a: ``(N, 2)`` float32, the most trusted pairs first.
      b: ``(N, 2)`` float32.
      residual: pixels.

    Returns:
      Increasing rows of places that are :data:`NEAR` apart, and of :data:`FEW` or fewer that are only as far apart as
      that takes; the latter empty where there are more than that.
    """
    pairs = np.column_stack([a, b]).astype(np.float64)
    apart = first_of_cells(pairs, NEAR[-1] * residual)
    if len(apart) > FEW:
        return apart, apart[:0]
    for share in NEAR[:-1]:
        rows = first_of_cells(pairs, share * residual)
        if len(rows) <= FEW:
            return apart, rows
    return apart, apart


def best_sample(
    a: Points, b: Points, places: tuple[Rows, Rows], model: str, *,
    residual: float, trials: int, seed: int, confidence: float, plausible_only: bool,
) -> Matrix | None:
    x, y = a.astype(np.float64), b.astype(np.float64)
    centre, scale = x.mean(0), max(float(np.abs(x - x.mean(0)).max()), 1e-300)
    x = (x - centre) / scale
    r2 = residual**2
    best, highest = None, (0, False, -np.inf)
    apart, rows = places
    size = SAMPLE[model]
    for chosen in (apart, rows) if len(rows) > len(apart) else (rows,):
        for samples in _samples(len(chosen), size, trials, seed):
            transforms = least_squares(x[chosen[samples]], y[chosen[samples]], model)
            squared = squared_residuals(transforms, x, y)
            agree = squared < r2
            counts = np.count_nonzero(agree, axis=1)
            candidates = np.flatnonzero(counts >= max(highest[0], 1))
            if not len(candidates): continue
            pixels = transforms[candidates].copy()
            pixels[:, :, :2] /= scale
            pixels[:, :, 2] -= pixels[:, :, :2] @ centre
            fine = each_plausible(pixels, a.astype(np.float64), agree[candidates])
            if plausible_only:
                candidates, pixels, fine = candidates[fine], pixels[fine], fine[fine]
                if not len(candidates): continue
            top = counts[candidates] == counts[candidates].max()
            for trial, transform, sound in zip(candidates[top], pixels[top], fine[top]):
                rank = (int(counts[trial]), bool(sound), -float(squared[trial, agree[trial]].sum()))
                if rank > highest:
                    best, highest = transform, rank
            if highest[0] == len(a):
                return _normal(best)
    return None if best is None else _normal(best)


def _normal(transform):
    return transform / transform[2, 2] if len(transform) == 3 and transform[2, 2] else transform


def _samples(count: int, size: int, trials: int, seed: int) -> Iterator[Rows]:
    return _all_samples(count, size) if comb(count, size) <= trials else _drawn(count, size, trials, seed)


def _all_samples(count: int, size: int) -> Iterator[Rows]:
    every = np.fromiter(chain.from_iterable(combinations(range(count), size)), np.int64).reshape(-1, size)
    for start in range(0, len(every), CHUNK):
        yield every[start : start + CHUNK]


def _drawn(count: int, size: int, trials: int, seed: int) -> Iterator[Rows]:
    """Random samples, each from the first places; from how many of them grows evenly from ``size`` to ``count``."""
    rng = np.random.default_rng(seed)
    for start in range(0, trials, CHUNK):
        turn = np.arange(start + 1, min(start + CHUNK, trials) + 1)
        pool = np.ceil(size + (count - size) * turn / trials)
        samples = np.sort((rng.random((len(turn), size)) * pool[:, None]).astype(np.int64), axis=1)
        yield samples[(np.diff(samples) > 0).all(1)]


def one_per_place(a: Points, b: Points, agree: Mask, size: float) -> Mask:
    """The inliers that share a place with no inlier before them, in either image.

    Args:
      a: ``(N, 2)``, the most trusted pairs first.
      b: ``(N, 2)``.
      agree: ``(N,)`` the inliers.
      size: of a place, in pixels.

    Returns:
      ``(N,)`` bool.
    """
    rows = np.flatnonzero(agree)
    for points in (a, b):
        rows = rows[first_of_cells(points[rows].astype(np.float64), size)]
    chosen = np.zeros(len(agree), bool)
    chosen[rows] = True
    return chosen

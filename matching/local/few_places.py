"""The transform that most pairs agree on where only few places are distinct.

Progressive sampling of pairs, as OpenCV does it, then draws copies of one place again and again, which determine no
transform, and ends without one. Here each place is drawn as one, and all pairs are counted.
"""

from collections.abc import Iterator
from itertools import chain, combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from matching.local.transforms import (
    SAMPLE,
    Mask,
    Matrix,
    Points,
    as_columns,
    each_plausible,
    normalised,
    products,
    solved,
    squared_residuals,
    through_four,
    unit_square,
)

Rows = NDArray[np.int64]

FEW = 64  # places
CHUNK = 500  # samples judged at once
DRAWS = {"affine": 1, "homography": 5, "similarity": 1}  # times the trials, as four right pairs are rarer than three
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


def spread(points: Points, first: Rows) -> Points:
    """Points in another order: the rows ``first``, then the others."""
    others = np.ones(len(points), bool)
    others[first] = False
    return np.concatenate([points[first], points[others]])


def best_sample(
    source: Points,
    target: Points,
    places: tuple[Rows, Rows],
    model: str,
    *,
    residual: float,
    trials: int,
    seed: int,
    plausible_only: bool,
) -> Matrix | None:
    """The transform through a minimal sample of places that most pairs agree on.

    Args:
      source: ``(N, 2)``.
      target: ``(N, 2)``.
      places: rows of the pairs that are sampled, see :func:`distinct`.
      model: ``affine``, ``homography`` or ``similarity``.
      residual: pixels in the target, exclusive.
      trials: times :data:`DRAWS` the random samples of each set of places; all of them where there are at most twice
        as many.
      seed: of the random generator.
      plausible_only: leave out what :func:`matching.local.transforms.plausible` refuses.

    Returns:
      The transform; of equal counts a plausible one, then the one nearest to those that agree. None without any.
    """
    points, y = source.astype(np.float64), target.astype(np.float64)
    x, change = unit_square(source)
    pairs = as_columns(x, y)
    best: Matrix | None = None
    highest = (0, False, -np.inf)
    for rows in places if len(places[0]) < len(places[1]) else places[:1]:
        for samples in _samples(len(rows), SAMPLE[model], DRAWS[model] * trials, seed):
            transforms = _through(x, y, rows[samples], model)
            squared = squared_residuals(transforms, pairs)
            agree = squared < residual**2
            counts = np.count_nonzero(agree, axis=1)
            left = np.flatnonzero(counts >= max(highest[0], 1))
            in_pixels = transforms[left] @ change
            fine = each_plausible(in_pixels, points, agree[left])
            if plausible_only:
                left, in_pixels, fine = left[fine], in_pixels[fine], fine[fine]
            most = counts[left].max(initial=0)
            for trial, transform, sound in zip(left, in_pixels, fine):
                if counts[trial] == most:
                    rank = (int(most), bool(sound), -float(squared[trial, agree[trial]].sum()))
                    best, highest = (transform, rank) if rank > highest else (best, highest)
            if highest[0] == len(x):
                return normalised(best)
    return normalised(best)


def _through(x: Matrix, y: Matrix, samples: Rows, model: str) -> Matrix:
    """The transforms through ``(T, k)`` minimal samples."""
    if model == "homography":
        return through_four(x[samples], y[samples])
    return solved(products(x, y)[samples].sum(1), model)


def _samples(count: int, size: int, trials: int, seed: int) -> Iterator[Rows]:
    return _all_samples(count, size) if comb(count, size) <= 2 * trials else _drawn(count, size, trials, seed)


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
    first_of_places = np.zeros(len(agree), bool)
    first_of_places[rows] = True
    return first_of_places

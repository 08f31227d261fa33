"""Local matching of two images: nearest neighbours of descriptors, then the geometry that most of them agree on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Features, Floats
from matching.local import MATCHING_THRESHOLD, MIN_MATCHES, RESIDUAL, TRIALS, geometry, hamming

Rows = NDArray[np.int64]
FARTHEST = 1e30  # of descriptors
BLOCK = 1 << 22  # entries of the similarity matrix held at once, 16 MiB


@dataclass(frozen=True, eq=False)
class Inliers:
    """The local features of two images that agree on one transform.

    Attributes:
      pairs: ``(M, 2)`` int64 rows ``(query, index)`` of the two images' features.
      transform: ``(2, 3)``, for homographies ``(3, 3)``, float64, pixels ``(x, y)`` of the index image to pixels of
        the query; None when there are no inliers.
      tentative: number of descriptor matches before the geometry.
    """

    pairs: Rows
    transform: NDArray[np.float64] | None
    tentative: int = 0

    def __len__(self) -> int:
        """Number of inliers."""
        return len(self.pairs)


def nearest(
    query: Floats, index: Floats, threshold: float = 1.0, ratio: float | None = None, mutual: bool = False
) -> tuple[Rows, Floats]:
    """For each query descriptor the nearest index descriptor, by matrix products, in blocks of bounded memory.

    Args:
      query: ``(N, d)`` float32.
      index: ``(M, d)`` float32.
      threshold: a match must be nearer than this Euclidean distance, strictly.
      ratio: a match must also be nearer than ``ratio`` times the second nearest, strictly; None for no such test.
      mutual: the query descriptor must in turn be the nearest to the index descriptor.

    Returns:
      ``(P, 2)`` rows ``(query, index)``, query rows increasing; ``(P,)`` their distances. Of equally near
      descriptors the one of lowest row is taken.
    """
    if not len(query) or not len(index):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    right = _with_norms(index, first=False)
    best = np.zeros(len(query), np.int64)
    second = np.zeros(len(query), np.int64)
    backward, highest = np.zeros(len(index), np.int64), np.full(len(index), -np.inf, np.float32)
    step = max(1, BLOCK // len(index))
    for start in range(0, len(query), step):
        rows = slice(start, start + step)
        scores = _with_norms(query[rows], first=True) @ right.T  # minus half the squared distance
        best[rows] = scores.argmax(1)
        if mutual:
            winner = scores.argmax(0)
            value = scores[winner, np.arange(len(index))]
            backward = np.where(value > highest, winner + start, backward)
            highest = np.maximum(value, highest)
        if ratio is not None:
            scores[np.arange(len(scores)), best[rows]] = -np.inf
            second[rows] = scores.argmax(1)
    distance = _distance(query, index[best])
    keep = distance < threshold
    if ratio is not None and len(index) > 1:
        keep &= distance < ratio * _distance(query, index[second])
    if mutual:
        keep &= backward[best] == np.arange(len(query))
    rows_of_query = np.flatnonzero(keep)
    return np.stack([rows_of_query, best[rows_of_query]], axis=1), distance[rows_of_query]


def _with_norms(descriptors: Floats, first: bool) -> Floats:
    """Two more columns, so that a product of rows is ``x . y - |x|^2 / 2 - |y|^2 / 2 = -|x - y|^2 / 2``."""
    half = -0.5 * np.einsum("nd,nd->n", descriptors, descriptors)
    one = np.ones_like(half)
    return np.column_stack([descriptors, *((half, one) if first else (one, half))])


def _distance(a: Floats, b: Floats) -> Floats:
    difference = a - b
    return np.sqrt(np.einsum("nd,nd->n", difference, difference))


def match(
    query: Features,
    index: Features,
    *,
    matching_threshold: float = MATCHING_THRESHOLD,
    ratio: float | None = None,
    mutual: bool = False,
    model: str = "affine",
    residual: float = RESIDUAL,
    trials: int = TRIALS,
    seed: int = 0,
    min_matches: int = MIN_MATCHES,
    plausible_only: bool = True,
    one_per_place: bool = False,
) -> Inliers:
    """Matches the local features of two images and verifies them by geometry.

    The rules are those of DELG's released code (``detect_to_retrieve/image_reranking.py``): one-way nearest neighbours
    nearer than a threshold, three or fewer of them count as none, a transform from the index image to the query, the
    residual in pixels of the query, strictly below the limit. The estimator is another, faster and better one, see
    :func:`matching.local.geometry.fit`; :func:`matching.local.released.match` follows the released one.

    Args:
      query: the query image's features.
      index: the database image's features.
      matching_threshold: largest Euclidean distance of descriptors, exclusive; of binary ones its estimate, see
        :func:`matching.local.hamming.nearest`.
      ratio: largest ratio of the distances of the nearest and the second nearest, exclusive; None for no such test.
      mutual: keep only pairs that are nearest neighbours both ways.
      model: ``affine``, ``homography`` or ``similarity``.
      residual: pixels in the query image, exclusive.
      trials: most samples drawn.
      seed: of the random generator; the same arguments give the same inliers.
      min_matches: fewer tentative matches, or fewer inliers, count as none.
      plausible_only: refuse mirrored, collapsed and extremely stretched fits.
      one_per_place: of the inliers that share a place in either image, only that of nearest descriptors counts.

    Returns:
      The inliers; none when either image has no local features.

    Raises:
      InputError: an argument is out of range, descriptors of the two images differ in dimension, or are not finite.
    """
    check_nearest(matching_threshold, ratio)
    geometry.check(model, residual, trials, seed)
    pairs = tentative(query, index, matching_threshold=matching_threshold, ratio=ratio, mutual=mutual)
    fit = geometry.fit(
        *points(query, index, pairs),
        model=model,
        residual=residual,
        trials=trials,
        seed=seed,
        min_matches=min_matches,
        plausible_only=plausible_only,
        one_per_place=one_per_place,
    )
    inliers = pairs[fit.inliers]
    return Inliers(inliers[np.argsort(inliers[:, 0])], fit.transform, tentative=len(pairs))


def tentative(
    query: Features,
    index: Features,
    *,
    matching_threshold: float = MATCHING_THRESHOLD,
    ratio: float | None = None,
    mutual: bool = False,
) -> Rows:
    """Matches descriptors, floats by :func:`nearest`, binary ones by :func:`matching.local.hamming.nearest`.

    Args:
      query: the query image's features.
      index: the database image's features.
      matching_threshold: see :func:`match`, as for the others.
      ratio: or None.
      mutual: keep only mutual nearest neighbours.

    Returns:
      ``(P, 2)`` rows ``(query, index)``, the nearest descriptors first; each query row is there once at most.

    Raises:
      InputError: the features cannot be compared.
    """
    check_pair(query, index)
    find: Any = hamming.nearest if query.binary else nearest
    kind = np.uint8 if query.binary else np.float32
    left, right = (np.asarray(image.descriptors, kind) for image in (query, index))
    pairs, distances = find(left, right, matching_threshold, ratio, mutual)
    return without_zeros(query, index, pairs[np.argsort(distances, kind="stable")])


def without_zeros(query: Features, index: Features, pairs: Rows) -> Rows:
    """Leaves out matches of zero descriptors, which carry no information; binary descriptors are never zero vectors."""
    for side, image in enumerate((query, index)):
        if not image.binary and len(pairs):
            suspects = np.flatnonzero(image.descriptors[:, 0] == 0)
            zero = suspects[~np.any(image.descriptors[suspects], axis=1)]
            if len(zero):
                pairs = pairs[~np.isin(pairs[:, side], zero)]
    return pairs


def points(query: Features, index: Features, pairs: Rows) -> tuple[Floats, Floats]:
    """Keypoints of matches: ``(P, 2)`` of the index image, ``(P, 2)`` of the query."""
    return index.keypoints[pairs[:, 1]], query.keypoints[pairs[:, 0]]


def check_nearest(matching_threshold: float, ratio: float | None) -> None:
    """Checks the tests on descriptor distances.

    Raises:
      InputError: one is out of range.
    """
    if not isinstance(matching_threshold, int | float) or not 0 < matching_threshold <= FARTHEST:
        raise InputError(f"matching_threshold expects a distance above 0. Received: {matching_threshold!r}")
    if ratio is not None and (not isinstance(ratio, int | float) or not 0 < ratio <= 1):
        raise InputError(f"ratio expects None or a number above 0, at most 1. Received: {ratio!r}")


def check_pair(query: Features, index: Features) -> None:
    """Checks that the local features of two images can be compared.

    Raises:
      InputError: only one has binary descriptors, they differ in dimension or have none, or something is not finite.
    """
    if not len(query) or not len(index):
        return
    if query.binary != index.binary:
        kinds = ["binary" if image.binary else "not" for image in (query, index)]
        raise InputError(
            f"Local descriptors of {query.name!r} and {index.name!r} cannot be compared: those of the first are "
            f"{kinds[0]}, of the second {kinds[1]}; describe both with the same local_dtype."
        )
    if query.descriptors.shape[1] != index.descriptors.shape[1]:
        raise InputError(
            f"Local descriptors of {query.name!r} and {index.name!r} differ in dimension: "
            f"{query.descriptors.shape[1]} and {index.descriptors.shape[1]}."
        )
    for image in (query, index):
        if not image.descriptors.shape[1] or image.descriptors.dtype.kind not in "fiu":
            raise InputError(f"The local features of {image.name!r} hold no descriptors.")
        if not (np.isfinite(image.descriptors).all() and np.isfinite(image.keypoints).all()):
            raise InputError(f"The local features of {image.name!r} hold values that are not finite.")

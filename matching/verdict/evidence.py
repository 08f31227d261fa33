"""What speaks for two photos showing the same thing, in numbers that mean the same for all photos and extractors.

The number of inliers alone says little: 35 of 1,000 one-way matches within 20 pixels agree by chance wherever keypoints
crowd. So the inliers are held against the number that chance gives (the a-contrario model of Moisan and Stival, "A
probabilistic criterion to detect rigid point matches", IJCV 2004): how likely do as many matches of this image pair
agree with some transform, if each match led to an arbitrary keypoint of the query?
"""

from dataclasses import dataclass
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features, Floats
from matching.local.few_places import first_of_cells
from matching.local.geometry import PLACE
from matching.local.matching import Inliers
from matching.local.transforms import SAMPLE, Matrix, apply

SAMPLED = 64  # inliers and keypoints that chance is estimated from
LEAST_CHANCE = 1e-4
GRID = 8  # cells a side, for the covered share of an image
OCTAVE = 0.5  # scales of two local features agree within a factor of 2 to this power
SPREAD = 256  # images that the background of similarities is estimated from
FEWEST = 20  # images whose similarities say what is usual
LEAST_DEVIATION = 1e-3  # of similarities


@dataclass(frozen=True)
class Evidence:
    """Of one query and one database image.

    Attributes:
      similarity: inner product of the global descriptors; None without them.
      gap: how far the similarity lies above those of the query to images of the collection, in their standard
        deviations; None without global descriptors, and of fewer than 20 images.
      tentative: number of descriptor matches; None where local features were not compared.
      inliers: number of matches that agree on one transform, each place counted once.
      surprise: minus the decimal logarithm of the expected number of transforms that so many matches agree on by
        chance; 0 for what chance gives.
      coverage: share of the image that the inliers spread over, that of the image with the larger share, 0 to 1.
      scale: of lengths, from the database image to the query; 1 without inliers.
      stretch: of the most stretched direction over the least stretched; 1 without inliers.
    """

    similarity: float | None = None
    gap: float | None = None
    tentative: int | None = None
    inliers: int = 0
    surprise: float = 0.0
    coverage: float = 0.0
    scale: float = 1.0
    stretch: float = 1.0


@dataclass(frozen=True, eq=False)
class Background:
    """A sample of a collection's global descriptors, which tells a high similarity from a usual one.

    Attributes:
      descriptors: ``(n, D)`` float32; ``D`` is 0 where images have no global descriptor.
    """

    descriptors: Floats

    @classmethod
    def of(cls, descriptors: Floats) -> "Background":
        """A sample of ``(N, D)`` descriptors, spread over all rows; reads only these rows."""
        rows = np.unique(np.linspace(0, max(len(descriptors) - 1, 0), SPREAD).astype(np.int64))
        return cls(np.array(descriptors[rows[: len(descriptors)]], np.float32))

    def gap(self, query: Floats, similarity: float) -> float | None:
        """See :class:`Evidence`; None with too few descriptors to compare with."""
        if len(self.descriptors) < FEWEST or not query.size or query.size != self.descriptors.shape[1]:
            return None
        usual = self.descriptors @ query
        centre = float(np.median(usual))
        deviation = 1.4826 * float(np.median(np.abs(usual - centre)))
        return (similarity - centre) / max(deviation, LEAST_DEVIATION)


def evidence_of(
    query: Features,
    index: Features,
    inliers: Inliers | None,
    *,
    residual: float,
    model: str = "affine",
    similarity: float | None = None,
    gap: float | None = None,
) -> Evidence:
    """The evidence of a pair of images.

    Args:
      query: the query's features.
      index: those of the database image.
      inliers: of the two, see :func:`matching.local.matching.match`; None where they were not matched.
      residual: largest error of an inlier, in pixels of the query, as in the matching.
      model: of the transform, as in the matching.
      similarity: see :class:`Evidence`, as for ``gap``.
      gap: or None.
    """
    if inliers is None:
        return Evidence(similarity, gap)
    if inliers.transform is None or not len(inliers):
        return Evidence(similarity, gap, inliers.tentative)
    source = index.keypoints[inliers.pairs[:, 1]].astype(np.float64)
    target = query.keypoints[inliers.pairs[:, 0]].astype(np.float64)
    rows = np.arange(len(source))
    for points in (source, target):
        rows = rows[first_of_cells(points[rows], PLACE * residual)]
    scale, stretch = _stretches(inliers.transform, source)
    sample, count = SAMPLE[model], len(rows)
    chance = _chance(apply(inliers.transform, source[rows]), query.keypoints, residual)
    unlikely = _unlikely(count - sample, inliers.tentative - sample, chance)
    unlikely += _agreeing_scales(query, index, inliers.pairs[rows], scale)
    surprise = (unlikely - _log_choices(inliers.tentative, sample)) / log(10)
    shares = [_share(points[rows], image) for points, image in ((source, index), (target, query))]
    return Evidence(
        similarity, gap, inliers.tentative, count, max(surprise, 0.0), max(shares), float(scale), float(stretch)
    )


def _chance(mapped: Matrix, keypoints: Floats, residual: float) -> float:
    """Probability that an arbitrary keypoint of the query lies within the residual of a mapped point."""
    mapped = mapped[:: max(1, len(mapped) // SAMPLED)].astype(np.float32)
    x, y = (mapped[:, None, axis] - keypoints[None, :, axis] for axis in (0, 1))
    near = int(np.count_nonzero(x * x + y * y < np.float32(residual) ** 2))
    others: int = max(near - len(mapped), 0)  # without the keypoint that agrees
    return max(others / (len(mapped) * max(len(keypoints) - 1, 1)), LEAST_CHANCE)


def _unlikely(agreeing: int, of: int, chance: float) -> float:
    """Minus the logarithm of (Chernoff's bound on) the probability that so many of so many agree by chance."""
    if agreeing <= 0 or of <= 0:
        return 0.0
    share = min(agreeing / of, 1.0)
    if share <= chance:
        return 0.0
    rest = (1 - share) * log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return of * (share * log(share / chance) + rest)


def _log_choices(count: int, sample: int) -> float:
    """Logarithm of the number of samples of that size, which is how many transforms can be tried."""
    return min(lgamma(count + 1) - lgamma(sample + 1) - lgamma(max(count - sample, 0) + 1), log(1000))


def _agreeing_scales(query: Features, index: Features, pairs: NDArray[np.int64], scale: float) -> float:
    """How unlikely it is that the scales of so many inliers fit the transform; 0 where scales say nothing."""
    sizes = [np.log2(np.maximum(image.scales, 1e-9)) for image in (query, index)]
    ratio = np.log2(scale)
    agree = np.abs(sizes[0][pairs[:, 0]] - sizes[1][pairs[:, 1]] - ratio) < OCTAVE
    some = [values[:: max(1, len(values) // SAMPLED)] for values in sizes]
    usual = float(np.mean(np.abs(some[0][:, None] - some[1][None, :] - ratio) < OCTAVE))
    return _unlikely(int(agree.sum()), len(agree), max(usual, LEAST_CHANCE))


def _stretches(transform: Matrix, points: NDArray[np.float64]) -> tuple[float, float]:
    """Scale and stretch of a transform; of a homography those of its derivative at the mean of the points."""
    linear = transform[:2, :2]
    if len(transform) == 3:
        centre = np.append(points.mean(0), 1.0)
        mapped = transform @ centre
        linear = (linear - np.outer(mapped[:2] / mapped[2], transform[2, :2])) / mapped[2]
    (a, b), (c, d) = linear
    turning, mirroring = np.hypot(a + d, b - c) / 2, np.hypot(a - d, b + c) / 2
    longest, shortest = turning + mirroring, max(abs(turning - mirroring), 1e-9)
    return float(np.sqrt(longest * shortest)), float(longest / shortest)


def _share(points: NDArray[np.float64], image: Features) -> float:
    """Share of the cells of a grid over an image that hold points."""
    size = np.maximum(np.array(image.image_size, np.float64), image.keypoints.max(0) + 1.0)
    cells = np.clip(GRID * points / size, 0, GRID - 1).astype(np.int64)
    return len(np.unique(cells @ (GRID, 1))) / GRID**2

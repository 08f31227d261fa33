"""Differences of features in another precision or runtime from those in float32 by Keras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from delg.common.errors import InputError
from extraction.describing import describe
from extraction.extractors.base import Extractor
from extraction.features import Features
from extraction.images import BadImageError, ImageRef

SAME_PLACE = 0.05  # pixels, and hundredths of a scale


@dataclass(frozen=True)
class Verification:
    """The differences over some images.

    Attributes:
      images: number of compared images.
      global_cosine: the least cosine of two global descriptors of an image; None without the global head.
      twins: share of the reference's local features with a counterpart at the same place and scale; None without local
        features.
      local_cosine: 1st percentile of the cosines of these pairs.
    """

    images: int
    global_cosine: float | None
    twins: float | None
    local_cosine: float | None

    def __str__(self) -> str:
        """``verify: 4 images against float32: global cosine at least 0.999996; ...``."""
        parts = []
        if self.global_cosine is not None:
            parts.append(f"global cosine at least {self.global_cosine:.6f}")
        if self.twins is not None:
            parts.append(f"{100 * self.twins:.1f} % of the local features at the same place")
        if self.local_cosine is not None:
            parts.append(f"1st percentile of their cosines {self.local_cosine:.6f}")
        return f"verify: {self.images} images against float32: {'; '.join(parts) or 'no features'}"


def twins(features: Features, reference: Features) -> NDArray[np.int64]:
    """Rows ``(n, 2)`` of the local features that both have at the same place and scale, in the reference's order."""
    if not len(features) or not len(reference):
        return np.zeros((0, 2), np.int64)
    distances, nearest = cKDTree(_places(features)).query(_places(reference))
    same = np.flatnonzero(distances < SAME_PLACE)
    return np.column_stack([nearest[same], same])


def twin_cosines(features: Features, reference: Features) -> NDArray[np.float32]:
    """Cosines ``(n,)`` of the descriptors of :func:`twins`."""
    ours, theirs = twins(features, reference).T
    cosines: NDArray[np.float32] = (features.descriptors[ours] * reference.descriptors[theirs]).sum(1)
    return cosines


def _places(features: Features) -> NDArray[np.float64]:
    return np.column_stack([features.keypoints, 100.0 * features.scales])


def verify(extractor: Extractor, reference: Extractor, images: Sequence[ImageRef], count: int) -> Verification:
    """Describes the first images that can be read by both extractors.

    Args:
      extractor: the extractor to verify.
      reference: the same model in float32.
      images: the image list.
      count: number of images.

    Raises:
      InputError: none of the images can be read.
    """
    compared, global_cosines, cosines, expected = 0, [], [np.zeros(0, np.float32)], 0
    for ref in images:
        if compared == count:
            break
        try:
            ours, theirs = describe(extractor, ref), describe(reference, ref)
        except BadImageError:
            continue
        compared, expected = compared + 1, expected + len(theirs)
        cosines.append(twin_cosines(ours, theirs))
        if len(theirs.global_descriptor):
            global_cosines.append(float(ours.global_descriptor @ theirs.global_descriptor))
    if not compared:
        raise InputError("None of the images can be read, so there is nothing to verify.")
    of_twins = np.concatenate(cosines)
    return Verification(
        compared,
        min(global_cosines) if global_cosines else None,
        len(of_twins) / expected if expected else None,
        float(np.percentile(of_twins, 1)) if len(of_twins) else None,
    )

"""RootSIFT with a plain aggregated global descriptor: the classical baseline, not learned from images.

References: Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004 (local features, OpenCV's
implementation); Arandjelovic and Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012
(RootSIFT) and "All about VLAD", CVPR 2013 (aggregation).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from extraction.config import check_limits
from extraction.extractors.base import Extractor
from extraction.features import Features, Floats
from extraction.images import Size
from extraction.resize import RULE, limited_size, resize, to_source
from extraction.settings import common_settings

CENTRES = 32
BASE_DIAMETER = 3.2  # twice the sigma (1.6) of SIFT's first scale, in pixels
EPS = 1e-12


class RootSift(Extractor):
    """Extractor of RootSIFT local features and their VLAD.

    The codebook of the VLAD comes from a synthetic picture of fixed seed, so the global descriptor is the same function
    of an image everywhere. It is a plain baseline, weaker than a codebook learned on photos.
    """

    signed = False  # no entry of a local descriptor is negative
    local_dtype = "uint8"  # SIFT itself has no more than 256 values
    matching: Mapping[str, Any] = {"mutual": True, "residual_share": 0.015, "one_per_place": True}

    def __init__(self, max_image_size: int = 1024, max_feature_num: int = 1000):
        """Sets the limits.

        Args:
          max_image_size: longest side in pixels, larger images are shrunk; -1 for no limit.
          max_feature_num: most local features of an image, strongest response first.

        Raises:
          InputError: a limit is out of range.
        """
        check_limits(max_image_size, max_feature_num)
        self.max_image_size, self.max_feature_num = max_image_size, max_feature_num
        self.settings = common_settings(
            extractor="rootsift",
            opencv=cv2.__version__,
            max_image_size=max_image_size,
            max_feature_num=max_feature_num,
            resize=RULE,
        )
        self._sift = _detector(max_feature_num)

    def base_size(self, size: Size, resize_factor: float = 1.0) -> Size:
        """``(width, height)`` that an image is resized to first."""
        return limited_size(*size, self.max_image_size, resize_factor=resize_factor)

    def __call__(
        self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0, size: Size | None = None
    ) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; see :class:`extraction.extractors.base.Extractor`."""
        width, height = size or (image.shape[1], image.shape[0])
        base = self.base_size((width, height), resize_factor)
        points, diameters, scores, descriptors = root_sift(self._sift, resize(image, base), self.max_feature_num)
        return Features(
            name=name,
            image_size=(width, height),
            global_descriptor=vlad(descriptors, codebook()) if "global" in self.heads else np.zeros(0, np.float32),
            keypoints=to_source(points, base, (width, height)).astype(np.float32),
            descriptors=descriptors,
            scores=scores,
            scales=(diameters * (max(width, height) / max(base)) / BASE_DIAMETER).astype(np.float32),
        )


def _detector(max_feature_num: int) -> Any:
    return getattr(cv2, "SIFT_create")(nfeatures=max_feature_num, enable_precise_upscale=True)  # noqa: B009


def root_sift(
    detector: Any, image: NDArray[np.uint8], max_feature_num: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], Floats, Floats]:
    """Detects and describes: each SIFT descriptor is L1-normalised, then square-rooted, so that its L2 norm is one.

    Args:
      detector: ``cv2.SIFT``.
      image: ``(H, W, 3)`` uint8 RGB.
      max_feature_num: most features, strongest first.

    Returns:
      ``(N, 2)`` points ``(x, y)``; ``(N,)`` diameters in pixels; ``(N,)`` responses, decreasing;
      ``(N, 128)`` descriptors of unit norm.
    """
    keypoints, sift = detector.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    if not keypoints:
        return np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.float32), np.zeros((0, 128), np.float32)
    scores = np.array([k.response for k in keypoints], np.float32)
    mass = sift.sum(axis=1, keepdims=True)
    order = np.argsort(-scores, kind="stable")
    order = order[mass[order, 0] > 0][:max_feature_num]
    descriptors = np.sqrt(sift[order] / mass[order])
    points = np.array([k.pt for k in keypoints], np.float64)[order]
    diameters = np.array([k.size for k in keypoints], np.float64)[order]
    return points, diameters, scores[order], descriptors.astype(np.float32)


def vlad(descriptors: Floats, centres: Floats) -> Floats:
    """Vector of locally aggregated descriptors: residuals summed per nearest centre, each block and the whole L2.

    Args:
      descriptors: ``(N, d)`` rows of unit norm; N may be 0.
      centres: ``(K, d)``.

    Returns:
      ``(K * d,)`` float32 of unit norm. Without descriptors all entries are equal, which resembles no image.
    """
    blocks = np.zeros(centres.shape, np.float64)
    if len(descriptors):
        nearest = np.argmax(descriptors @ centres.T - 0.5 * (centres**2).sum(1), axis=1)
        np.add.at(blocks, nearest, descriptors - centres[nearest])
        blocks /= np.maximum(np.linalg.norm(blocks, axis=1, keepdims=True), EPS)
    vector = blocks.ravel()
    norm = np.linalg.norm(vector)
    unit = vector / norm if norm > EPS else np.full(vector.size, vector.size**-0.5)
    return unit.astype(np.float32)


@cache
def codebook() -> Floats:
    """``(32, 128)`` centres: k-means over the RootSIFT of one synthetic picture of fixed seed."""
    _, _, _, descriptors = root_sift(_detector(4000), _picture(), 4000)
    centres = descriptors[np.random.default_rng(0).choice(len(descriptors), CENTRES, replace=False)].astype(np.float64)
    for _ in range(10):
        nearest = np.argmax(descriptors @ centres.T - 0.5 * (centres**2).sum(1), axis=1)
        for k in range(CENTRES):
            members = descriptors[nearest == k]
            centres[k] = members.mean(0) if len(members) else centres[k]
    return centres.astype(np.float32)


def _picture(side: int = 768) -> NDArray[np.uint8]:
    """Overlapping polygons, discs and lines of many sizes, on noise."""
    rng = np.random.default_rng(0)
    image = np.full((side, side, 3), 128, np.uint8)
    for _ in range(900):
        centre = rng.integers(0, side, 2)
        radius = int(4 * (side / 16) ** rng.random() ** 2)
        colour = [int(c) for c in rng.integers(0, 256, 3)]
        shape = rng.integers(0, 3)
        if shape == 0:
            cv2.circle(image, centre.tolist(), radius, colour, -1, cv2.LINE_AA)
        elif shape == 1:
            corners = centre + rng.integers(-radius, radius + 1, (int(rng.integers(3, 6)), 2))
            cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)
        else:
            end = centre + rng.integers(-2 * radius, 2 * radius + 1, 2)
            cv2.line(image, centre.tolist(), end.tolist(), colour, int(rng.integers(1, 6)), cv2.LINE_AA)
    noisy = image + rng.normal(0, 4, image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

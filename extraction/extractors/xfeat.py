"""XFeat's local features, with the released weights; they need no training.

Source: Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching", CVPR 2024 (arXiv 2404.19174), and
the released code (verlab/accelerated_features): one scale, non-maximum suppression in the map of keypoints, descriptors
by bicubic interpolation.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from delg import weights as published
from delg import xfeat
from delg.common.files import sha256
from extraction.config import check_limits
from extraction.extractors.base import Extractor, Picture
from extraction.extractors.select import top_by_score
from extraction.features import Features, Floats
from extraction.images import Size
from extraction.resize import RULE, limited_size, resize, to_source
from extraction.runtimes.keras_runtime import compiled
from extraction.scale_pooling import unit
from extraction.settings import common_settings

LEAST_HEAT = 0.05  # of a keypoint
WINDOW = 5  # pixels; a keypoint has the highest probability in such a square
CUBIC = -0.75  # the parameter of bicubic interpolation in PyTorch


class XFeat(Extractor):
    """Extractor of XFeat's local features; there is no global descriptor.

    The score of a feature is its probability of being a keypoint times the reliability of its place.
    """

    heads = ("local",)
    batched = True
    matching: Mapping[str, Any] = {"mutual": True, "residual_share": 0.015, "one_per_place": True}

    def __init__(self, weights: str = "xfeat", max_image_size: int = 1024, max_feature_num: int = 1000):
        """Loads the network.

        Args:
          weights: the file ``xfeat.pt``, or the name of published weights.
          max_image_size: longest side in pixels, larger images are shrunk; -1 for no limit.
          max_feature_num: most local features of an image, highest score first.

        Raises:
          InputError: a limit is out of range, or the weights cannot be had or are others.
        """
        check_limits(max_image_size, max_feature_num)
        self.max_image_size, self.max_feature_num = max_image_size, max_feature_num
        self.dimensions = {"local": xfeat.DIMENSION}
        path = published.path(weights)
        self._network = compiled(xfeat.load(path))
        self.settings = common_settings(
            extractor="xfeat",
            weights_sha256=sha256(path),
            max_image_size=max_image_size,
            max_feature_num=max_feature_num,
            runtime=keras.backend.backend(),
            resize=f"{RULE}, cut down to multiples of {xfeat.STEP}",
        )

    def base_size(self, size: Size, resize_factor: float = 1.0) -> Size:
        """``(width, height)`` that an image is resized to: multiples of 32, one at least."""
        width, height = limited_size(*size, self.max_image_size, resize_factor=resize_factor)
        return max(width // xfeat.STEP, 1) * xfeat.STEP, max(height // xfeat.STEP, 1) * xfeat.STEP

    def __call__(
        self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0, size: Size | None = None
    ) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; see :class:`extraction.extractors.base.Extractor`."""
        return self.together([Picture(image, name, resize_factor, size)])[0]

    def together(self, pictures: Sequence[Picture]) -> list[Features]:
        """Describes pictures that come to one size, with one run of the network."""
        sources = [one.size or (one.image.shape[1], one.image.shape[0]) for one in pictures]
        base = self.base_size(sources[0], pictures[0].resize_factor)
        outputs = self._network(np.stack([resize(one.image, base) for one in pictures]).astype(np.float32))
        return [
            self._features({key: maps[i] for key, maps in outputs.items()}, picture.name, base, source)
            for i, (picture, source) in enumerate(zip(pictures, sources, strict=True))
        ]

    def _features(self, maps: dict[str, Floats], name: str, base: Size, source: Size) -> Features:
        points, heat = keypoints(maps["heat"])
        cells = in_cells(points, base)
        scores = heat * bilinear(maps["reliability"][..., None], cells)[:, 0]
        rows = top_by_score(scores, self.max_feature_num)
        return Features(
            name=name,
            image_size=source,
            keypoints=to_source(points[rows], base, source).astype(np.float32),
            descriptors=unit(bicubic(maps["descriptors"], cells[rows])).astype(np.float32),
            scores=scores[rows].astype(np.float32),
            scales=np.full(len(rows), max(source) / max(base), np.float32),
        )


def keypoints(heat: Floats) -> tuple[NDArray[np.float64], Floats]:
    """The pixels of highest probability in a square of 5 pixels around them.

    Args:
      heat: ``(h, w, 64)``, for the pixels of each cell, row by row; see :func:`delg.xfeat.network`.

    Returns:
      ``(N, 2)`` pixels ``(x, y)``, row by row; ``(N,)`` their probabilities, above 0.05.
    """
    height, width, _ = heat.shape
    cells = heat.reshape(height, width, xfeat.CELL, xfeat.CELL)
    pixels = np.ascontiguousarray(cells.swapaxes(1, 2)).reshape(xfeat.CELL * height, xfeat.CELL * width)
    largest = cv2.dilate(pixels, np.ones((WINDOW, WINDOW), np.uint8))
    ys, xs = np.nonzero((pixels == largest) & (pixels > LEAST_HEAT))
    return np.stack([xs, ys], axis=1).astype(np.float64), pixels[ys, xs]


def in_cells(points: NDArray[np.float64], base: Size) -> NDArray[np.float64]:
    """``(N, 2)`` places in the maps of pixels of an image of a size; the centre of the first cell is 0.

    The released code puts the first and the last pixel on the border of the maps, not half a pixel inside.
    """
    size = np.array(base, np.float64)
    return points / (size - 1) * (size / xfeat.CELL) - 0.5


def bilinear(maps: Floats, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values ``(N, d)`` of maps ``(h, w, d)`` at places ``(N, 2)`` ``(x, y)``; outside of the maps are zeros."""
    return _interpolated(maps, places, lambda t: np.stack([1 - t, t], axis=-1))


def bicubic(maps: Floats, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """As :func:`bilinear`, by cubic convolution (Keys 1981)."""
    return _interpolated(maps, places, _cubic)


def _cubic(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights ``(..., 4)`` of the two neighbours on both sides, of which the second is at distance ``t``."""
    near = np.stack([t, 1 - t], axis=-1)
    inner = ((CUBIC + 2) * near - (CUBIC + 3)) * near**2 + 1
    far = near + 1
    outer = ((CUBIC * far - 5 * CUBIC) * far + 8 * CUBIC) * far - 4 * CUBIC
    return np.concatenate([outer[..., :1], inner, outer[..., 1:]], axis=-1)


def _interpolated(maps: Floats, places: NDArray[np.float64], weights: Any) -> NDArray[np.float64]:
    """Sums of neighbours by weights along both axes."""
    low = np.floor(places).astype(np.int64)
    by_axis = weights(places - low)  # (N, 2, taps)
    taps = by_axis.shape[-1]
    padded = np.pad(maps, ((taps, taps), (taps, taps), (0, 0)))
    xs, ys = (low[:, axis, None] + np.arange(taps) + taps + 1 - taps // 2 for axis in (0, 1))
    return np.einsum("nyxd,ny,nx->nd", padded[ys[:, :, None], xs[:, None, :]], by_axis[:, 1], by_axis[:, 0])

"""Colour histogram as the global descriptor: the simplest baseline; its local features are RootSIFT's.

Reference: Swain and Ballard, "Color indexing", IJCV 1991; square roots compare histograms by Hellinger's distance.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.extractors.base import Extractor
from extraction.extractors.rootsift import RootSift
from extraction.features import Features, Floats
from extraction.images import Size


class Histogram(Extractor):
    """Extractor of a joint histogram of hue, saturation and value."""

    signed, local_dtype = RootSift.signed, RootSift.local_dtype

    def __init__(
        self,
        bins: tuple[int, int, int] = (16, 4, 4),
        pyramid: bool = False,
        max_image_size: int = 1024,
        max_feature_num: int = 1000,
    ):
        """Sets the bins.

        Args:
          bins: cells of hue, saturation and value.
          pyramid: append the histograms of the four quarters of the image.
          max_image_size: of the local features; see :class:`extraction.extractors.rootsift.RootSift`.
          max_feature_num: of the local features.

        Raises:
          InputError: the bins are not three numbers of 1 to 180.
        """
        cells = tuple(bins) if isinstance(bins, tuple | list) else ()
        if len(cells) != 3 or not all(isinstance(n, int) and 1 <= n <= 180 for n in cells):
            raise InputError(f"histogram expects bins of three whole numbers from 1 to 180. Received: {bins!r}")
        self.bins, self.pyramid = cells, bool(pyramid)
        self._local = RootSift(max_image_size, max_feature_num)
        self._local.heads = ("local",)
        self.settings = self._local.settings | {
            "extractor": "histogram",
            "bins": list(cells),
            "pyramid": self.pyramid,
        }

    def base_size(self, size: Size, resize_factor: float = 1.0) -> Size:
        """``(width, height)`` at which a very large image is described; histograms of others are of all pixels."""
        return self._local.base_size(size, resize_factor)

    def __call__(
        self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0, size: Size | None = None
    ) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; see :class:`extraction.extractors.base.Extractor`."""
        features = self._local(image, name, resize_factor, size)
        parts = [image, *(_quarters(image) if self.pyramid else [])]
        vector = np.concatenate([histogram(part, self.bins) for part in parts])
        return replace(features, global_descriptor=(vector / np.linalg.norm(vector)).astype(np.float32))


def histogram(image: NDArray[np.uint8], bins: tuple[int, ...]) -> Floats:
    """Square roots of the shares of ``(H, W, 3)`` uint8 RGB pixels in each HSV cell: a vector of unit L2 norm."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, list(bins), [0, 180, 0, 256, 0, 256]).ravel()
    return np.sqrt(counts / counts.sum()).astype(np.float32)


def _quarters(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The four quarters; a side of one pixel is used twice."""
    height, width = image.shape[:2]
    rows = [slice(0, max(height // 2, 1)), slice(height // 2, height)]
    columns = [slice(0, max(width // 2, 1)), slice(width // 2, width)]
    return [image[r, c] for r in rows for c in columns]

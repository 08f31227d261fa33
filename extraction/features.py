"""The value object that every stage passes on: the features of one image."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bits = NDArray[np.uint8]


def _empty(*shape: int) -> Floats:
    return np.zeros(shape, np.float32)


@dataclass(frozen=True, eq=False)
class Features:
    """Global descriptor and local features of one image.

    Attributes:
      name: the image's name, unique in its store.
      image_size: ``(width, height)`` of the original image in pixels (of the whole photo, also when it was cropped).
      global_descriptor: ``(D,)`` float32 of unit norm; ``(0,)`` when there is none.
      keypoints: ``(N, 2)`` float32 ``(x, y)`` in pixels of the original, uncropped image; the centre of the
        top-left pixel is ``(0, 0)``.
      descriptors: ``(N, d)`` float32, rows of unit norm; or ``(N, d / 8)`` uint8, their signs packed to bits.
      scores: ``(N,)`` float32 attention, decreasing.
      scales: ``(N,)`` float32, side of the described patch relative to that at scale 1 of the original image
        (``1 / image scale``).
    """

    name: str
    image_size: tuple[int, int]
    global_descriptor: Floats = field(default_factory=lambda: _empty(0))
    keypoints: Floats = field(default_factory=lambda: _empty(0, 2))
    descriptors: Floats | Bits = field(default_factory=lambda: _empty(0, 0))
    scores: Floats = field(default_factory=lambda: _empty(0))
    scales: Floats = field(default_factory=lambda: _empty(0))

    def __post_init__(self) -> None:
        n = len(self.keypoints)
        if self.keypoints.shape != (n, 2) or self.descriptors.ndim != 2 or self.global_descriptor.ndim != 1:
            raise ValueError(
                "Features expects keypoints (N, 2), descriptors (N, d) and global_descriptor (D,). Received: "
                f"{self.keypoints.shape}, {self.descriptors.shape}, {self.global_descriptor.shape}"
            )
        if not (len(self.descriptors) == len(self.scores) == len(self.scales) == n):
            raise ValueError(
                f"Features of {self.name!r} expects equally many keypoints, descriptors, scores and scales. Received: "
                f"{n}, {len(self.descriptors)}, {len(self.scores)}, {len(self.scales)}"
            )
        if n > 1 and np.any(np.diff(self.scores) > 0):
            raise ValueError(f"Features of {self.name!r} expects decreasing scores.")

    def __len__(self) -> int:
        """Number of local features."""
        return len(self.keypoints)

    @property
    def binary(self) -> bool:
        """True when descriptors are packed signs; see :func:`extraction.store.encoding.packed`."""
        return self.descriptors.dtype == np.uint8

    def top(self, n: int) -> "Features":
        """The ``n`` local features of highest score."""
        return replace(
            self,
            keypoints=self.keypoints[:n],
            descriptors=self.descriptors[:n],
            scores=self.scores[:n],
            scales=self.scales[:n],
        )

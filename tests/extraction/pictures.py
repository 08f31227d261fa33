"""Pictures and image files for the tests of this folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from extraction.extractors.base import Extractor
from extraction.features import Features


def picture(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    """Random rectangles: ``(height, width, 3)`` uint8 with corners to detect."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(30):
        y, x = rng.integers(0, height), rng.integers(0, width)
        image[y : y + rng.integers(2, 20), x : x + rng.integers(2, 20)] = rng.integers(0, 256, 3)
    return image


def write_picture(path: Path, height: int = 60, width: int = 80, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(height, width, seed)).save(path)
    return path


def features(name: str, n: int, seed: int, dim: int = 8, local_dim: int = 4) -> Features:
    """Features with random values that hold the invariants."""
    rng = np.random.default_rng(seed)
    unit = lambda x: (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)  # noqa: E731
    return Features(
        name=name,
        image_size=(80 + seed, 60),
        global_descriptor=unit(rng.normal(size=dim)),
        keypoints=rng.uniform(0, 60, (n, 2)).astype(np.float32),
        descriptors=unit(rng.normal(size=(n, local_dim))),
        scores=np.sort(rng.uniform(0, 9, n).astype(np.float32))[::-1],
        scales=rng.uniform(0.5, 4, n).astype(np.float32),
    )


class Counting(Extractor):
    """An extractor that needs no network: mean colour and its single corner, and how often it was called."""

    fails_at = None  # the name of an image for which memory does not suffice

    def __init__(self, **settings):
        self.settings = {"extractor": "counting", **settings}
        self.calls: list[tuple[str, tuple[int, ...], float]] = []

    def __call__(self, image, name, resize_factor=1.0, size=None):
        if name == self.fails_at:
            raise MemoryError
        self.calls.append((name, image.shape, resize_factor))
        colour = image.reshape(-1, 3).mean(0) + 1
        return Features(
            name=name,
            image_size=(image.shape[1], image.shape[0]),
            global_descriptor=(colour / np.linalg.norm(colour)).astype(np.float32),
            keypoints=np.array([[1.0, 2.0]], np.float32),
            descriptors=np.array([[0.6, 0.8]], np.float32),
            scores=np.ones(1, np.float32),
            scales=np.ones(1, np.float32),
        )


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

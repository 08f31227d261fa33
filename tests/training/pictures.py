"""Small training images on disk for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(label: int, number: int, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    """An (H, W, 3) uint8 image: the class decides the direction and the colours of its stripes."""
    rng = np.random.default_rng([label, number])
    y, x = np.mgrid[: size[0], : size[1]]
    angle = np.pi * label / 8
    wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * 0.6 + rng.uniform(0, 6))[..., None]
    colour = np.random.default_rng(label).uniform(40, 215, (2, 3))
    image = np.where(wave > 0, colour[0], colour[1]) + rng.normal(0, 8, (*size, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def write_folders(root: Path, classes: int, images: int, size: tuple[int, int] = (40, 48)) -> Path:
    """A folder per class, ``class_00`` ..., with JPEG files ``0.jpg`` ..."""
    for label in range(classes):
        folder = root / f"class_{label:02d}"
        folder.mkdir(parents=True)
        for number in range(images):
            Image.fromarray(picture(label, number, size)).save(folder / f"{number}.jpg", quality=95)
    return root

"""A tiny world for tests: images of one colour, and an extractor that describes an image by its mean colour."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from extraction.extractors.base import Extractor
from extraction.features import Features
from extraction.images import ImageRef

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def paint(path, colour, size=(24, 16)):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, tuple(colour)).save(path, quality=95)
    return path


class MeanColour(Extractor):
    """Global descriptor: the mean colour, of unit norm; no local features."""

    def __init__(self, **settings):
        self.settings = {"extractor": "mean colour", **settings}
        self.seen = []

    def __call__(self, image, name, resize_factor=1.0, size=None):
        self.seen.append(name)
        mean = image.reshape(-1, 3).mean(0) + 1.0
        descriptor = (mean / np.linalg.norm(mean)).astype(np.float32)
        return Features(name, (image.shape[1], image.shape[0]), descriptor)


def refs(folder, colours):
    """Paints named images and gives their references."""
    folder = Path(folder)
    return [ImageRef(name, str(paint(folder / f"{name}.png", colour))) for name, colour in colours.items()]


def revisited_set(folder, name="landmarks"):
    """Two queries, five database images; returns the folder.

    Query q0 is reddish: easy 0, hard 1, junk 2. Query q1 is green: easy 3, hard none, junk none.
    """
    folder = Path(folder)
    database = {"a": (240, 0, 0), "b": (220, 90, 0), "c": (235, 20, 0), "d": (0, 240, 0), "e": (0, 0, 240)}
    for image, colour in database.items():
        paint(folder / "jpg" / f"{image}.jpg", colour)
    whole = np.zeros((16, 24, 3), np.uint8)
    whole[:, :12], whole[:, 12:] = BLUE, RED
    Image.fromarray(whole).save(folder / "jpg" / "q0.jpg", quality=95, subsampling=0)
    paint(folder / "jpg" / "q1.jpg", GREEN)
    truth = {
        "imlist": list(database),
        "qimlist": ["q0", "q1"],
        "gnd": [
            {"bbx": [13.0, 0.0, 24.0, 16.0], "easy": [0], "hard": [1], "junk": [2]},
            {"bbx": [0.0, 0.0, 24.0, 16.0], "easy": [3], "hard": [], "junk": []},
        ],
    }
    (folder / f"gnd_{name}.pkl").write_bytes(pickle.dumps(truth, 2))
    return folder

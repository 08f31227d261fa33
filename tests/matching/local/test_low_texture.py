"""Photos of little texture have few places, many of which are described more than once; a copy must be found."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from extraction.describing import describe
from extraction.extractors.table import build_extractor
from extraction.images import ImageRef
from matching.rerankers.ransac import Ransac
from tests.matching.helpers import GOLDEN

ICONIC = GOLDEN.parent / "photos" / "grocery" / "iconic"


def drawn(seed, path):
    """A plain sheet with a few discs and bars: some ten to thirty features, of which many share a place."""
    rng = np.random.default_rng(seed)
    sheet = Image.new("RGB", (320, 240), tuple(rng.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(sheet)
    for _ in range(3):
        x, y, r = rng.integers(40, 200), rng.integers(40, 160), rng.integers(8, 30)
        pen.ellipse([x - r, y - r, x + r, y + r], tuple(rng.integers(0, 256, 3).tolist()))
        pen.rectangle([x + 20, y + 10, x + 20 + 3 * r, y + 10 + r], tuple(rng.integers(0, 256, 3).tolist()))
    sheet.save(path)
    return path


@pytest.mark.parametrize("one_per_place", [False, True])
def test_a_copy_of_a_sheet_has_inliers(tmp_path, one_per_place):
    extractor = build_extractor("rootsift")
    for seed in range(12):
        image = describe(extractor, ImageRef("sheet", str(drawn(seed, tmp_path / f"{seed}.png"))))
        places = len(np.unique(image.keypoints, axis=0))
        for model in ("affine", "homography", "similarity"):
            found = Ransac(model=model, one_per_place=one_per_place).inliers(image, image)
            if places >= 8:
                assert len(found) >= 4, (seed, model, places)


@pytest.mark.skipif(not ICONIC.exists(), reason="the photos are not here")
def test_a_copy_of_a_small_photo_has_inliers(tmp_path):
    """Thumbnails of product pictures, 16 to 40 pixels wide, have only a handful of features."""
    extractor, few = build_extractor("rootsift"), 0
    for path in sorted(ICONIC.rglob("*.jpg")):
        for side in (16, 24, 40):
            with Image.open(path) as photo:
                photo.convert("RGB").resize((side, side)).save(tmp_path / "small.png")
            image = describe(extractor, ImageRef("small", str(tmp_path / "small.png")))
            if len(np.unique(image.keypoints, axis=0)) >= 6:
                few += 1
                for model in ("affine", "homography", "similarity"):
                    assert len(Ransac(model=model, residual=5.0).inliers(image, image)) > 0, (path.name, side, model)
    assert few >= 10

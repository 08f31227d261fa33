"""Pictures of inlier matches: which images, which keypoints, at which scale."""

import numpy as np

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import Method
from evaluation.metrics.truth import Truth
from evaluation.report import pairs
from extraction.extractors.base import Extractor
from extraction.features import Features
from extraction.pipeline import extract
from matching.local.matching import Inliers
from matching.rerankers.base import GeometricReranker
from matching.rerankers.table import build_reranker
from tests.evaluation.tiny import GREEN, RED, refs


class Corner(Extractor):
    """One local feature, at the last pixel of the image."""

    settings = {"extractor": "corner"}  # noqa: RUF012

    def __call__(self, image, name, resize_factor=1.0, size=None):
        height, width = image.shape[:2]
        point = np.array([[width - 1, height - 1]], np.float32)
        one = np.ones(1, np.float32)
        return Features(name, (width, height), one, point, np.ones((1, 1), np.float32), one, one)


class Pairs(GeometricReranker):
    """Says which features are matched."""

    pairs = np.zeros((1, 2), np.int64)

    def inliers(self, query, index):
        return Inliers(self.pairs, None)


def test_lines_join_the_matched_pixels(tmp_path, monkeypatch):
    queries, database = refs(tmp_path / "q", {"q": RED}), refs(tmp_path / "d", {"a": GREEN, "b": RED})
    benchmark = Benchmark("x", queries, database, {"all": [Truth(np.array([1]), np.array([], np.int64))]})
    stores = [
        extract(Corner(), images, tmp_path / name, progress=False)
        for name, images in (("sq", queries), ("sd", database))
    ]
    method, drawn = Method("global", *stores), []
    monkeypatch.setattr(pairs, "draw_matches", lambda *given: drawn.append(given) or given[0])
    reranker = Pairs(1)
    draw = pairs.drawer(benchmark, method, reranker)
    picture, inliers = draw(0, 1)
    left, right, from_points, to_points = drawn[0]
    assert inliers == 1 and picture.shape == (320, 480, 3)  # from 24 x 16, twenty times larger
    assert left[0, 0].tolist() == right[0, 0].tolist() and left[0, 0, 0] > 200
    # the centre of pixel (23, 15) is the centre of the block of pixels (460..479, 300..319)
    np.testing.assert_allclose(from_points, [[469.5, 309.5]])
    np.testing.assert_allclose(to_points, [[469.5, 309.5]])
    reranker.pairs = np.zeros((0, 2), np.int64)
    assert draw(0, 0)[1] == 0 and drawn[1][2].shape == (0, 2)
    assert pairs.drawer(benchmark, method, build_reranker("superglobal")) is None

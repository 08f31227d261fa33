"""Inlier accuracy on homographies worked out by hand."""

from types import SimpleNamespace

import numpy as np

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import Method
from evaluation.metrics.truth import Truth
from evaluation.run import inliers
from extraction.features import Features
from extraction.images import ImageRef
from matching.source import MemorySource

# plane -> query doubles, plane -> result shifts by (10, 0): a result point (x, y) is (2 (x - 10), 2 y) in the query
QUERY, RESULT = np.diag([2.0, 2.0, 1.0]), np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])


def features(name, points):
    points = np.array(points, np.float32)
    n = len(points)
    return Features(name, (99, 99), np.ones(1), points, np.ones((n, 1)), np.zeros(n), np.ones(n))


def test_matches_within_five_pixels_of_the_query_agree():
    result = features("d", [[20, 5]] * 5)  # true place in the query: (20, 10)
    query = features("q", [[20, 10], [25, 10], [20, 15.01], [23, 14], [10, 20]])
    pairs = np.array([[i, i] for i in range(5)])
    assert inliers.agreeing(query, result, pairs, QUERY, RESULT) == 3
    crossed = np.array([[0, 4], [4, 0]])
    assert inliers.agreeing(query, result, crossed, QUERY, RESULT) == 1
    assert inliers.agreeing(query, result, np.zeros((0, 2), np.int64), QUERY, RESULT) == 0


def test_all_relevant_pairs_are_counted():
    images = [ImageRef(name, name) for name in "qabc"]
    medium = [Truth(np.array([0, 2]), np.array([], np.int64))]
    benchmark = Benchmark("x", images[:1], images[1:], {"easy": [], "medium": medium})
    queries = MemorySource([features("q", [[20, 10], [50, 50]])])
    method = Method("global", queries, MemorySource([features(name, [[20, 5], [20, 5]]) for name in "abc"]))
    reranker = SimpleNamespace(
        threads=1, inliers=lambda query, result: SimpleNamespace(pairs=np.array([[0, 0], [1, 1]]))
    )
    planes = {"q": QUERY, "a": RESULT, "b": RESULT, "c": RESULT}
    found = inliers.inlier_accuracy(benchmark, method, reranker, planes)
    assert found == {"percent": 50.0, "inliers": 4, "pairs": 2, "tolerance_px": 5.0}
    del planes["c"]
    assert inliers.inlier_accuracy(benchmark, method, reranker, planes)["pairs"] == 1

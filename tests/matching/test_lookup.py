import numpy as np
import pytest

from delg.common.errors import InputError
from matching import lookup
from matching.indexes.table import build_index
from matching.lookup import check_crop
from matching.rerankers.table import build_reranker
from matching.source import MemorySource
from tests.matching.helpers import global_source, local, scene, view


def find(*given, **more):
    return [(found.name, found.score) for found in lookup.find(*given, **more)]


def test_crop():
    assert check_crop(None) is None
    assert check_crop([1, 2.5, 30, 40]) == (1, 2.5, 30, 40)
    nan, inf = float("nan"), float("inf")
    for crop in ((1, 2, 3), (5, 2, 5, 9), (1, 9, 5, 9), (nan, nan, nan, nan), (1, 1, inf, 9), (1, -inf, 2, 9), ()):
        with pytest.raises(InputError, match="--crop expects"):
            check_crop(crop)


def test_the_best_by_global_descriptor():
    store = global_source([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    query = global_source([[1.0, 0.0]]).features(0)
    found = find(query, store, 3)
    assert [name for name, _ in found] == ["1", "3", "2"]
    np.testing.assert_allclose([score for _, score in found], [1.0, 0.8, 0.6], atol=1e-6)
    assert len(find(query, store, 10)) == 4
    with pytest.raises(InputError, match="differ in dimension: 3 and 2"):
        find(global_source([[1.0, 0.0, 0.0]]).features(0), store, 3)


class Store(MemorySource):
    """A source with settings, as an index is made from."""

    def __init__(self, source):
        super().__init__([source.features(i) for i in range(len(source))])
        self.settings = {"extractor": "test"}


def test_an_index_instead_of_all_descriptors(tmp_path):
    query, store = photos([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    index = build_index(Store(store), tmp_path / "index")
    for depth in (1, 3, 10):
        alone = find(query, None, depth, index=index)
        assert [name for name, _ in alone] == ["image0", "image1", "image2"][:depth]
        assert find(query, store, depth, index=index) == alone
    np.testing.assert_allclose([score for _, score in alone], [1, 0.8, 0], atol=1e-3)
    assert find(query, store, 1, build_reranker("ransac"), index) == [("image2", 30.0)]
    assert find(query, store, 1, build_reranker("ransac(top_k=2)"), index) == [("image1", 10.0)]
    with pytest.raises(InputError, match="expects the feature store that the index was made from"):
        find(query, None, 1, build_reranker("ransac"), index)
    with pytest.raises(InputError, match="a feature store or an index"):
        find(query, None, 1)
    with pytest.raises(InputError, match="no global descriptor"):
        find(photos([[], [], []])[0], None, 1, index=index)


def test_a_reranker_of_all_images_asks_an_index_for_no_more_than_there_are(tmp_path):
    rows = np.eye(3, dtype=np.float32)
    index = build_index(Store(global_source(rows)), tmp_path / "index")
    asked, search = [], index.search
    index.search = lambda queries, depth: (asked.append(depth), search(queries, depth))[1]
    query = global_source([[0.0, 1.0, 0.1]]).features(0)
    assert [name for name, _ in find(query, global_source(rows), 2, build_reranker("alpha_qe"), index)] == ["1", "2"]
    assert asked == [3]


def test_an_index_that_finds_fewer(tmp_path):
    rows = np.repeat(np.eye(2, dtype=np.float32), 40, axis=0)
    index = build_index(Store(global_source(rows)), tmp_path / "index", "ivf_sq(nlist=2, nprobe=1)")
    found = find(global_source([[0.0, 1.0]]).features(0), None, 80, index=index)
    assert [name for name, _ in found] == [str(i) for i in range(40, 80)]
    assert {score for _, score in found} == {1.0}


def photos(global_descriptors):
    keypoints, descriptors = scene()
    transform = [[1, 0, 5], [0, 1, 9]]
    images = []
    for i, (agreeing, vector) in enumerate(zip((0, 10, 30), global_descriptors)):
        seen = view(keypoints, descriptors, transform, agreeing)
        images.append(local(seen.keypoints, seen.descriptors, f"image{i}", vector))
    return local(keypoints, descriptors, "query", global_descriptors[0]), MemorySource(images)


def test_the_reranker_sees_its_whole_head_however_few_are_asked_for():
    query, store = photos([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    assert find(query, store, 1) == [("image0", 1.0)]
    assert find(query, store, 1, build_reranker("ransac")) == [("image2", 30.0)]
    assert find(query, store, 1, build_reranker("ransac(top_k=2)")) == [("image1", 10.0)]
    assert [name for name, _ in find(query, store, 3, build_reranker("ransac(top_k=1)"))] == [
        "image0",
        "image1",
        "image2",
    ]


def test_without_global_descriptors_a_reranker_of_all_images_decides():
    query, store = photos([[], [], []])
    found = find(query, store, 2, build_reranker("ransac"))
    assert found == [("image2", 30.0), ("image1", 10.0)]
    for reranker in (None, build_reranker("ransac(top_k=2)")):
        with pytest.raises(InputError, match=r"'ransac\(top_k=3\)'"):
            find(query, store, 2, reranker)


def test_rows_and_ranks_of_the_first_stage():
    query, store = photos([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    found = lookup.find(query, store, 3, build_reranker("ransac"))
    assert [(result.row, result.before) for result in found] == [(2, 3), (1, 2), (0, 1)]
    assert [(result.row, result.before) for result in lookup.find(query, store, 2)] == [(0, 1), (1, 2)]
    found = lookup.find(*photos([[], [], []]), 2, build_reranker("ransac"))
    assert [(result.row, result.before) for result in found] == [(2, None), (1, None)]

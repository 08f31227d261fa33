from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.store.encoding import as_stored, packed
from matching.local import matching, released
from matching.local.matching import nearest_bits as nearest
from matching.rerankers.ransac import Ransac
from tests.matching.helpers import local as features
from tests.matching.helpers import scene, view

TRANSFORM = [[0.9, -0.3, 40.0], [0.3, 0.9, 10.0]]


def codes(*rows):
    return np.array(rows, np.uint8)


def test_nearest_by_hand():
    """Of 8 bits 1, 0 and 2 differ: distances 2 sin(pi h / 16)."""
    query, index = codes([0b10000000], [0b00001111], [0b11110000]), codes([0], [0b00001111], [0b11000000])
    pairs, distances = nearest(query, index, threshold=1.5)
    assert pairs.tolist() == [[0, 0], [1, 1], [2, 2]], "of equally near rows the lower"
    np.testing.assert_allclose(distances, [0.390181, 0, 0.765367], atol=1e-6)
    assert distances.dtype == np.float32


def test_the_default_threshold_is_fewer_than_a_third_of_the_bits():
    index = codes([0] * 16)
    query = codes([255] * 5 + [7] + [0] * 10, [255] * 5 + [3] + [0] * 10)  # 43 and 42 of 128
    assert nearest(query, index)[0].tolist() == [[1, 0]]
    assert nearest(query, index, threshold=1.01)[0].tolist() == [[0, 0], [1, 0]]


def test_ratio_by_hand():
    index = codes([0, 0], [255, 255])
    query = codes([15, 0], [1, 0], [0, 0])  # 4 and 12, 1 and 15, 0 and 16: ratios 0.414, 0.098, 0
    assert nearest(query, index, 9, ratio=0.42)[0].tolist() == [[0, 0], [1, 0], [2, 0]]
    assert nearest(query, index, 9, ratio=0.41)[0].tolist() == [[1, 0], [2, 0]]
    assert nearest(query, index, 9, ratio=0.09)[0].tolist() == [[2, 0]]
    assert nearest(query, index[:1], 9, ratio=0.1)[0].tolist() == [[0, 0], [1, 0], [2, 0]], "no second nearest"
    assert nearest(query[:1], codes([0, 0], [0, 0]), 9, ratio=1.0)[0].tolist() == [], "strict"


def test_mutual_by_hand():
    index, query = codes([0], [255]), codes([3], [1], [254], [1])
    assert nearest(query, index, 9)[0].tolist() == [[0, 0], [1, 0], [2, 1], [3, 0]]
    assert nearest(query, index, 9, mutual=True)[0].tolist() == [[1, 0], [2, 1]]


@pytest.mark.parametrize("size", [1, 3, 8, 16, 31, 32, 64])
@pytest.mark.parametrize("options", [{}, {"ratio": 0.95}, {"mutual": True}, {"ratio": 0.97, "mutual": True}])
def test_as_floats_of_the_signs(size, options):
    """Of any length, too: 32 bytes are 256 bits, more than a byte counts."""
    rng = np.random.default_rng(size)
    signs = [np.where(rng.random((n, 8 * size)) > 0.5, 1, -1).astype(np.float64) for n in (70, 33)]
    squared = ((signs[0][:, None] - signs[1]) ** 2).sum(-1) / (8 * size)
    best = squared.argmin(axis=1)
    distance = 2 * np.sin(np.pi / 8 * squared)
    near = distance.min(axis=1)
    keep = near < 1.35
    if "ratio" in options:
        keep &= near.astype("f4") < options["ratio"] * np.sort(distance, axis=1)[:, 1].astype("f4")
    if "mutual" in options:
        keep &= squared.argmin(axis=0)[best] == np.arange(70)
    pairs, distances = nearest(packed(signs[0]), packed(signs[1]), 1.35, **options)
    assert pairs.tolist() == [[i, best[i]] for i in np.flatnonzero(keep)]
    np.testing.assert_allclose(distances, near[keep], atol=1e-6)


def test_of_equally_near_rows_the_lowest_wins():
    """Of four different codes, many are equal; also beyond the rows that FAISS takes at once."""
    rng = np.random.default_rng(0)
    query, index = codes([0] * 16, [1] * 16, [3] * 16), rng.integers(0, 4, (40_000, 1), np.uint8).repeat(16, axis=1)
    expected = [int(np.argmax(index[:, 0] == value)) for value in (0, 1, 3)]
    assert nearest(query, index)[0][:, 1].tolist() == expected
    assert nearest(query, index, ratio=1.0)[0].tolist() == [], "the second nearest is as near"
    assert nearest(query, index, mutual=True)[0][:, 1].tolist() == expected


def test_all_bits_differ():
    for size in (16, 31, 32):
        pairs, distances = nearest(codes([255] * size), codes([0] * size), 2.1)
        assert pairs.tolist() == [[0, 0]]
        assert distances.tolist() == [2.0]


def test_rows_need_not_be_contiguous():
    query = codes([1, 0, 7, 7], [0, 0, 7, 7])[:, :2]
    assert nearest(query, np.asfortranarray(query))[0].tolist() == [[0, 0], [1, 1]]


def test_faiss_uses_one_thread_and_then_as_many_as_before(monkeypatch):
    """The setting is the calling thread's own."""
    seen, search = [], faiss.knn_hamming
    monkeypatch.setattr(
        faiss, "knn_hamming", lambda *a, **k: (seen.append(faiss.omp_get_max_threads()), search(*a, **k))[1]
    )

    def matched():
        faiss.omp_set_num_threads(3)
        nearest(codes([1]), codes([1]))
        return faiss.omp_get_max_threads()

    before = faiss.omp_get_max_threads()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(matched).result() == 3
    assert (seen, faiss.omp_get_max_threads()) == ([1], before)


def test_without_features():
    assert nearest(np.zeros((0, 16), np.uint8), codes([0] * 16))[0].shape == (0, 2)
    assert nearest(codes([0] * 16), np.zeros((0, 16), np.uint8))[0].shape == (0, 2)


def binary(keypoints, descriptors, name="image"):
    return as_stored(features(keypoints, descriptors, name), "binary")


def test_match_of_binary_features():
    keypoints, descriptors = scene()
    moved = view(keypoints, descriptors, TRANSFORM, agreeing=40)
    query, index = binary(moved.keypoints, descriptors, "query"), binary(keypoints, descriptors)
    assert query.binary
    assert query.descriptors.shape == (60, 16)
    found = matching.match(query, index)
    assert found.tentative == 60
    assert found.pairs.tolist() == [[i, i] for i in range(40)]
    np.testing.assert_allclose(found.transform, TRANSFORM, atol=1e-3)
    assert Ransac().inliers(query, index).pairs.tolist() == found.pairs.tolist()


def test_tentative_matches_come_nearest_first():
    index = binary([[0, 0]] * 2, [[1, 1, 1, 1, -1, -1, -1, -1], [1] * 8])
    query = binary([[0, 0]] * 3, [[1, 1, 1, 1, 1, 1, 1, -1], [1, 1, 1, 1, -1, -1, -1, -1], [-1, -1, 1, 1] + [1] * 4])
    assert matching.tentative(query, index, matching_threshold=1.5).tolist() == [[1, 0], [0, 1], [2, 1]]


def test_mixed_pairs_and_the_released_matching_are_refused():
    keypoints, descriptors = scene()
    floats, bits = features(keypoints, descriptors, "floats"), binary(keypoints, descriptors, "bits")
    for query, index in ((floats, bits), (bits, floats)):
        with pytest.raises(InputError, match=r"'floats'.* cannot be compared.*same local_dtype"):
            matching.match(query, index)
    with pytest.raises(InputError, match="differ in dimension: 16 and 8"):
        matching.match(bits, binary(keypoints, descriptors[:, :64]))
    with pytest.raises(InputError, match="released matching compares descriptors of floats"):
        released.match(bits, bits)
    with pytest.raises(InputError, match="released matching compares descriptors of floats"):
        Ransac(released=True).inliers(bits, bits)
    bits.keypoints[3, 0] = np.nan
    with pytest.raises(InputError, match="'bits' hold values that are not finite"):
        matching.match(bits, bits)

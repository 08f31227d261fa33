import numpy as np
import pytest

from matching import ransac
from matching.ransac import Ransac
from matching.source import MemorySource
from protos.errors import InputError
from tests.matching.helpers import local, ranking, scene, view

TRANSFORM = [[0.9, -0.3, 40.0], [0.3, 0.9, 10.0]]
AGREEING = (0, 20, 45, 0, 30, 45)  # inliers of each database image


class Counting(MemorySource):
    """A source that notes which local features are read."""

    def __init__(self, images):
        super().__init__(images)
        self.read = []

    def features(self, i):
        self.read.append(i)
        return super().features(i)


@pytest.fixture
def sources():
    keypoints, descriptors = scene()
    queries = Counting([local(keypoints, descriptors, "query"), local(keypoints[:25], descriptors[:25], "cut")])
    inverse = np.linalg.inv(np.vstack([TRANSFORM, [0, 0, 1]]))[:2]
    database = Counting([view(keypoints, descriptors, inverse, n, f"view{n}") for n in AGREEING])
    return queries, database


def first_stage():
    return ranking(
        [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, -1, -1]],
        [[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0.9, 0.8, 0.7, 0.6] + [-np.inf] * 2],
    )


def test_orders_by_inliers_then_by_the_first_stage(sources):
    answer = Ransac()(*sources, first_stage())
    assert answer.indices.tolist() == [[2, 5, 4, 1, 0, 3], [5, 4, 2, 3, -1, -1]]
    assert answer.scores[0].tolist() == [45, 45, 30, 20, 0, 0]
    assert answer.scores[1, :4].tolist() == [25, 25, 25, 0]
    assert np.isneginf(answer.scores[1, 4:]).all()


def test_only_the_head_is_reranked(sources):
    queries, database = sources
    answer = Ransac(top_k=3)(queries, database, first_stage())
    assert answer.indices.tolist() == [[2, 1, 0, 3, 4, 5], [5, 4, 3, 2, -1, -1]]
    assert answer.scores[0, :3].tolist() == [45, 20, 0]
    np.testing.assert_allclose(answer.scores[0, 3:], [0, -0.1, -0.2], atol=1e-6)
    assert sorted(database.read) == [0, 1, 2, 3, 4, 5]
    assert queries.read == [0, 1], "one query at a time, once"


def test_pairs_are_remembered_between_calls_with_the_same_sources(sources):
    queries, database = sources
    reranker = Ransac()
    whole = reranker(queries, database, first_stage())
    database.read.clear()
    again = reranker(queries, database, first_stage().without([{2}, set()]))
    assert again.indices[0].tolist() == [5, 4, 1, 0, 3, -1]
    assert database.read == [], "nothing is matched twice"
    others = MemorySource([database._images[i] for i in (1, 0, 2, 3, 4, 5)])
    swapped = reranker(queries, others, first_stage())
    assert swapped.indices[0].tolist() == [2, 5, 4, 0, 1, 3], "another source, other features"
    np.testing.assert_array_equal(reranker(queries, database, first_stage()).scores, whole.scores)
    turned = MemorySource([queries._images[1], queries._images[0]])
    indices = ranking(first_stage().indices[:, :4], first_stage().scores[:, :4])
    np.testing.assert_array_equal(
        reranker(turned, database, indices).scores, Ransac()(turned, database, indices).scores
    )


def test_what_is_remembered_is_bounded(sources, monkeypatch):
    monkeypatch.setattr(ransac, "REMEMBERED", 4)
    reranker = Ransac()
    answer = reranker(*sources, first_stage())
    assert answer.indices.tolist() == [[2, 5, 4, 1, 0, 3], [5, 4, 2, 3, -1, -1]]
    assert len(reranker._counts) <= 6


def test_threads_and_repetition_change_nothing(sources):
    answers = [Ransac(threads=n)(*sources, first_stage()) for n in (1, 4, 4)]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.indices, answers[0].indices)
        np.testing.assert_array_equal(answer.scores, answers[0].scores)


def test_released_mode_and_inliers_of_one_pair(sources):
    queries, database = sources
    answer = Ransac(released=True)(queries, database, first_stage())
    assert answer.indices[0, :4].tolist() == [2, 5, 4, 1]
    for reranker in (Ransac(), Ransac(released=True)):
        found = reranker.inliers(queries.features(0), database.features(1))
        assert found.pairs.tolist() == [[i, i] for i in range(20)]
        np.testing.assert_allclose(found.transform, TRANSFORM, atol=1e-3)


def test_parameters_reach_the_matching(sources):
    queries, database = sources
    pair = queries.features(0), database.features(2)
    assert len(Ransac().inliers(*pair)) == 45
    assert Ransac(model="homography").inliers(*pair).transform.shape == (3, 3)
    shifted = local(pair[1].keypoints + np.random.default_rng(0).normal(size=(60, 2)) * 5, pair[1].descriptors)
    assert len(Ransac(residual=1.0).inliers(pair[0], shifted)) < 20 < len(Ransac().inliers(pair[0], shifted))
    noisy = local(pair[1].keypoints, np.roll(pair[1].descriptors, 1, axis=1))
    assert Ransac().inliers(pair[0], noisy).tentative == 0
    loose = Ransac(matching_threshold=2.0).inliers(pair[0], noisy).tentative
    assert loose == 60
    assert Ransac(matching_threshold=2.0, ratio=0.9).inliers(pair[0], noisy).tentative < loose
    assert Ransac(matching_threshold=2.0, mutual=True).inliers(pair[0], noisy).tentative < loose
    mirrored = local(pair[1].keypoints * [-1, 1], pair[1].descriptors)
    assert len(Ransac().inliers(pair[0], mirrored)) == 0
    assert len(Ransac(plausible_only=False).inliers(pair[0], mirrored)) == 45


def test_images_without_local_features_have_no_inliers(sources):
    queries, database = sources
    empty = local(np.zeros((0, 2)), np.zeros((0, 0)))
    images = [empty, *database._images[1:]]
    answer = Ransac()(queries, MemorySource(images), first_stage())
    assert answer.indices[0].tolist() == [2, 5, 4, 1, 0, 3]
    answer = Ransac()(MemorySource([empty, empty]), database, first_stage())
    np.testing.assert_array_equal(answer.indices, first_stage().indices)


def test_bad_arguments_are_named_before_any_work():
    for options, message in (
        ({"top_k": 0}, "top_k of 1 or more"),
        ({"top_k": 2.5}, "top_k of 1 or more"),
        ({"matching_threshold": -1}, "matching_threshold"),
        ({"residual": 0}, "residual"),
        ({"ratio": 2}, "ratio"),
        ({"model": "essential"}, "choices are affine"),
        ({"trials": 0}, "trials"),
        ({"threads": -1}, "threads"),
        ({"released": True, "model": "homography"}, "released=True"),
    ):
        with pytest.raises(InputError, match=message):
            Ransac(**options)

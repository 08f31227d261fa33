import numpy as np
import pytest

from delg.common.errors import InputError
from matching.rerankers import ransac
from matching.rerankers.ransac import Ransac
from matching.source import MemorySource
from tests.matching.helpers import local, ranking, scene, unit, view

TRANSFORM = [[0.9, -0.3, 40.0], [0.3, 0.9, 10.0]]
AGREEING = (0, 20, 45, 0, 30, 45)  # inliers of each database image


class Counting(MemorySource):
    """A source that notes which local features are read."""

    def __init__(self, images):
        super().__init__(images)
        self.reads = []

    def features(self, i):
        self.reads.append(i)
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
    assert sorted(database.reads) == [0, 1, 2, 3, 4, 5]
    assert queries.reads == [0, 1], "one query at a time, once"


def test_pairs_are_remembered_between_calls_with_the_same_sources(sources):
    queries, database = sources
    reranker = Ransac()
    whole = reranker(queries, database, first_stage())
    database.reads.clear()
    again = reranker(queries, database, first_stage().without([{2}, set()]))
    assert again.indices[0].tolist() == [5, 4, 1, 0, 3, -1]
    assert database.reads == [], "nothing is matched twice"
    others = MemorySource([database.images[i] for i in (1, 0, 2, 3, 4, 5)])
    swapped = reranker(queries, others, first_stage())
    assert swapped.indices[0].tolist() == [2, 5, 4, 0, 1, 3], "another source, other features"
    np.testing.assert_array_equal(reranker(queries, database, first_stage()).scores, whole.scores)
    turned = MemorySource([queries.images[1], queries.images[0]])
    indices = ranking(first_stage().indices[:, :4], first_stage().scores[:, :4])
    np.testing.assert_array_equal(
        reranker(turned, database, indices).scores, Ransac()(turned, database, indices).scores
    )


def test_what_is_remembered_is_bounded(sources, monkeypatch):
    monkeypatch.setattr(ransac, "REMEMBERED", 4)
    reranker = Ransac()
    for _ in range(2):
        sources[1].reads.clear()
        answer = reranker(*sources, first_stage())
        assert answer.indices.tolist() == [[2, 5, 4, 1, 0, 3], [5, 4, 2, 3, -1, -1]]
        assert sorted(set(sources[1].reads)) == [0, 1, 2, 3, 4, 5], "not all pairs are remembered"


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
    images = [empty, *database.images[1:]]
    answer = Ransac()(queries, MemorySource(images), first_stage())
    assert answer.indices[0].tolist() == [2, 5, 4, 1, 0, 3]
    answer = Ransac()(MemorySource([empty, empty]), database, first_stage())
    np.testing.assert_array_equal(answer.indices, first_stage().indices)


def test_bad_arguments_are_named_before_any_work():
    for options, message in (
        ({"top_k": 0}, "top_k expects"),
        ({"top_k": 2.5}, "top_k expects"),
        ({"matching_threshold": -1}, "matching_threshold"),
        ({"residual": 0}, "residual"),
        ({"ratio": 2}, "ratio"),
        ({"model": "essential"}, "choices are affine"),
        ({"trials": 0}, "trials"),
        ({"threads": -1}, "threads"),
        ({"released": True, "model": "homography"}, "released=True"),
        ({"released": True, "settled": 3}, "settled=None"),
        ({"settled": 0}, "settled expects"),
    ):
        with pytest.raises(InputError, match=message):
            Ransac(**options)


def many(seed, n=70):
    """A query and ``n`` views: few features of most, some of which agree; names say how many agree."""
    rng = np.random.default_rng(seed)
    keypoints, descriptors = scene(seed=seed)
    images = []
    for i in range(n):
        kept = int(rng.integers(0, 61 if i % 7 == 0 else 25))
        images.append(view(keypoints, descriptors, TRANSFORM, int(rng.integers(0, kept + 1)), f"view{i}").top(kept))
    scores = np.sort(rng.random(n))[None, ::-1]
    return (
        MemorySource([local(keypoints, descriptors, "query")]),
        Counting(images),
        ranking([rng.permutation(n)], scores),
    )


@pytest.mark.parametrize("options", [{}, {"mutual": True, "ratio": 0.9}])
def test_settled_places_are_those_of_verifying_all(options, monkeypatch):
    verified = []
    agreeing = Ransac.agreeing
    monkeypatch.setattr(Ransac, "agreeing", lambda *arguments: verified.append(1) or agreeing(*arguments))
    for seed in range(2):
        queries, database, before = many(seed)
        whole = Ransac(top_k=60, **options)(queries, database, before)
        for places in (1, 3, 10, 60, 99):
            verified.clear()
            database.reads.clear()
            answer = Ransac(top_k=60, settled=places, **options)(queries, database, before)
            np.testing.assert_array_equal(answer.indices[:, :places], whole.indices[:, :places])
            np.testing.assert_array_equal(answer.scores[:, :places], whole.scores[:, :places])
            np.testing.assert_array_equal(np.sort(answer.indices), np.sort(before.indices))
            assert (np.diff(answer.scores) <= 0).all()
            assert len(database.reads) == 60, "each image is read once"
            assert len(verified) <= (32 if places <= 3 else 60)


def test_settled_places_do_not_depend_on_what_is_remembered_held_or_how_many_threads(monkeypatch):
    queries, database, before = many(5)
    reranker = Ransac(settled=2)
    first = reranker(queries, database, before)
    database.reads.clear()
    again = reranker(queries, database, before)
    assert database.reads == []
    reranker.settled = 20
    reranker(queries, database, before)
    reranker.settled = 2
    others = [again, reranker(queries, database, before), Ransac(settled=2, threads=5)(queries, database, before)]
    monkeypatch.setattr(ransac, "HELD", 1000)
    database.reads.clear()
    others.append(Ransac(settled=2)(queries, database, before))
    assert len(database.reads) > 70, "points that were not held are matched again"
    for other in others:
        np.testing.assert_array_equal(other.indices, first.indices)
        np.testing.assert_array_equal(other.scores, first.scores)


def test_points_are_those_of_the_matching(sources):
    """The two ways to a count, at once and in two steps, agree."""
    queries, database, _ = many(6)
    for options in ({}, {"model": "similarity"}, {"ratio": 0.8, "mutual": True, "residual": 3.0, "seed": 3}):
        reranker = Ransac(**options)
        counts = []
        for row in range(len(database)):
            pair = queries.features(0), database.features(row)
            found, points = reranker.inliers(*pair), reranker.points(*pair)
            assert (len(points[0]), reranker.agreeing(pair[0], points)) == (found.tentative, len(found))
            counts.append(len(found))
        assert max(counts) > 20


def test_points_come_nearest_first():
    keypoints, descriptors = scene(n=8)
    noise = np.array([5, 2, 7, 1, 0, 6, 3, 4])[:, None] / 10
    query, index = local(keypoints, descriptors), local(keypoints + 1, unit(descriptors + noise * descriptors[::-1]))
    source, target = Ransac().points(query, index)
    np.testing.assert_array_equal(target, query.keypoints[[4, 3, 1, 6, 7, 0, 5, 2]])
    np.testing.assert_array_equal(source, index.keypoints[[4, 3, 1, 6, 7, 0, 5, 2]])


def test_bounds_belong_to_their_sources():
    queries, database, before = many(7)
    reranker = Ransac(settled=1)
    reranker(queries, database, before)
    turned = MemorySource(database.images[::-1])
    np.testing.assert_array_equal(
        reranker(queries, turned, before).indices, Ransac(settled=1)(queries, turned, before).indices
    )


def test_features_that_cannot_be_compared_are_named_in_both_ways(sources):
    queries, database = sources
    for images, message in (
        (
            local(np.zeros((4, 2)), np.ones((4, 3)) / 3**0.5, "short"),
            "'query' and 'short' differ in dimension: 128 and 3",
        ),
        (local(np.full((4, 2), np.nan), np.eye(4, 128), "broken"), "'broken' hold values that are not finite"),
    ):
        for options in ({}, {"settled": 1}, {"released": True}):
            with pytest.raises(InputError, match=message):
                Ransac(**options)(queries, MemorySource([*database.images[:5], images]), first_stage())


def test_an_empty_database_image_set_keeps_the_order(sources):
    queries, _ = sources
    empty = MemorySource([local(np.zeros((0, 2)), np.zeros((0, 0)), str(i)) for i in range(6)])
    for options in ({}, {"settled": 2}):
        answer = Ransac(**options)(queries, empty, first_stage())
        np.testing.assert_array_equal(answer.indices, first_stage().indices)

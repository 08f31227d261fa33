"""Chamfer similarity of local descriptors, with and without transport."""

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.store.encoding import as_stored
from matching.rerankers.chamfer_ot import ChamferOT
from matching.source import MemorySource
from tests.matching.helpers import local, ranking, scene, unit


def images(count=5, n=40, shared=(0, 30, 10, 20, 5), kind="float32"):
    """A query and images that share so many of its descriptors, up to noise."""
    rng = np.random.default_rng(3)
    keypoints, descriptors = scene(n=n)
    others = []
    for i in range(count):
        rows = unit(rng.normal(size=(n - 3 * i, 128)))
        rows[: shared[i]] = unit(descriptors[: shared[i]] + 0.02 * rng.normal(size=(shared[i], 128)))
        others.append(local(keypoints[: len(rows)], rows, f"image{i}"))
    query = local(keypoints, descriptors, "query")
    return MemorySource([as_stored(query, kind)]), MemorySource([as_stored(image, kind) for image in others])


def ranked(reranker, queries, database):
    n = len(database)
    return reranker(queries, database, ranking([list(range(n))], [np.linspace(1, 0.5, n)]))


@pytest.mark.parametrize("kind", ["float32", "binary"])
@pytest.mark.parametrize("arguments", [{}, {"dustbin": None}, {"mean": True}, {"dustbin": None, "mean": True}])
def test_orders_by_shared_features(kind, arguments):
    answer = ranked(ChamferOT(**arguments), *images(kind=kind))
    assert answer.indices[0, :3].tolist() == [1, 3, 2]


@pytest.mark.parametrize("arguments", [{}, {"dustbin": None}])
def test_scores_depend_neither_on_the_other_candidates_nor_on_the_order_of_features(arguments, monkeypatch):
    queries, database = images()
    together = ranked(ChamferOT(**arguments), queries, database)
    rng = np.random.default_rng(0)
    for i, row in enumerate(together.indices[0]):
        image = database.features(int(row))
        shuffled = local(image.keypoints, image.descriptors[rng.permutation(len(image))])
        alone = ranked(ChamferOT(**arguments), queries, MemorySource([shuffled]))
        np.testing.assert_allclose(alone.scores[0, 0], together.scores[0, i], rtol=1e-5)


def test_only_the_first_features_are_compared():
    queries, database = images()
    cut = MemorySource([database.features(i).top(7) for i in range(len(database))])
    few = ranked(ChamferOT(features=7), queries, database)
    expected = ranked(ChamferOT(), MemorySource([queries.features(0).top(7)]), cut)
    np.testing.assert_array_equal(few.scores, expected.scores)


@pytest.mark.parametrize("arguments", [{}, {"dustbin": None}])
def test_images_without_features_come_last_and_a_query_without_keeps_the_order(arguments):
    queries, database = images()
    empty = local(np.zeros((0, 2)), np.zeros((0, 128)))
    more = MemorySource([empty, *(database.features(i) for i in range(5)), empty])
    answer = ranked(ChamferOT(**arguments), queries, more)
    assert answer.indices[0, -2:].tolist() == [0, 6] and not answer.scores[0, -2:].any()
    unchanged = ranked(ChamferOT(**arguments), MemorySource([empty]), database)
    assert unchanged.indices[0].tolist() == [0, 1, 2, 3, 4]


def test_another_database_is_read_anew():
    queries, database = images()
    reversed_ones = MemorySource([database.features(i) for i in range(4, -1, -1)])
    reranker = ChamferOT()
    first, second = ranked(reranker, queries, database), ranked(reranker, queries, reversed_ones)
    np.testing.assert_array_equal(first.indices, 4 - second.indices)


def test_what_cannot_be_compared_is_named():
    queries, database = images()
    with pytest.raises(InputError, match="binary"):
        ranked(ChamferOT(), images(kind="binary")[0], database)
    short = MemorySource([local(np.zeros((3, 2)), unit(np.ones((3, 64))))])
    with pytest.raises(InputError, match="128 and 64"):
        ranked(ChamferOT(), queries, short)
    for wrong in ({"dustbin": 1.5}, {"dustbin": "x"}, {"features": 0}, {"top_k": 0}, {"threads": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ChamferOT(**wrong)

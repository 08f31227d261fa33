"""Any text for a reranker or an index, and any points on any picture: an answer, or an InputError of one line."""

import inspect

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.spec import factory_of
from matching.draw import draw_matches
from matching.indexes.table import INDEXES, build_index
from matching.rerankers.table import RERANKERS, build_reranker
from tests.matching.fuzz_helpers import check_found, check_ranked, first_stage, refused, sources
from tests.matching.indexes.index_helpers import Store

ODD = (
    "",
    " ",
    "(",
    "ransac(",
    "ransac)",
    "ransac(top_k)",
    "ransac(top_k=)",
    "|",
    "superglobal|",
    "exact(dtype=3)",
    "__",
)
VALUES = ("None", "-1", "0", "1e400", "nan", "'a'", "[]", "{}", "(1,)", "True", "1j", "10**9", "9" * 400, "2.5", "b''")


@pytest.mark.parametrize("table", [RERANKERS, INDEXES], ids=["rerankers", "indexes"])
def test_texts(table, tmp_path):
    """Any text, and any value of any argument: built, or one sentence; what is built answers."""
    rng = np.random.default_rng(0)
    queries, database = sources(rng, 2, 20, 6)
    store, before = Store(database.global_descriptors), first_stage(rng, 2, 20)
    texts = [*ODD, *(f"{name}(nonsense=1)" for name in table)]
    texts += [
        f"{name}({argument}={value})"
        for name in table
        for argument in inspect.signature(factory_of(name, table, "choice")).parameters
        for value in VALUES
    ]
    built = 0
    for i, text in enumerate(texts):
        try:
            if table is RERANKERS:
                check_ranked(before, build_reranker(text)(queries, database, before))
            else:
                answer = build_index(store, tmp_path / str(i), text).search(queries.global_descriptors, 5)
                check_found(answer, queries.global_descriptors, database.global_descriptors, atol=2)
            built += 1
        except InputError as error:
            assert "\n" not in str(error)
    assert 5 < built < len(texts)


def test_pictures():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    for points in (np.zeros((0, 2)), np.full((3, 2), 1e30), np.full((3, 2), -7e9), rng.normal(size=(4, 2)) * 1e5):
        assert draw_matches(image, image, points, points[::-1]).shape == (30, 88, 3)
    for points in (np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.zeros((2, 3)), np.zeros(2)):
        with refused():
            draw_matches(image, image, points, points)
    for wrong in (image[..., 0], image.astype(float), image[..., :2], image[:0]):
        with refused():
            draw_matches(wrong, image, np.zeros((1, 2)), np.zeros((1, 2)))

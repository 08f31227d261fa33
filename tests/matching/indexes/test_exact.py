import numpy as np
import pytest

from delg.common.errors import InputError
from matching.indexes import exact
from matching.indexes.table import search, unranked


@pytest.fixture
def data():
    """Small whole numbers: products are exact, and many of them equal."""
    rng = np.random.default_rng(1)
    return tuple(rng.integers(-3, 4, (n, 24)).astype(np.float32) for n in (37, 211))


def brute_force(queries, database):
    scores = (queries.astype(np.float64)) @ database.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")
    return order, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("top_k", [1, 7, 210, 211, 500, None])
def test_equals_brute_force(data, top_k):
    order, scores = brute_force(*data)
    answer = search(*data, top_k)
    k = min(top_k or 211, 211)
    assert answer.indices.shape == (37, k)
    assert answer.indices.dtype == np.int64
    assert answer.scores.dtype == np.float32
    np.testing.assert_array_equal(answer.indices, order[:, :k])
    np.testing.assert_array_equal(answer.scores, scores[:, :k])


@pytest.mark.parametrize("top_k", [1, 7, 40, None])
def test_blocks_of_queries_and_rows_change_nothing(data, top_k, monkeypatch):
    whole = search(*data, top_k)
    monkeypatch.setattr(exact, "QUERY_ROWS", 5)
    monkeypatch.setattr(exact, "BLOCK_BYTES", 4 * 24 * 10)  # ten rows
    blocks = search(*data, top_k)
    np.testing.assert_array_equal(blocks.indices, whole.indices)
    np.testing.assert_array_equal(blocks.scores, whole.scores)


@pytest.mark.parametrize("rows", [1, 3, 4, 100])
@pytest.mark.parametrize("top_k", [1, 2, 4, 6, 12, None])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_of_equal_scores_the_lower_row_comes_first(rows, top_k, dtype, monkeypatch):
    monkeypatch.setattr(exact, "BLOCK_BYTES", 4 * 2 * rows)
    database = np.array([[0.5, 0], [1, 0], [0, 1], [1, 0]] * 3, dtype)
    expected = [1, 3, 5, 7, 9, 11, 0, 4, 8, 2, 6, 10]
    answer = search(np.array([[1, 0]], np.float32), database, top_k)
    assert answer.indices[0].tolist() == expected[:top_k]


def test_never_holds_queries_times_database(monkeypatch):
    """Every block product is small, however many queries and rows there are."""
    monkeypatch.setattr(exact, "BLOCK_BYTES", 4 * 1000)
    sizes = []
    real = exact.merge
    monkeypatch.setattr(exact, "merge", lambda kept, row, start, k: sizes.append(len(row)) or real(kept, row, start, k))
    search(np.ones((2 * exact.QUERY_ROWS, 2), np.float32), np.ones((40, 2), np.float32), 3)
    assert max(sizes) * exact.QUERY_ROWS * 4 <= 4 * 1000


def test_half_precision_and_memory_maps(data, tmp_path):
    queries, database = data
    database = database / 2
    np.save(tmp_path / "database.npy", database.astype(np.float16))
    mapped = np.load(tmp_path / "database.npy", mmap_mode="r")
    answer = search(queries, mapped, 5)
    order, scores = brute_force(queries, np.array(mapped, np.float32))
    np.testing.assert_array_equal(answer.indices, order[:, :5])
    np.testing.assert_array_equal(answer.scores, scores[:, :5])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int16])
@pytest.mark.parametrize("top_k", [3, None])
def test_blocks_that_are_converted(data, dtype, top_k, monkeypatch):
    """The buffer of one block does not show in the scores of another."""
    queries, database = data
    monkeypatch.setattr(exact, "BLOCK_BYTES", 4 * 37 * 50)  # blocks of 50 rows, the last of 11
    answer, expected = search(queries, database.astype(dtype), top_k), search(queries, database, top_k)
    np.testing.assert_array_equal(answer.indices, expected.indices)
    np.testing.assert_array_equal(answer.scores, expected.scores)


@pytest.mark.parametrize("count", [1, exact.FEW, exact.FEW + 1])
@pytest.mark.parametrize("top_k", [3, None])
def test_few_queries_on_half_precision(count, top_k, monkeypatch):
    """A few queries take another path; the answers are the same, also across blocks and among equal scores."""
    rng = np.random.default_rng(3)
    queries = rng.integers(-3, 4, (count, 16)).astype(np.float32)
    database = rng.integers(-3, 4, (61, 16)).astype(np.float16)
    queries[:, 0] = database[:, 0] = 1
    monkeypatch.setattr(exact, "SCANNED_BYTES", 2 * 16 * 25)  # blocks of 25 rows, the last of 11
    order, scores = brute_force(queries, database.astype(np.float32))
    for rows in (database, np.asfortranarray(database)):
        answer = search(queries, rows, top_k)
        np.testing.assert_array_equal(answer.indices, order[:, :top_k])
        np.testing.assert_array_equal(answer.scores, scores[:, :top_k])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0])
def test_a_bad_row_of_half_precision_is_named(value):
    database = np.ones((40, 16), np.float16)
    database[23] = value
    with pytest.raises(InputError, match="row 23"):
        search(np.ones((1, 16), np.float32), database, 3)


def test_no_queries():
    assert search(np.zeros((0, 3), np.float32), np.ones((5, 3), np.float32), 2).indices.shape == (0, 2)


def test_bad_input_is_named():
    good = np.ones((2, 3), np.float32)
    for queries, database, top_k, message in (
        (good, np.ones((2, 4), np.float32), 1, "differ in dimension: 3 and 4"),
        (np.ones((2, 0), np.float32), np.ones((2, 0), np.float32), 1, "hold no global descriptor"),
        (np.ones(3, np.float32), good, 1, r"shape \(N, D\)"),
        (good, np.ones((0, 3), np.float32), 1, "no images"),
        (good, good, 0, "top_k expects 1 or more"),
        (good, good, 1.5, "top_k expects 1 or more"),
    ):
        with pytest.raises(InputError, match=message):
            search(queries, database, top_k)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["queries", "database"])
def test_values_that_are_not_finite_are_refused(value, where):
    arrays = {"queries": np.ones((3, 2), np.float32), "database": np.ones((4, 2), np.float32)}
    arrays[where][2, 1] = value
    with pytest.raises(InputError, match="not finite"):
        search(**arrays)


@pytest.mark.parametrize("top_k", [2, None])
def test_zero_descriptors_are_refused(top_k):
    """They would come before all that are unlike the query."""
    queries, database = np.array([[0, 1, 0], [1, 0, 0]], np.float32), np.array([[1, 0, 0]] * 4, np.float32)
    assert search(queries, database, top_k).scores[0].tolist() == [0] * (top_k or 4)
    with pytest.raises(InputError, match="query 1 is zero"):
        search(queries * [[1], [0]], database, top_k)
    database[2] = 0
    with pytest.raises(InputError, match="database row 2 is zero"):
        search(queries, database, top_k)


def test_unranked_lists_every_row():
    answer = unranked(2, 3)
    assert answer.indices.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert answer.scores.tolist() == [[0, 0, 0], [0, 0, 0]]

"""Indexes in folders: one contract for all kinds, then what is special to some."""

import numpy as np
import pytest

from delg.common import spec
from delg.common.errors import InputError
from matching.indexes import rows, saved
from matching.indexes.faiss_kinds import IvfPq
from matching.indexes.table import INDEXES, build_index, open_index
from tests.matching.helpers import unit
from tests.matching.indexes.index_helpers import THOROUGH, Store, WithPaths, clustered, ranked


def test_every_kind_is_tried():
    assert {spec.parse(text)[0] for text in THOROUGH} == {*INDEXES, "own_indexes:Divided"}


def test_a_plug_in_is_searched_with_its_settings(built, store, queries):
    text = "own_indexes:Divided(by=4.0, times=4.0)"
    whole = built[text].search(queries, 9)
    half = open_index(built[text].place, times=2.0).search(queries, 9)
    np.testing.assert_array_equal(half.indices, whole.indices)
    np.testing.assert_allclose(half.scores, whole.scores / 2)
    with pytest.raises(InputError, match="by of an index own_indexes:Divided cannot be changed"):
        open_index(built[text].place, by=1.0)
    with pytest.raises(InputError, match=r"own_indexes:NoIndex.*matching\.indexes\.base\.Index"):
        build_index(store, "unused", "own_indexes:NoIndex")


@pytest.mark.parametrize("text", THOROUGH)
@pytest.mark.parametrize("top_k", [1, 37, 600, 5000, None])
def test_equals_brute_force(text, top_k, built, store, queries):
    """Scores are those of float16 rows; rows whose scores are further apart than its rounding are in order."""
    queries = unit(queries)
    answer = built[text].search(queries, top_k)
    k = min(top_k or 600, 600)
    _, expected = ranked(queries, store.global_descriptors, k)
    assert (answer.indices.dtype, answer.scores.dtype) == (np.int64, np.float32)
    assert answer.indices.shape == answer.scores.shape == (len(queries), k)
    np.testing.assert_allclose(answer.scores, expected, atol=1e-3)
    for q, row in enumerate(answer.indices):
        assert len(set(row.tolist())) == k
        np.testing.assert_allclose(answer.scores[q], store.global_descriptors[row] @ queries[q], atol=1e-3)
    assert (np.diff(answer.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("text", THOROUGH)
def test_opened_again_it_answers_the_same(text, built, store, queries):
    queries = unit(queries)
    again = open_index(built[text].place)
    left, right = built[text].search(queries, 20), again.search(queries, 20)
    np.testing.assert_array_equal(left.indices, right.indices)
    np.testing.assert_array_equal(left.scores, right.scores)
    assert len(again) == 600
    assert again.names_of([599, 0, 7]) == ["folder/ä image 599", "folder/ä image 0", "folder/ä image 7"]
    assert again.manifest == built[text].manifest
    assert again.manifest.settings == store.settings


@pytest.mark.parametrize("text", THOROUGH)
def test_a_finished_build_is_not_repeated(text, built, store, monkeypatch):
    monkeypatch.setattr(rows, "blocks", None)
    monkeypatch.setattr(type(built[text].index), "build", None)
    assert build_index(store, built[text].place, text).manifest == built[text].manifest


@pytest.mark.parametrize("text", THOROUGH)
def test_equal_rows_are_ranked_by_number(text, tmp_path):
    database = np.repeat(clustered(100, 16), 3, axis=0)[np.random.default_rng(5).permutation(300)]
    made = build_index(Store(database), tmp_path / "index", text.replace("=7", "=3"))
    answer = made.search(database[:9], 300)
    for row, scores in zip(answer.indices, answer.scores):
        found = scores[row >= 0]
        for i in np.flatnonzero(np.diff(found) == 0):
            assert row[i] < row[i + 1]
        assert (np.diff(found) == 0).sum() >= 150


@pytest.mark.parametrize("text", ["ivf_pq", "ivf_rabitq", "hnsw", "binary", "ivf_pq(nbits=8)"])
def test_as_they_come_they_find_what_is_near(text, tmp_path):
    database = clustered(6000, 64)
    made = build_index(Store(database), tmp_path / "index", text)
    queries = unit(database[::200] + 0.3 * clustered(6000, 64, seed=3)[::200])
    answer, (expected, _) = made.search(queries, 10), ranked(queries, database, 10)
    recall = np.mean([len({*row} & {*truth}) / 10 for row, truth in zip(answer.indices, expected)])
    assert recall >= 0.9


def test_probing_few_lists_finds_fewer_rows_and_says_so(built, queries):
    text = "ivf_pq(nlist=5, m=2, nbits=8, nprobe=5, rescore=600)"
    made = open_index(built[text].place, nprobe=1)
    assert made.index.nprobe == 1
    whole, part = built[text].search(unit(queries), None), made.search(unit(queries), None)
    for row, scores, other in zip(part.indices, part.scores, whole.indices):
        found = int((row >= 0).sum())
        assert 0 < found < 600
        assert (row[found:] == -1).all()
        assert np.isneginf(scores[found:]).all()
        assert [r for r in other if r in row[:found]] == row[:found].tolist()


def test_rescoring_corrects_the_order(store, queries, tmp_path):
    coarse = build_index(store, tmp_path / "coarse", "binary(rescore=0)")
    bits = [np.packbits(x > 0, axis=1) for x in (unit(queries), store.global_descriptors)]
    hamming = np.bitwise_count(bits[0][:, None] ^ bits[1][None]).sum(axis=2)
    answer = coarse.search(unit(queries), 600)
    np.testing.assert_allclose(answer.scores, 1 - 2 * np.sort(hamming, axis=1) / 32)
    for row, distances in zip(answer.indices, hamming):
        assert row.tolist() == np.argsort(distances, kind="stable").tolist()
    fine = build_index(store, tmp_path / "fine", "binary(rescore=60)")
    answer, (_, expected) = fine.search(unit(queries), 5), ranked(unit(queries), store.global_descriptors, 5)
    np.testing.assert_allclose(answer.scores[:, 0], expected[:, 0], atol=1e-3)
    assert not (tmp_path / "coarse" / "descriptors.npy").exists()
    with pytest.raises(InputError, match="rescore=0"):
        open_index(tmp_path / "coarse", rescore=10)


def test_settings_that_may_be_changed(built):
    assert open_index(built["hnsw(ef_search=600)"].place, ef_search=9).index.ef_search == 9
    for text, change, message in (
        ("exact", {"dtype": "float32"}, "dtype of an index exact cannot be changed.*none"),
        ("hnsw(ef_search=600)", {"m": 3}, "m of an index hnsw cannot be changed.*ef_search"),
        ("ivf_sq(nlist=7, nprobe=7)", {"nprobe": 0}, "nprobe expects a whole number of 1 or more"),
    ):
        with pytest.raises(InputError, match=message):
            open_index(built[text].place, **change)


def test_the_same_settings_make_the_same_index(store, tmp_path):
    text = "ivf_pq(nlist=6, seed={})"
    files = [
        (build_index(store, tmp_path / str(i), text.format(seed)), tmp_path / str(i) / "index.faiss")[1].read_bytes()
        for i, seed in enumerate((3, 3, 4))
    ]
    assert files[0] == files[1]
    assert files[0] != files[2]


@pytest.mark.parametrize("text", THOROUGH)
def test_lists_come_from_fast_products_where_they_can(text, built):
    lists = {"ivf_sq(nlist=7, nprobe=7)": 7, 'faiss(factory="IVF9,PQ4x4fs", nprobe=9, rescore=600)': 9}
    lists |= {THOROUGH[6]: 16, THOROUGH[7]: 5, THOROUGH[8]: 16}
    centres = getattr(built[text].index, "_centres", None)
    if text in lists:
        np.testing.assert_allclose(np.linalg.norm(centres, axis=1), np.ones(lists[text]), atol=1e-6)
    else:
        assert centres is None


def test_lists_are_chosen_by_the_number_of_rows(monkeypatch):
    assert [IvfPq().factory(n, 2048) for n in (16, 100, 10_000, 100_000, 1_000_000)] == [
        "IVF1,PQ256x4np",
        "IVF2,PQ256x4np",
        "IVF256,PQ256x4np",
        "IVF1024,PQ256x4np",
        "IVF4096,PQ256x4np",
    ]
    assert IvfPq(nlist=9, m=3, nbits=8).factory(1000, 27) == "IVF9,PQ3x8np"
    assert IvfPq().factory(1000, 27).endswith("PQ3x4np")
    assert IvfPq().factory(1000, 5).endswith("PQ1x4np")


def test_paths_of_the_images(store, tmp_path):
    for place in ("paths", "paths"):  # made, and opened
        index = build_index(WithPaths(store.global_descriptors), tmp_path / place)
        assert index.paths_of([599, 0]) == ["folder/ä image 599.jpg", "folder/ä image 0.jpg"]
        assert index.names_of([599, 0]) == ["folder/ä image 599", "folder/ä image 0"]
    assert build_index(store, tmp_path / "none").paths_of([3, 0]) == ["", ""]
    (tmp_path / "paths" / "paths.npy").unlink()
    with pytest.raises(InputError, match=r"damaged: paths\.npy"):
        open_index(tmp_path / "paths")


def killed(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("stage", ["write_matrix", "index.add", "write_texts"])
def test_a_build_that_was_stopped_is_continued(stage, store, queries, tmp_path, monkeypatch):
    text, place = "ivf_pq(nlist=6, nprobe=6, rescore=600)", tmp_path / "index"
    with monkeypatch.context() as patched:
        if stage == "write_matrix":
            patched.setattr("matching.indexes.faiss_index.write_matrix", killed)
        elif stage == "index.add":
            patched.setattr("matching.indexes.faiss_index.blocks", killed)
        else:
            patched.setattr(saved, "write_texts", killed)
        with pytest.raises(KeyboardInterrupt):
            build_index(store, place, text)
    with pytest.raises(InputError, match="not finished; run its delg-index command again"):
        open_index(place)
    with pytest.raises(InputError, match=r"holds an index ivf_pq\(.*not exact"):
        build_index(store, place, "exact")
    (place / ".0123456789ab.index.faiss").write_text("half a file")
    trained = (place / "trained.faiss").is_file()
    assert trained == (stage == "index.add")
    with monkeypatch.context() as patched:
        if stage != "write_matrix":
            patched.setattr("matching.indexes.faiss_index.sample_size", None)  # trained once
        made = build_index(store, place, text)
    files = {"descriptors.npy", "index.faiss", "names.npy", "name_ends.npy", "paths.npy", "path_ends.npy"}
    assert {p.name for p in place.iterdir()} == {"plan.json", "manifest.json", *files}
    np.testing.assert_allclose(
        made.search(unit(queries), 9).scores, ranked(unit(queries), store.global_descriptors, 9)[1], atol=1e-3
    )


def test_many_queries_are_searched_in_batches(store, tmp_path, monkeypatch):
    made = build_index(store, tmp_path / "index", "ivf_pq(nlist=3, nprobe=3)")
    many = store.global_descriptors[::12]  # 50 queries
    whole = made.search(many, 4)
    monkeypatch.setattr(saved, "QUERY_ROWS", 7)
    monkeypatch.setattr(rows, "READ_ROWS", 5)
    batches = made.search(many, 4)
    np.testing.assert_array_equal(whole.indices, batches.indices)
    np.testing.assert_allclose(whole.scores, batches.scores, atol=1e-6)
    monkeypatch.delattr("os.posix_fadvise")
    np.testing.assert_array_equal(made.search(many, 4).scores, batches.scores)

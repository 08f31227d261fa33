"""What indexes refuse: wrong settings, descriptors, queries, folders; and what comes of any shape."""

import json

import numpy as np
import pytest

from delg.common import spec
from delg.common.errors import InputError
from matching.indexes import base, manifest, rows
from matching.indexes.table import INDEXES, build_index, open_index
from tests.matching.helpers import unit
from tests.matching.indexes.index_helpers import THOROUGH, Store, clustered, ranked


def test_an_index_of_other_code_is_not_taken_for_the_same(store, tmp_path, monkeypatch):
    place = tmp_path / "index"
    build_index(store, place)
    before = (place / "manifest.json").read_bytes()
    monkeypatch.setattr("matching.indexes.saved.source_sha256", lambda *makers: "0" * 64)
    with pytest.raises(InputError, match="other code"):
        build_index(store, place)
    assert (place / "manifest.json").read_bytes() == before and len(open_index(place)) == len(store.names)


def test_what_lies_there_is_not_overwritten(store, tmp_path):
    place = tmp_path / "index"
    build_index(store, place)
    other = Store(store.global_descriptors.copy())
    assert build_index(other, place, 'exact(dtype="float16")').place == str(place)
    other.global_descriptors[300, 4] += 1e-3
    for changed in (
        other,
        Store(store.global_descriptors, {"extractor": "other"}),
        Store(store.global_descriptors[1:]),
    ):
        with pytest.raises(InputError, match="holds an index of other features"):
            build_index(changed, place)
    with pytest.raises(InputError, match="holds an index exact"):
        build_index(store, place, 'exact(dtype="float32")')
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else than an index"):
        build_index(store, tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "delg feature store"}')
    with pytest.raises(InputError, match="is not an index"):
        build_index(store, tmp_path)
    assert (tmp_path / "file.txt").read_text() == "mine"


def test_an_index_knows_its_store_and_the_settings_of_its_features(store, tmp_path):
    made = build_index(store, tmp_path / "index")
    made.check_store(store, "it")
    with pytest.raises(InputError, match="was not made from other; run delg-index again"):
        made.check_store(Store(store.global_descriptors, names=store.names[::-1]), "other")
    made.check_queries({"extractor": "test", "scales": [1.0], "crop": "any"}, "Queries")
    with pytest.raises(InputError, match=r"Queries and those of the index .* scales \(\[2.0\] and \[1.0\]\)"):
        made.check_queries({"extractor": "test", "scales": [2.0]}, "Queries")


def test_the_fingerprint_of_a_large_store_takes_rows_from_all_of_it(monkeypatch):
    monkeypatch.setattr(manifest, "SAMPLE", 4)
    matrix = clustered(100, 8)
    first = manifest.fingerprint(Store(matrix))
    for row in (0, 33, 66, 99):
        changed = matrix.copy()
        changed[row] *= -1
        assert manifest.fingerprint(Store(changed)) != first
    assert manifest.fingerprint(Store(matrix.copy())) == first


def test_a_damaged_index_is_refused(store, tmp_path):
    for i, (name, damage, message) in enumerate(
        (
            ("index.faiss", lambda path: path.write_bytes(path.read_bytes()[:-9]), r"damaged: index.faiss is \d+"),
            ("descriptors.npy", lambda path: path.unlink(), "damaged: descriptors.npy is absent"),
            ("index.faiss", lambda path: path.write_bytes(bytes(path.stat().st_size)), "damaged"),
            ("names.npy", lambda path: path.write_bytes(bytes(path.stat().st_size)), "damaged"),
            ("manifest.json", lambda path: path.write_text("{"), "cannot be read as JSON"),
            ("manifest.json", lambda path: path.write_text("[]"), "is not an index"),
            ("manifest.json", lambda path: path.unlink(), "not finished"),
        )
    ):
        place = tmp_path / str(i)
        build_index(store, place, "ivf_pq(nlist=2)")
        damage(place / name)
        with pytest.raises(InputError, match=message):
            open_index(place)
    place = tmp_path / "version"
    build_index(store, place)
    text = json.loads((place / "manifest.json").read_text())
    for changes, message in (
        ({"version": 2}, "format version 2; expected 1"),
        ({"index": "tree(k=3)"}, "Unknown index of .*'tree'"),
        ({"index": None}, "misses count"),
    ):
        document = text | changes
        if document["index"] is None:
            del document["count"]
        (place / "manifest.json").write_text(json.dumps(document))
        with pytest.raises(InputError, match=message):
            open_index(place)
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="is not an index"):
            open_index(missing)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tree", "Unknown index 'tree'; the choices are binary, exact, faiss, flat, hnsw, ivf_pq, ivf_rabitq, ivf_sq"),
        ("milvus", r"milvus expects a path that ends in \.db, or a URL"),
        ("exact(dtype='int8')", "dtype float32 or float16. Received: 'int8'"),
        ("ivf_pq(nlist=0)", "nlist expects a whole number of 1 or more"),
        ("ivf_pq(nlist=601)", "nlist expects at most the number of images, 600"),
        ("ivf_pq(m=5)", "m expects a divisor of the dimension 32"),
        ("ivf_pq(nbits=6)", "nbits expects 4 or 8"),
        ("ivf_pq(rescore=-1)", "rescore expects a whole number of 0 or more"),
        ("ivf_pq(probe=3)", "its arguments are nlist, m, nbits, nprobe, rescore, seed"),
        ("binary(rescore=True)", "rescore expects a whole number"),
        ("hnsw(m=1)", "m expects a whole number of 2 or more"),
        ("faiss(factory='Tree5')", "FAISS cannot make 'Tree5' for dimension 32"),
        ("faiss(factory='PQ5')", "multiple of the number of subquantizers"),
        ("faiss(factory=3)", "factory to be a text"),
        ("faiss(factory='IVF601,Flat')", "FAISS cannot train 'IVF601,Flat' on 600 descriptors"),
    ],
)
def test_wrong_settings_are_named(text, message, store, tmp_path):
    with pytest.raises(InputError, match=message):
        build_index(store, tmp_path / "index", text)


@pytest.mark.parametrize("text", THOROUGH)
def test_wrong_queries_are_named(text, built, queries):
    good = unit(queries)
    bad = good.copy()
    bad[3, 1] = np.nan
    for given, top_k, message in (
        (good[:, :31], 5, "differ in dimension: 31 and 32"),
        (good[0], 5, r"shape \(N, D\)"),
        (good, 0, "top_k expects 1 or more"),
        (good, 2.0, "top_k expects 1 or more"),
        (bad, 5, "query 3 is not finite"),
        (np.where(np.isnan(bad), np.inf, bad), 5, "query 3 is not finite"),
    ):
        with pytest.raises(InputError, match=message):
            built[text].search(given, top_k)
    zero = good * (np.arange(len(good)) != 4)[:, None]
    with pytest.raises(InputError, match="descriptor of query 4 is zero"):
        built[text].search(zero, 5)
    if built[text].unit:
        with pytest.raises(InputError, match=r"unit norm; that of query 4 is 0\.5"):
            built[text].search(good - (good - zero) / 2, 5)
    assert built[text].search(good[:0], 5).indices.shape == (0, 5)


@pytest.mark.parametrize("text", THOROUGH)
def test_wrong_descriptors_are_named(text, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_BYTES", 4 * 32 * 50)
    for value in (np.nan, -np.inf):
        database = clustered(280)
        database[77, 3] = value
        with pytest.raises(InputError, match="database row 77 is not finite"):
            build_index(Store(database), tmp_path / "index", text)
    assert not list((tmp_path / "index").iterdir()), "once mended, the same command works"
    database = clustered(280)
    database[77] = 0
    with pytest.raises(InputError, match="database row 77 is zero"):
        build_index(Store(database), tmp_path / "zero", text)
    if spec.factory_of(spec.parse(text)[0], INDEXES, "index").unit:
        database[77, 0] = 2
        with pytest.raises(InputError, match="database row 77 is 2"):
            build_index(Store(database), tmp_path / "two", text)
    for empty in (np.zeros((0, 8), np.float32), np.zeros((5, 0), np.float32)):
        with pytest.raises(InputError, match=r"no images|hold no global descriptor"):
            build_index(Store(empty), tmp_path / "empty", text)
    assert not (tmp_path / "empty").exists()


def test_values_too_large_for_float16_are_refused(tmp_path):
    database = np.array([[1.0, 2.0], [3.0, 65_519.0]], np.float32)
    assert build_index(Store(database), tmp_path / "fits").search(database, 1).indices.tolist() == [[1], [1]]
    database[1, 1] = 65_520
    with pytest.raises(InputError, match="rows 0 to 1 hold values too large for float16"):
        build_index(Store(database), tmp_path / "large")
    found = build_index(Store(database), tmp_path / "large32", 'exact(dtype="float32")').search(database, 2)
    assert found.indices.tolist() == [[1, 0], [1, 0]]
    with pytest.raises(InputError, match="not finite"):
        build_index(Store(database * 1e30), tmp_path / "huge", 'exact(dtype="float32")').search(database * 1e30)


def test_norms_may_be_off_by_rounding_only(tmp_path):
    database = clustered(100)
    for factor in (1.009, 0.991):
        base.check_rows(database * factor, 0, "row", True)
    for factor in (1.011, 0.989):
        with pytest.raises(InputError, match="unit norm; that of row 7 is"):
            base.check_rows(database * factor, 7, "row", True)


@pytest.mark.parametrize("seed", range(25))
def test_any_shape_gives_a_right_ranking_or_a_sentence(seed, tmp_path):
    """Few or many rows, narrow or wide, near or equal: what is ranked is ranked by true similarity."""
    rng = np.random.default_rng(seed)
    count, dimension = int(rng.integers(1, 300)), int(rng.integers(1, 70))
    database = clustered(count, dimension, seed)
    if seed % 3 == 0:
        database = database[rng.integers(0, count, count)]
    queries, top_k = clustered(7, dimension, seed + 1), int(rng.integers(1, 2 * count))
    for i, name in enumerate(sorted(INDEXES)):
        text = "faiss(factory='IVF4,PQ1x4fs')" if name == "faiss" else name
        try:
            answer = build_index(Store(database), tmp_path / str(i), text).search(queries, top_k)
        except InputError as error:
            assert count < 16 or "least" in str(error)
            continue
        assert answer.indices.shape == (7, min(top_k, count))
        for query, row, scores in zip(queries, answer.indices, answer.scores):
            found = row[row >= 0]
            assert (row[len(found) :] == -1).all()
            assert len(set(found.tolist())) == len(found) > 0
            np.testing.assert_allclose(scores[: len(found)], database[found] @ query, atol=2e-3)
            assert (np.diff(scores[: len(found)]) <= 0).all()
            if name in ("exact", "flat", "binary"):
                np.testing.assert_allclose(scores, ranked(query[None], database, len(row))[1][0], atol=2e-3)

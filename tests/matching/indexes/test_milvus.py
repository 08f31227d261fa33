"""Indexes in Milvus: embedded, and a real server that is started here, where the packages are installed."""

import importlib.util
import logging

import numpy as np
import pytest

from delg.common.errors import InputError
from matching.indexes import milvus
from matching.indexes.table import build_index, open_index
from tests.matching.helpers import unit
from tests.matching.indexes.index_helpers import Store, WithPaths, clustered, ranked
from tests.processes import free_ports

INSTALLED = importlib.util.find_spec("pymilvus") is not None
needs_client = pytest.mark.skipif(not INSTALLED, reason="the extra 'milvus' is not installed")
pytestmark = pytest.mark.slow  # these tests wait for the server, while others compute


@pytest.fixture(scope="module", params=["embedded", "server"])
def address(request, tmp_path_factory):
    """A ``.db`` file, or the URL of a standalone server."""
    if request.param == "server":
        return request.getfixturevalue("milvus_server")
    for package in ("pymilvus", "milvus_lite"):
        pytest.importorskip(package, reason="the extra 'milvus' is not installed")
    return str(tmp_path_factory.mktemp("milvus") / "new" / "index.db")


@pytest.fixture(autouse=True)
def log_level():
    yield
    logging.getLogger("pymilvus").setLevel(logging.WARNING)


@pytest.fixture(scope="module")
def store():
    return Store(clustered())


@pytest.fixture(scope="module")
def queries():
    return unit(clustered(seed=0)[::60] * 0.9 + clustered(seed=1)[::60] * 0.1)


def close(index):
    """The embedded Milvus lets one client at a time into a file."""
    index.close()


@pytest.mark.parametrize(
    "text", [None, 'milvus(index_type="IVF_FLAT", params={"nlist": 7}, search_params={"nprobe": 128})']
)
@pytest.mark.parametrize("top_k", [1, 37, None])
def test_equals_brute_force(text, top_k, address, store, queries):
    place = f"{address}#of_{'flat' if text is None else 'lists'}"
    made = build_index(store, place, text)
    answer = made.search(queries, top_k)
    order, scores = ranked(queries, store.global_descriptors, top_k)
    assert (answer.indices.dtype, answer.scores.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(answer.indices, order)
    np.testing.assert_allclose(answer.scores, scores, atol=1e-5)
    assert made.manifest.seconds > 0
    assert made.names_of([599, 0]) == ["folder/ä image 599", "folder/ä image 0"]
    close(made)
    again = open_index(place)
    assert len(again) == 600
    assert again.manifest.settings == store.settings
    assert again.manifest.index.startswith("milvus(index_type=")
    again.check_store(store, "it")
    np.testing.assert_array_equal(again.search(queries, top_k).indices, order)
    close(again)


@pytest.fixture(scope="module")
def threefold():
    """Each row three times; a server needs ten seconds for a new collection, so several tests share this one."""
    return WithPaths(np.repeat(clustered(40, 16), 3, axis=0)[np.random.default_rng(5).permutation(120)])


def test_paths_of_the_images(address, threefold):
    made = build_index(threefold, f"{address}#threefold")
    assert made.paths_of([119, 0]) == ["folder/ä image 119.jpg", "folder/ä image 0.jpg"]
    close(made)


def test_equal_rows_are_ranked_by_number(address, threefold):
    database = threefold.global_descriptors
    made = build_index(threefold, f"{address}#threefold")
    answer = made.search(database[:9], None)
    same = np.diff(answer.scores, axis=1) == 0
    assert same.sum() >= 9 * 60
    assert (np.diff(answer.indices, axis=1)[same] > 0).all()
    close(made)


def test_a_build_that_was_stopped_is_continued(address, store, queries, monkeypatch):
    monkeypatch.setattr(milvus, "BATCH_BYTES", 4 * 32 * 100)  # a hundred rows
    place, real, starts = f"{address}#stopped", milvus.check_rows, []

    def counting(rows, start, *rest, **more):
        starts.append(start)
        if len(starts) == 4:
            raise KeyboardInterrupt
        real(rows, start, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(milvus, "check_rows", counting)
        with pytest.raises(KeyboardInterrupt):
            build_index(store, place)
        assert starts == [0, 100, 200, 300]
        with pytest.raises(InputError, match="not finished; run its delg-index command again"):
            open_index(place)
        with pytest.raises(InputError, match="holds an index of other features"):
            build_index(Store(clustered(seed=7)), place)
        made = build_index(store, place)
        assert starts[4:] == [300, 400, 500]
        np.testing.assert_array_equal(made.search(queries, 9).indices, ranked(queries, store.global_descriptors, 9)[0])
        close(made)
        close(build_index(store, place))
        assert len(starts) == 7
    with pytest.raises(InputError, match=r"holds an index milvus.*HNSW") as caught:
        build_index(store, place, 'milvus(index_type="HNSW", params={"M": 8, "efConstruction": 40})')
    assert "FLAT" in str(caught.value)


def left(address):
    """Collections whose names begin with ``bad``."""
    client = importlib.import_module("pymilvus").MilvusClient(address)
    names = [name for name in client.list_collections() if name.startswith("bad")]
    client.close()
    return names


def test_bad_input_is_named(address, store, queries):
    place = f"{address}#of_flat"
    made = build_index(store, place)
    bad = queries.copy()
    bad[2, 2] = np.nan
    for given, top_k, message in (
        (queries[:, :31], 5, "differ in dimension: 31 and 32"),
        (bad, 5, "query 2 is not finite"),
        (queries, 0, "top_k expects 1 or more"),
    ):
        with pytest.raises(InputError, match=message):
            made.search(given, top_k)
    most, made.most = made.most, 500
    with pytest.raises(InputError, match="gives at most 500 images"):
        made.search(queries, None)
    made.most = most
    assert made.search(queries[:0], 5).indices.shape == (0, 5)
    close(made)
    database = clustered()
    database[333, 3] = np.inf
    for other, text, message in (
        (Store(database), None, "database row 333 is not finite"),
        (store, "exact", "Unknown index in Milvus 'exact'; the choices are milvus"),
        (store, "milvus(index_type=3)", "index_type to be a text"),
        (store, "milvus(params=3)", "params of the form"),
        (Store(store.global_descriptors, names=["x" * 1025] * 600), None, "names and paths of at most 1024 bytes"),
    ):
        with pytest.raises(InputError, match=message):
            build_index(other, f"{address}#bad", text)
        assert not left(address), "what cannot be built leaves nothing behind"
    if address.startswith("http"):  # the embedded one searches all rows instead
        with pytest.raises(InputError, match=r"Milvus at http.*TREE"):
            build_index(store, f"{address}#bad", 'milvus(index_type="TREE")')
        assert not left(address)
    close(build_index(store, f"{address}#bad"))
    with pytest.raises(InputError, match=r"'none' in Milvus .*delg-index makes one"):
        open_index(f"{address}#none")
    with pytest.raises(InputError, match="letters, digits and _"):
        open_index(f"{address}#a-b")
    with pytest.raises(InputError, match="search_params of an index in Milvus can be changed"):
        open_index(place, nprobe=3)


def test_a_collection_of_something_else_is_left_alone(address, store):
    client = importlib.import_module("pymilvus").MilvusClient(address)
    client.create_collection("mine", dimension=4)
    client.close()
    with pytest.raises(InputError, match="a collection 'mine' that is no index of delg"):
        build_index(store, f"{address}#mine")


@needs_client
def test_where_nothing_is(tmp_path, monkeypatch):
    monkeypatch.setattr(milvus, "SECONDS", 2)
    with pytest.raises(InputError, match=r"none\.db does not exist; delg-index makes one"):
        open_index(tmp_path / "none.db")
    with pytest.raises(InputError, match="Milvus at http"):
        open_index(f"http://127.0.0.1:{free_ports(1)[0]}")


def test_addresses():
    for text in ("a.db", "folder/a.db#photos", "http://localhost:19530", "https://host/db#x", "tcp://h:1"):
        assert milvus.is_address(text)
    for text in ("folder", "a.db/b", "http", "db", "folder#x"):
        assert not milvus.is_address(text)


@pytest.mark.skipif(INSTALLED, reason="the extra is installed")
def test_without_the_extra_its_name_is_said(store):
    with pytest.raises(InputError, match=r"needs the extra 'milvus': pip install '.*\[milvus\]'"):
        build_index(store, "http://localhost:1")

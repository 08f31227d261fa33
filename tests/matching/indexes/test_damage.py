"""Damaged files of indexes and stores: each is named in one line, or the answer is a valid one."""

import json
import shutil
import warnings

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.images import ImageRef
from extraction.store.encoding import as_stored
from extraction.store.reader import FeatureStore
from extraction.store.writer import StoreWriter
from matching import lookup
from matching.indexes.table import INDEXES, build_index, open_index, search
from matching.rerankers.table import build_reranker
from matching.source import MemorySource
from tests.matching.fuzz_helpers import check_ranked, images_of, refused
from tests.matching.helpers import unit
from tests.matching.indexes.index_helpers import Store, clustered


def damages(data, rng):
    """The bytes of a file, damaged in some ways."""
    yield b""
    yield data[: len(data) // 2]
    yield data + b"\0"
    yield bytes(len(data))
    for reach in (60, 200, len(data)):
        for _ in range(2):
            changed = bytearray(data)
            for place in rng.integers(0, min(reach, len(data)), 3):
                changed[place] ^= int(rng.integers(1, 256))
            yield bytes(changed)


def documents(document, rng):
    """A JSON document with one of its values replaced, or taken out."""
    for key in document:
        yield {name: value for name, value in document.items() if name != key}
        for value in rng.choice(np.array([None, -1, 0.5, "x", [], {}, [None], {"x": None}], object), 4, replace=False):
            yield document | {key: value}
    yield from ([], None, 3, "x")


def changed(file, rng):
    """The bytes of a file, damaged in all these ways."""
    data = file.read_bytes()
    yield from damages(data, rng)
    if file.suffix == ".json":
        yield from (json.dumps(document).encode() for document in documents(json.loads(data), rng))


@pytest.mark.parametrize("name", sorted(INDEXES))
def test_damaged_indexes(name, tmp_path):
    """Every byte of a small index is checked when it is opened."""
    text = "faiss(factory='HNSW8,PQ4x4')" if name == "faiss" else name
    queries, place = clustered(3, 8, 1), tmp_path / "index"
    right = build_index(Store(clustered(60, 8)), place, text).search(queries, 5)
    rng = np.random.default_rng(0)
    for file in sorted(path for path in place.iterdir() if path.name != "plan.json"):
        data = file.read_bytes()
        for bad in changed(file, rng):
            file.write_bytes(bad)
            try:
                answer = open_index(place).search(queries, 5)
                assert file.suffix == ".json" and (answer.indices == right.indices).all(), file.name
            except InputError as error:
                assert "\n" not in str(error)
        file.write_bytes(data)
    assert (open_index(place).search(queries, 5).indices == right.indices).all()


@pytest.mark.parametrize("dtype", ["float32", "uint8", "binary"])
def test_damaged_stores(dtype, tmp_path):
    """What is damaged is named, or the answer is a valid one; changed global descriptors are always named."""
    rng = np.random.default_rng(2)
    images = images_of(rng, unit(rng.normal(size=(7, 5))))
    place = tmp_path / "store"
    refs = [ImageRef(image.name, "none") for image in images]
    writer = StoreWriter(place, {"extractor": "test"}, refs, local_dtype=dtype, shard_size=4)
    for shard in writer.missing():
        writer.write(shard, images[4 * shard : 4 * shard + 4], [])
    writer.finish()
    query, reranker = as_stored(images[0], dtype), build_reranker("ransac(top_k=6, trials=50)")
    right = [result.row for result in lookup.find(query, FeatureStore.open(place), 7)]
    for file in sorted(path for path in place.rglob("*") if path.is_file() and path.name != "plan.json"):
        data = file.read_bytes()
        for bad in changed(file, rng):
            file.write_bytes(bad)
            try:
                store = FeatureStore.open(place)
                store.check_compatible(store)
                assert [result.row for result in lookup.find(query, store, 7)] == right
                before = search(query.global_descriptor[None], store.global_descriptors)
                with warnings.catch_warnings(action="ignore"):
                    check_ranked(before, reranker(MemorySource([query]), store, before))
            except InputError as error:
                assert "\n" not in str(error)
        file.write_bytes(data)
    shutil.rmtree(place / "shard-00001")
    with refused():
        FeatureStore.open(place).features(6)

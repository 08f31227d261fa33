"""An index in Milvus (milvus.io): embedded in a file, or on a server or a cluster. Needs the extra ``milvus``.

A collection holds row numbers, names, paths and descriptors; a second collection, whose name ends in ``_manifest``,
holds the plan, written first, and the record, written last. The environment variable ``MILVUS_TOKEN``
(``user:password`` or a key) gives access to a server that asks for it.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.extras import needs_extra
from extraction.formats.base import FeatureSource
from matching.indexes.base import Floats, check_rows, in_order
from matching.indexes.manifest import Manifest
from matching.indexes.saved import Searchable, plan
from matching.ranking import Ranking

COLLECTION = "delg"
PLAN, RECORD = 0, 1  # rows of the collection of manifests
MOST_TEXT = 65_535  # bytes of a text in Milvus
MOST_NAME = 1024
MOST_RESULTS = 16_384  # of a query, by Milvus
BATCH_BYTES = 8 << 20  # of descriptors in a message
BATCH_RESULTS = 1 << 20
SECONDS = 60  # a server that does not answer for so long is given up


class Options:
    """Settings of Milvus, by the names that Milvus has for them: ``milvus(index_type="HNSW", params={"M": 32})``."""

    def __init__(
        self,
        index_type: str = "FLAT",
        params: dict[str, Any] | None = None,
        search_params: dict[str, Any] | None = None,
    ):
        """Takes the settings.

        Args:
          index_type: ``FLAT`` (exact), ``IVF_FLAT``, ``HNSW``, ``AUTOINDEX`` ...
          params: settings of the build, such as ``{"nlist": 1024}``.
          search_params: settings of the search, such as ``{"nprobe": 16}``.

        Raises:
          InputError: a setting is of another type.
        """
        if not isinstance(index_type, str):
            raise InputError(f"milvus expects index_type to be a text such as 'HNSW'. Received: {index_type!r}")
        for name, value in (("params", params), ("search_params", search_params)):
            if not isinstance(value, dict | None):
                raise InputError(f"milvus expects {name} of the form {{'name': value}}. Received: {value!r}")
        self.index_type, self.params, self.search_params = index_type, params or {}, search_params or {}


class MilvusIndex(Searchable):
    """A collection in Milvus."""

    most = MOST_RESULTS

    def __init__(self, client: Any, place: str, collection: str, manifest: Manifest, options: Options):
        """Opens a complete collection."""
        super().__init__(place, manifest)
        self._client, self._collection, self._options = client, collection, options
        self.unit = options.index_type != "FLAT"
        with _one_sentence(place):
            client.load_collection(collection)

    def names_of(self, rows: Sequence[int]) -> list[str]:
        """Names of images by their rows."""
        return self._field("name", rows)

    def paths_of(self, rows: Sequence[int]) -> list[str]:
        """Paths of images by their rows; empty where the store had none."""
        return self._field("path", rows)

    def _field(self, field: str, rows: Sequence[int]) -> list[str]:
        with _one_sentence(self.place):
            items = self._client.get(self._collection, ids=[int(row) for row in rows], output_fields=[field])
        values = {item["id"]: item[field] for item in items}
        return [values[int(row)] for row in rows]

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _search(self, queries: Floats, top_k: int) -> Ranking:
        indices = np.full((len(queries), top_k), -1, np.int64)
        scores = np.zeros((len(queries), top_k), np.float32)
        step = max(1, BATCH_RESULTS // top_k)
        for start in range(0, len(queries), step):
            with _one_sentence(self.place):
                results = self._client.search(
                    self._collection,
                    data=list(queries[start : start + step]),
                    limit=top_k,
                    search_params={"metric_type": "IP", "params": self._options.search_params},
                    output_fields=["id"],
                )
            for q, hits in enumerate(results, start):
                indices[q, : len(hits)] = [hit["id"] for hit in hits]
                scores[q, : len(hits)] = [hit["distance"] for hit in hits]
        return in_order(indices, scores)


def is_address(location: str) -> bool:
    """Whether a location is Milvus's: a URL, or a path that ends in ``.db``; ``#collection`` may follow."""
    return bool(re.match(r"(https?|tcp)://", location)) or location.partition("#")[0].endswith(".db")


def build(store: FeatureSource, location: str, text: str, options: Options) -> MilvusIndex:
    """Puts the descriptors of a store into Milvus; continues a run that was stopped.

    Args:
      store: the features.
      location: a file or URL, and the collection after a ``#``.
      text: kind and settings of the index, complete.
      options: the settings of ``text``.

    Raises:
      InputError: Milvus cannot be reached, refuses, or holds another collection under that name.
    """
    wanted = plan(store, text, options)
    texts = [*store.names, *(store.path_of(i) for i in range(len(store.names)))]
    longest = max(texts, key=lambda name: len(name.encode("utf-8", "replace")))
    if len(longest.encode("utf-8", "replace")) > MOST_NAME:
        raise InputError(
            f"An index in Milvus expects names and paths of at most {MOST_NAME} bytes. Received: {longest!r}"
        )
    client, collection = _connect(location, make=True)
    with _one_sentence(location):
        records = _records(client, collection)
        if not records and client.has_collection(collection):
            raise InputError(f"Milvus at {location} has a collection {collection!r} that is no index of delg.")
        for record in records.values():
            Manifest.from_json(json.loads(record), location).check_same(wanted, location)
        if RECORD not in records:
            start = time.perf_counter()
            _record(client, collection, PLAN, wanted)
            try:
                _fill(client, collection, store, options)
            except Exception as error:
                exists = client.has_collection(collection)
                if isinstance(error, InputError) or not exists:  # nothing to continue: the input must be corrected
                    for name in (_manifest_of(collection), *([collection] if exists else [])):
                        client.drop_collection(name)
                raise
            _record(client, collection, RECORD, replace(wanted, seconds=time.perf_counter() - start))
        manifest = Manifest.from_json(json.loads(_records(client, collection)[RECORD]), location)
    return MilvusIndex(client, location, collection, manifest, options)


def open_collection(location: str, **changes: Any) -> MilvusIndex:
    """Opens an index that :func:`build` made.

    Args:
      location: as there.
      **changes: ``search_params`` that replace those of the build.

    Raises:
      InputError: there is no such index, it is unfinished, or Milvus cannot be reached.
    """
    from delg.common import spec

    if changes.keys() - {"search_params"}:
        raise InputError(
            f"Only search_params of an index in Milvus can be changed. Received: {', '.join(sorted(changes))}"
        )
    client, collection = _connect(location, make=False)
    with _one_sentence(location):
        records = _records(client, collection)
    if RECORD not in records:
        state = "is not finished; run its delg-index command again" if records else "is absent; delg-index makes one"
        raise InputError(f"The index {collection!r} in Milvus at {location} {state}.")
    manifest = Manifest.from_json(json.loads(records[RECORD]), location)
    name, arguments = spec.parse(manifest.index)
    options = spec.build(spec.render(name, arguments | changes), {"milvus": Options}, "index in Milvus")
    return MilvusIndex(client, location, collection, manifest, options)


def drop(location: str) -> None:
    """Removes an index from Milvus.

    Raises:
      InputError: Milvus cannot be reached.
    """
    client, collection = _connect(location, make=False)
    with _one_sentence(location):
        for name in (collection, _manifest_of(collection)):
            if client.has_collection(name):
                client.drop_collection(name)
    client.close()


def _connect(location: str, make: bool) -> tuple[Any, str]:
    """A client, and the name of the collection."""
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise needs_extra("An index in Milvus", "milvus") from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    uri, _, collection = location.partition("#")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,200}", collection or COLLECTION):
        raise InputError(f"A collection's name expects letters, digits and _. Received: {collection!r}")
    if uri.endswith(".db") and "://" not in uri:
        if make:
            Path(uri).absolute().parent.mkdir(parents=True, exist_ok=True)
        elif not Path(uri).exists():
            raise InputError(f"The index {uri} does not exist; delg-index makes one.")
    with _one_sentence(location):
        return MilvusClient(
            uri=uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=SECONDS
        ), collection or COLLECTION


@contextmanager
def _one_sentence(location: str) -> Iterator[None]:
    """Within it an error of Milvus becomes an InputError of one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(("pymilvus", "milvus_lite", "grpc")):
            raise
        reason = " ".join(str(getattr(error, "message", "") or error).split())[:300]
        raise InputError(f"Milvus at {location}: {reason.rstrip('.')}.") from error


def _manifest_of(collection: str) -> str:
    """The collection of an index's plan and record."""
    return f"{collection}_manifest"


def _records(client: Any, collection: str) -> dict[int, str]:
    """The plan and the record, if they are written."""
    name = _manifest_of(collection)
    if not client.has_collection(name):
        return {}
    client.load_collection(name)
    return {item["id"]: item["text"] for item in client.get(name, ids=[PLAN, RECORD], output_fields=["text"])}


def _record(client: Any, collection: str, row: int, manifest: Manifest) -> None:
    """Writes the plan or the record."""
    text = json.dumps(manifest.to_json())
    if len(text.encode()) > MOST_TEXT:
        raise InputError(f"An index in Milvus expects settings of at most {MOST_TEXT} bytes. Received: {len(text)}")
    name = _manifest_of(collection)
    if not client.has_collection(name):
        _create(client, name, {"text": MOST_TEXT}, 2, Options())
    client.upsert(name, [{"id": row, "text": text, "descriptor": [1.0, 0.0]}])


def _create(client: Any, name: str, texts: dict[str, int], dimension: int, options: Options) -> None:
    """Makes a collection; a row holds a number, texts (by name, with the largest number of bytes), and a vector."""
    from pymilvus import DataType

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    for text, most in texts.items():
        schema.add_field(text, DataType.VARCHAR, max_length=most)
    schema.add_field("descriptor", DataType.FLOAT_VECTOR, dim=dimension)
    index = client.prepare_index_params()
    index.add_index("descriptor", index_type=options.index_type, metric_type="IP", params=options.params)
    try:
        client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    except Exception:  # the collection is made before its index
        if client.has_collection(name):
            client.drop_collection(name)
        raise


def _fill(client: Any, collection: str, store: FeatureSource, options: Options) -> None:
    """Puts all rows in, behind those of a run that was stopped."""
    matrix, step = store.global_descriptors, max(1, BATCH_BYTES // (4 * store.global_descriptors.shape[1]))
    if not client.has_collection(collection):
        _create(client, collection, {"name": MOST_NAME, "path": MOST_NAME}, matrix.shape[1], options)
    client.load_collection(collection)
    done = int(client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"])
    for start in range(done // step * step, len(matrix), step):
        rows = np.asarray(matrix[start : start + step], np.float32)
        check_rows(rows, start, "database row", unit=options.index_type != "FLAT")
        images = range(start, start + len(rows))
        items = [
            {"id": i, "name": store.names[i], "path": store.path_of(i), "descriptor": row}
            for i, row in zip(images, rows)
        ]
        client.upsert(collection, items)
    client.flush(collection)

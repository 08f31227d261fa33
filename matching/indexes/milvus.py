"""An index in Milvus (milvus.io): embedded in a file, or on a server or a cluster. Needs the extra ``milvus``.

A collection holds row numbers, names and descriptors; a second one, its name ending in ``_manifest``, the plan that is
written first and the record that is written last. Access to a server is by the environment variable ``MILVUS_TOKEN``
(``user:password`` or a key), where it asks for one.
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
from matching.indexes.base import Floats, check_rows, in_order
from matching.indexes.manifest import Manifest, Store
from matching.indexes.saved import Searchable, plan
from matching.ranking import Ranking
from matching.source import paths_of

COLLECTION = "delg"
PLAN, RECORD = 0, 1  # rows of the collection of manifests
MOST_TEXT = 65_535  # bytes of a text in Milvus
MOST_NAME = 1024
MOST_RESULTS = 16_384  # of a query, by Milvus
BATCH_BYTES = 8 << 20  # of descriptors in a message
BATCH_RESULTS = 1 << 20
SECONDS = 60  # until a server that does not answer is given up


class Options:
    """How Milvus stores and searches; the words are its own: ``milvus(index_type="HNSW", params={"M": 32})``."""

    def __init__(
        self,
        index_type: str = "FLAT",
        params: dict[str, Any] | None = None,
        search_params: dict[str, Any] | None = None,
    ):
        """Takes the settings.

        Args:
          index_type: of Milvus: ``FLAT`` (exact), ``IVF_FLAT``, ``HNSW``, ``AUTOINDEX`` ...
          params: to build it by, such as ``{"nlist": 1024}``.
          search_params: to search it by, such as ``{"nprobe": 16}``.

        Raises:
          InputError: one is of another type.
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
        """Takes a collection that is complete."""
        super().__init__(place, manifest)
        self._client, self._collection, self._options = client, collection, options
        self.unit = options.index_type != "FLAT"
        with _told(place):
            client.load_collection(collection)

    def names_of(self, rows: Sequence[int]) -> list[str]:
        """Names of images by their rows."""
        with _told(self.place):
            found = self._client.get(self._collection, ids=[int(row) for row in rows], output_fields=["name"])
        names = {item["id"]: item["name"] for item in found}
        return [names[int(row)] for row in rows]

    def paths_of(self, rows: Sequence[int]) -> list[str]:
        """Where images lay below the folder that their names start in; empty where that is not known."""
        with _told(self.place):
            if "path" not in _fields(self._client, self._collection):
                return super().paths_of(rows)
            found = self._client.get(self._collection, ids=[int(row) for row in rows], output_fields=["path"])
        paths = {item["id"]: item["path"] for item in found}
        return [paths[int(row)] for row in rows]

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _search(self, queries: Floats, top_k: int) -> Ranking:
        indices = np.full((len(queries), top_k), -1, np.int64)
        scores = np.zeros((len(queries), top_k), np.float32)
        step = max(1, BATCH_RESULTS // top_k)
        for start in range(0, len(queries), step):
            with _told(self.place):
                found = self._client.search(
                    self._collection,
                    data=list(queries[start : start + step]),
                    limit=top_k,
                    search_params={"metric_type": "IP", "params": self._options.search_params},
                    output_fields=["id"],
                )
            for q, hits in enumerate(found, start):
                indices[q, : len(hits)] = [hit["id"] for hit in hits]
                scores[q, : len(hits)] = [hit["distance"] for hit in hits]
        return in_order(indices, scores)


def is_address(location: str) -> bool:
    """Whether a location is Milvus's: a URL, or a path that ends in ``.db``; ``#collection`` may follow."""
    return bool(re.match(r"(https?|tcp)://", location)) or location.partition("#")[0].endswith(".db")


def build(store: Store, location: str, text: str, options: Options) -> MilvusIndex:
    """Puts the descriptors of a store into Milvus; a run that was stopped is continued.

    Args:
      store: the features.
      location: a file or URL, and the collection after a ``#``.
      text: kind and settings of the index, complete.
      options: the same.

    Raises:
      InputError: Milvus is not to be had, refuses, or holds something else under that name.
    """
    wanted = plan(store, text, options)
    texts = [*store.names, *paths_of(store, range(len(store.names)))]
    longest = max(texts, key=lambda name: len(name.encode("utf-8", "replace")))
    if len(longest.encode("utf-8", "replace")) > MOST_NAME:
        raise InputError(
            f"An index in Milvus expects names and paths of at most {MOST_NAME} bytes. Received: {longest!r}"
        )
    client, collection = _connect(location, make=True)
    with _told(location):
        found = _records(client, collection)
        if not found and client.has_collection(collection):
            raise InputError(f"Milvus at {location} has a collection {collection!r} that is no index of delg.")
        for record in found.values():
            Manifest.from_json(json.loads(record), location).check_same(wanted, location)
        if RECORD not in found:
            start = time.perf_counter()
            _record(client, collection, PLAN, wanted)
            try:
                _fill(client, collection, store, options)
            except Exception as error:
                made = client.has_collection(collection)
                if isinstance(error, InputError) or not made:  # nothing to continue: what was given must be mended
                    for name in (_manifest_of(collection), *([collection] if made else [])):
                        client.drop_collection(name)
                raise
            _record(client, collection, RECORD, replace(wanted, seconds=time.perf_counter() - start))
        manifest = Manifest.from_json(json.loads(_records(client, collection)[RECORD]), location)
    return MilvusIndex(client, location, collection, manifest, options)


def open_collection(location: str, **changes: Any) -> MilvusIndex:
    """Opens an index that :func:`build` made.

    Args:
      location: as there.
      **changes: ``search_params`` to search by that differ from those it was built with.

    Raises:
      InputError: there is none, or it is unfinished, or Milvus is not to be had.
    """
    from delg.common import spec

    if changes.keys() - {"search_params"}:
        raise InputError(f"Of an index in Milvus search_params can be changed. Received: {', '.join(sorted(changes))}")
    client, collection = _connect(location, make=False)
    with _told(location):
        found = _records(client, collection)
    if RECORD not in found:
        what = "is not finished; run its delg-index command again" if found else "is none; delg-index makes one"
        raise InputError(f"The index {collection!r} in Milvus at {location} {what}.")
    manifest = Manifest.from_json(json.loads(found[RECORD]), location)
    name, arguments = spec.parse(manifest.index)
    options = spec.build(spec.render(name, arguments | changes), {"milvus": Options}, "index in Milvus")
    return MilvusIndex(client, location, collection, manifest, options)


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
    with _told(location):
        return MilvusClient(
            uri=uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=SECONDS
        ), collection or COLLECTION


@contextmanager
def _told(location: str) -> Iterator[None]:
    """Within it what Milvus complains about becomes one sentence."""
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
    """The plan and the record, as far as they are written."""
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


def _fields(client: Any, collection: str) -> set[str]:
    """What the rows of a collection hold; those of older indexes have no path."""
    return {field["name"] for field in client.describe_collection(collection)["fields"]}


def _create(client: Any, name: str, texts: dict[str, int], dimension: int, options: Options) -> None:
    """Makes a collection of rows: a number, texts by name, each with its most bytes, a vector."""
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


def _fill(client: Any, collection: str, store: Store, options: Options) -> None:
    """Puts all rows in, from where a run that was stopped had come to."""
    matrix, step = store.global_descriptors, max(1, BATCH_BYTES // (4 * store.global_descriptors.shape[1]))
    if not client.has_collection(collection):
        _create(client, collection, {"name": MOST_NAME, "path": MOST_NAME}, matrix.shape[1], options)
    client.load_collection(collection)
    fields = _fields(client, collection)
    done = int(client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"])
    for start in range(done // step * step, len(matrix), step):
        rows = np.asarray(matrix[start : start + step], np.float32)
        check_rows(rows, start, "database row", unit=options.index_type != "FLAT")
        images = range(start, start + len(rows))
        items = [
            {"id": i, "name": store.names[i], "path": path, "descriptor": row}
            for i, path, row in zip(images, paths_of(store, images), rows)
        ]
        client.upsert(collection, [{key: value for key, value in item.items() if key in fields} for item in items])
    client.flush(collection)

"""The first stage: database images by similarity of their global descriptors, exactly or by an index.

:func:`search` compares descriptors in memory. :func:`build_index` makes an index of a feature store, in a folder or in
Milvus, and :func:`open_index` opens it.
"""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from delg.common import spec
from delg.common.errors import InputError
from matching.indexes import milvus
from matching.indexes.base import Index
from matching.indexes.binary import Binary
from matching.indexes.exact import Exact, search
from matching.indexes.faiss_index import Faiss
from matching.indexes.faiss_kinds import Flat, Hnsw, IvfPq, IvfRabitq, IvfSq
from matching.indexes.manifest import Store
from matching.indexes.saved import FolderIndex, Searchable, build_folder, read_manifest
from matching.ranking import Ranking

__all__ = ["INDEXES", "build_index", "open_index", "search", "unranked"]

DEFAULT = "exact"
INDEXES: dict[str, Callable[..., Index]] = {
    "binary": Binary,
    "exact": Exact,
    "faiss": Faiss,
    "flat": Flat,
    "hnsw": Hnsw,
    "ivf_pq": IvfPq,
    "ivf_rabitq": IvfRabitq,
    "ivf_sq": IvfSq,
}


def unranked(queries: int, database: int) -> Ranking:
    """The ranking of images without global descriptors, for a reranker to order: every row, each of score 0."""
    indices = np.tile(np.arange(database, dtype=np.int64), (queries, 1))
    return Ranking(indices, np.zeros((queries, database), np.float32))


def build_index(store: Store, location: str | os.PathLike[str], text: str | None = None) -> Searchable:
    """Builds an index of the global descriptors of a feature store.

    The same call continues one that was stopped, and opens one that is complete.

    Args:
      store: the features.
      location: a folder; or Milvus: a path that ends in ``.db`` (embedded) or a URL such as ``http://host:19530``,
        optionally followed by ``#collection``.
      text: kind and settings, such as ``ivf_pq(nprobe=32)``; default ``exact``, in Milvus ``milvus``.

    Raises:
      InputError: the text is wrong, the location holds something else, or the features do not fit.
    """
    place = os.fspath(location)
    if milvus.is_address(place):
        options = spec.build(text or "milvus", {"milvus": milvus.Options}, "index in Milvus")
        return milvus.build(store, place, complete(text or "milvus", milvus.Options), options)
    name, _ = spec.parse(text or DEFAULT)
    if name == "milvus":
        raise InputError(
            f"milvus expects a path that ends in .db, or a URL such as http://host:19530. Received: {place}"
        )
    index = spec.build(text or DEFAULT, INDEXES, "index")
    build_folder(store, place, complete(text or DEFAULT, INDEXES[name]), index)
    return open_index(place)


def open_index(location: str | os.PathLike[str], **changes: Any) -> Searchable:
    """Opens an index that :func:`build_index` made.

    Args:
      location: as there.
      **changes: settings to search by that differ from those it was built with, such as ``nprobe=64``.

    Raises:
      InputError: there is none, it is unfinished or damaged, or a setting cannot be changed.
    """
    place = os.fspath(location)
    if milvus.is_address(place):
        return milvus.open_collection(place, **changes)
    manifest = read_manifest(place)
    name, arguments = spec.parse(manifest.index)
    if name not in INDEXES:
        raise InputError(f"The index {place} is of an unknown kind, {name!r}; the choices are {', '.join(INDEXES)}.")
    tunable = getattr(INDEXES[name], "tunable", ())
    unknown = sorted(changes.keys() - set(tunable))
    if unknown:
        raise InputError(
            f"{unknown[0]} of an index {name} cannot be changed after it is built; what can is: "
            f"{', '.join(tunable) or 'nothing'}."
        )
    index = spec.build(spec.render(name, arguments | changes), INDEXES, "index")
    return FolderIndex(Path(place), manifest, index)


def complete(text: str, factory: Callable[..., Any]) -> str:
    """The text with all settings, those left out at their defaults."""
    name, arguments = spec.parse(text)
    bound = inspect.signature(factory).bind(**arguments)
    bound.apply_defaults()
    return spec.render(name, bound.arguments)

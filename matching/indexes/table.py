"""The first stage: ranks database images by similarity of global descriptors, exactly or with an index.

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
from extraction.formats.base import FeatureSource
from matching.indexes import milvus
from matching.indexes.base import Index
from matching.indexes.exact import search
from matching.indexes.saved import FolderIndex, Searchable, build_folder, read_manifest
from matching.ranking import Ranking

__all__ = ["INDEXES", "build_index", "open_index", "search", "unranked"]

DEFAULT = "exact"
INDEXES: dict[str, str] = {
    "binary": "matching.indexes.binary:Binary",
    "exact": "matching.indexes.exact:Exact",
    "faiss": "matching.indexes.faiss_index:Faiss",
    "flat": "matching.indexes.faiss_kinds:Flat",
    "hnsw": "matching.indexes.faiss_kinds:Hnsw",
    "ivf_pq": "matching.indexes.faiss_kinds:IvfPq",
    "ivf_rabitq": "matching.indexes.faiss_kinds:IvfRabitq",
    "ivf_sq": "matching.indexes.faiss_kinds:IvfSq",
}


def unranked(queries: int, database: int) -> Ranking:
    """A ranking of images without global descriptors, for a reranker: all rows in their order, with score 0."""
    indices = np.tile(np.arange(database, dtype=np.int64), (queries, 1))
    return Ranking(indices, np.zeros((queries, database), np.float32))


def build_index(store: FeatureSource, location: str | os.PathLike[str], text: str | None = None) -> Searchable:
    """Builds an index of the global descriptors of a feature store.

    The same call continues a build that was stopped, and opens an index that is complete.

    Args:
      store: the features.
      location: a folder; or Milvus: a path that ends in ``.db`` (embedded) or a URL such as ``http://host:19530``,
        optionally followed by ``#collection``.
      text: kind and settings, such as ``ivf_pq(nprobe=32)``, or ``module:Class(...)``, an :class:`Index` outside of
        the package; default ``exact``, in Milvus ``milvus``.

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
    index = spec.build(text or DEFAULT, INDEXES, "index", base=Index)
    build_folder(store, place, complete(text or DEFAULT, spec.factory_of(name, INDEXES, "index")), index)
    return open_index(place)


def open_index(location: str | os.PathLike[str], **changes: Any) -> Searchable:
    """Opens an index that :func:`build_index` made.

    Args:
      location: as there.
      **changes: settings of the search that replace those of the build, such as ``nprobe=64``.

    Raises:
      InputError: there is no index, it is unfinished or damaged, or a setting cannot be changed.
    """
    place = os.fspath(location)
    if milvus.is_address(place):
        return milvus.open_collection(place, **changes)
    manifest = read_manifest(place)
    name, arguments = spec.parse(manifest.index)
    index: Index = spec.build(manifest.index, INDEXES, f"index of {place}:", base=Index)
    fixed = sorted(changes.keys() - set(index.tunable))
    if fixed:
        raise InputError(
            f"{fixed[0]} of an index {name} cannot be changed after the build; these settings can: "
            f"{', '.join(index.tunable) or 'none'}."
        )
    if changes:
        index = spec.build(spec.render(name, arguments | changes), INDEXES, "index", base=Index)
    return FolderIndex(Path(place), manifest, index)


def complete(text: str, factory: Callable[..., Any]) -> str:
    """The text with all settings; those that are left out have their defaults."""
    name, arguments = spec.parse(text)
    bound = inspect.signature(factory).bind(**arguments)
    bound.apply_defaults()
    return spec.render(name, bound.arguments)

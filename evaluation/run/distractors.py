"""Streams millions of distractors beside a benchmark's database: exact scores without a ranking of all distractors.

Every distractor is wrong for every query. The rank of a database image is therefore its rank among the database images
plus the number of distractors above it. The distractors above are counted while their descriptors are read in blocks.
Only the best distractors of each query stay in memory, as many as a reranker reads.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from extraction.images import ImageRef
from matching.indexes.exact import merge, search, similar_blocks
from matching.ranking import Ranking

SAME = "{} is among the distractors of {}: every distractor counts as wrong."
SAME_FEATURES = 1e-6  # of unit descriptors
MOST = 20_000  # candidates of a query that a reranker may read
Rows = NDArray[np.int64]


class JoinedRows:
    """The rows of two matrices, the second below the first, as a reranker reads them; neither matrix is copied."""

    ndim = 2

    def __init__(self, first: Floats, second: Floats):
        """Takes two ``(N, D)`` matrices of the same ``D``."""
        self._parts = first, second
        self.dtype = first.dtype
        self.shape = len(first) + len(second), first.shape[1]

    def __len__(self) -> int:
        """Number of rows of both matrices."""
        return self.shape[0]

    def __getitem__(self, rows: Rows) -> Floats:
        """``(n, D)`` copies of the rows with these numbers."""
        requested, size = np.asarray(rows, np.int64), len(self._parts[0])
        copies = np.empty((len(requested), self.shape[1]), self.dtype)
        copies[requested < size] = self._parts[0][requested[requested < size]]
        copies[requested >= size] = self._parts[1][requested[requested >= size] - size]
        return copies


class Joined(FeatureSource):
    """The database and after it the distractors, as one source of features for rerankers."""

    checked = False

    def __init__(self, database: FeatureSource, distractors: FeatureSource):
        """Takes both stores, made with the same settings."""
        super().__init__(database.folder, [*database.names, *distractors.names], database.settings)
        self._parts, self.local_dtype = (database, distractors), database.local_dtype
        rows: Any = JoinedRows(database.global_descriptors, distractors.global_descriptors)
        self.global_descriptors = rows

    def read(self, i: int) -> Features:
        """All features of an image."""
        size = len(self._parts[0])
        return self._parts[0].features(i) if i < size else self._parts[1].features(i - size)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens both stores."""
        return type(self), self._parts


@dataclass(frozen=True, eq=False)
class FirstStage:
    """A first stage over database and distractors.

    Attributes:
      database: ``(Q, N)`` the ranking of the database images alone.
      above: ``(Q, N)`` int64, in the same order: the number of distractors that are more similar.
      best: ``(Q, K)`` the best distractors, rows of their store.
    """

    database: Ranking
    above: Rows
    best: Ranking


def search_streamed(queries: Floats, database: Floats, distractors: Floats, top_k: int) -> FirstStage:
    """Ranks the database among the distractors, exactly; of equal scores the database image comes first.

    Args:
      queries: ``(Q, D)`` unit rows.
      database: ``(N, D)``.
      distractors: ``(M, D)``, memory-mapped; read once, in blocks.
      top_k: the number of best distractors of each query that are stored.

    Returns:
      The first stage; its memory grows with ``Q * (N + top_k)``, not with ``M``.
    """
    ranking = search(queries, database)
    above = np.zeros(ranking.indices.shape, np.int64)
    nothing = np.zeros(0, np.float32), np.zeros(0, np.int64)
    best = [nothing] * len(queries)
    for start, similarities in similar_blocks(np.ascontiguousarray(queries, np.float32), distractors):
        for q, row in enumerate(similarities):
            best[q] = merge(best[q], row, start, top_k)
            above[q] += len(row) - np.searchsorted(np.sort(row), ranking.scores[q], side="right")
    best_columns = [np.array(part) for part in zip(*best)] if best else [np.zeros((0, top_k))] * 2
    return FirstStage(ranking, above, Ranking(best_columns[1].astype(np.int64), best_columns[0].astype(np.float32)))


def without(stage: FirstStage, junk: list[Rows]) -> FirstStage:
    """The first stage without the junk of each query."""
    database = stage.database.without(junk)
    above = np.zeros_like(stage.above)
    for q, rows in enumerate(junk):
        remaining = ~np.isin(stage.database.indices[q], rows)
        above[q, : int(remaining.sum())] = stage.above[q, remaining]
    return FirstStage(database, above, stage.best)


def candidates(stage: FirstStage, top_k: int, size: int) -> Ranking:
    """The first ``top_k`` images of database and distractors together.

    Args:
      stage: the first stage, with at least ``top_k`` distractors for each query.
      top_k: the number of candidates of each query.
      size: images of the database; distractor ``i`` is row ``size + i``.

    Returns:
      ``(Q, top_k)``, or fewer columns where there are fewer images.
    """
    width = min(top_k, stage.database.indices.shape[1] + stage.best.indices.shape[1])
    indices = np.full((len(stage.database), width), -1, np.int64)
    scores = np.full((len(stage.database), width), -np.inf, np.float32)
    for q in range(len(indices)):
        rows = stage.database.row(q)
        places = np.arange(len(rows)) + stage.above[q, : len(rows)]
        count = int(np.searchsorted(places, width))
        indices[q, places[:count]], scores[q, places[:count]] = rows[:count], stage.database.scores[q, :count]
        free = np.setdiff1d(np.arange(width), places[:count])[: stage.best.indices.shape[1]]
        indices[q, free] = size + stage.best.indices[q, : len(free)]
        scores[q, free] = stage.best.scores[q, : len(free)]
    return Ranking(indices, scores)


def places(stage: FirstStage, reranked: Ranking, size: int) -> list[tuple[Rows, Rows]]:
    """The places of the database images after the candidates were reranked.

    Args:
      stage: the first stage that the candidates come from.
      reranked: the candidates in their new order.
      size: images of the database.

    Returns:
      For each query database rows by increasing place, and the 0-based places.
    """
    placed = []
    for q in range(len(reranked)):
        order, rows = reranked.row(q), stage.database.row(q)
        first = np.flatnonzero(order < size)
        tail = np.arange(len(rows)) + stage.above[q, : len(rows)]
        later = tail >= len(order)
        placed.append((np.concatenate([order[first], rows[later]]), np.concatenate([first, tail[later]])))
    return placed


def check_images(benchmark: Benchmark, distractors: Sequence[ImageRef], place: str) -> None:
    """Checks that no photo of a benchmark is a distractor.

    Raises:
      InputError: an image is a distractor, too; the message names the image.
    """
    files = {os.path.realpath(image.path) for image in distractors}
    shared = next((i for i in (*benchmark.queries, *benchmark.database) if os.path.realpath(i.path) in files), None)
    if shared is not None:
        raise InputError(SAME.format(shared.path, place))


def check_store(store: FeatureSource, distractors: FeatureSource) -> None:
    """Checks that no image of a store is among the distractors, by name and features.

    Raises:
      InputError: an image is a distractor, too; the message names the image.
    """
    rows_by_name = {name: row for row, name in enumerate(store.names)}
    length = distractors.global_descriptors.shape[1:] == store.global_descriptors.shape[1:]
    for row, name in enumerate(distractors.names if length else ()):
        if name in rows_by_name and np.allclose(
            distractors.global_descriptors[row], store.global_descriptors[rows_by_name[name]], atol=SAME_FEATURES
        ):
            raise InputError(SAME.format(f"The image {name} of {store.folder}", distractors.folder))


def check_top_k(top_k: int, name: str) -> None:
    """Checks that a reranker reads no more candidates than are stored.

    Raises:
      InputError: the reranker's ``top_k`` is larger than :data:`MOST`.
    """
    if top_k > MOST:
        raise InputError(f"With distractors the reranker {name} expects a top_k of at most {MOST}.")

"""The contract of benchmarks: images, right answers, and the measurement of rankings."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import json_sha256, sha256
from evaluation.metrics import ranking as metrics
from evaluation.metrics.metric import Metric
from evaluation.metrics.ranking import KS
from evaluation.metrics.truth import MAIN, Truth
from evaluation.statistics.clusters import groups
from extraction.images import ImageRef

Rows = NDArray[np.int64]
DEFAULT_RERANK = ("ransac", "superglobal")


class QueryResult(NamedTuple):
    """The ranked images of one query.

    Attributes:
      rows: ``(K,)`` rows of the benchmark's database, best first; empty for an unreadable query.
      ranks: ``(K,)`` int64 0-based ranks of these images, which distractors between them raise.
      scores: ``(K,)`` float32, of the first stage or the reranker.
    """

    rows: Rows
    ranks: Rows
    scores: NDArray[np.float32]


class Named(Sequence[ImageRef]):
    """Images with names but without files; made on access, because there may be millions."""

    def __init__(self, names: Sequence[str]):
        """Takes the names."""
        self.names = names

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    @overload
    def __getitem__(self, row: int) -> ImageRef: ...

    @overload
    def __getitem__(self, row: slice) -> "Named": ...

    def __getitem__(self, row: int | slice) -> "ImageRef | Named":
        """An image, or a slice of the images."""
        return Named(self.names[row]) if isinstance(row, slice) else ImageRef(self.names[row], self.names[row])


def names_of(images: Sequence[ImageRef]) -> list[str]:
    """Names of the images; those of :class:`Named` are not made into images, which takes seconds for millions."""
    return list(images.names) if isinstance(images, Named) else [image.name for image in images]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Queries, database, right answers, and the metrics of the revisited benchmarks.

    A benchmark with its own metrics is a subclass that overrides :meth:`measure`, and :meth:`observe` where the
    rankings of all queries together are too large for memory.

    Attributes:
      name: name in the table.
      queries: query images; a query that is a part of a photo has a crop.
      database: database images.
      protocols: for each protocol a truth for each query; rows count in ``database``.
      homographies: the file ``name -> (3, 3)`` of true homographies from the landmark's plane to each image; None
        without such a file.
      any_recall: whether the rows also hold R@k, the share of queries with any right image in the first k.
      count_all: whether queries without right images count as failures in R@k; otherwise R@k leaves them out.
      cut_map: whether the rows also hold mAP@k, see :func:`evaluation.metrics.ranking.cut_ap`.
      ks: the list lengths k of precisions and recalls.
      truth: the file of the ground truth; None without a file.
      cells: ``(Q,)`` int64 spatial cell of each query, for benchmarks whose queries cannot be grouped by common right
        images: along a street each query shares right images with the next.
      cell_size: side of a cell in metres.
      own_photos: whether the photos are the user's own, so that orientation tags may be applied; a published protocol
        reads photos as they are stored.
      depth: number of measured results of each query; None for the whole ranking.
      default_rerank: rerankers that run unless the user names others.
    """

    name: str
    queries: Sequence[ImageRef]
    database: Sequence[ImageRef]
    protocols: Mapping[str, Sequence[Truth]]
    homographies: Path | None = None
    any_recall: bool = False
    count_all: bool = False
    cut_map: bool = False
    ks: tuple[int, ...] = KS
    truth: Path | None = None
    cells: Rows | None = None
    cell_size: float = 0.0
    own_photos: bool = False
    depth: int | None = None
    default_rerank: tuple[str, ...] = DEFAULT_RERANK

    def observe(self, protocol: str, query: int, result: QueryResult) -> Any:
        """The part of a query's result that :meth:`measure` needs: here the ranks of positives and of junk.

        Args:
          protocol: one of :attr:`protocols`.
          query: number of the query.
          result: ranked images of the query, cut to :attr:`depth`.

        Returns:
          A JSON value; a small one, because the observations of all queries are in memory together.
        """
        truth = self.protocols[protocol][query]
        return [result.ranks[np.isin(result.rows, rows)].tolist() for rows in (truth.positives, truth.junk)]

    def measure(self, protocol: str, observations: Sequence[Any]) -> dict[str, Metric]:
        """The metrics under one protocol.

        Args:
          protocol: one of :attr:`protocols`.
          observations: what :meth:`observe` returned for each query.

        Returns:
          Name to metric, the main metric first.
        """
        positives = [len(truth.positives) for truth in self.protocols[protocol]]
        scores = metrics.of_ranks(observations, positives, self.ks)
        return scores.metrics(any_recall=self.any_recall, count_all=self.count_all, cut_map=self.cut_map)

    def submission(self, observations: Mapping[str, Sequence[Any]]) -> Iterable[Sequence[str]]:
        """Rows of the CSV file that the benchmark's organisers score, its header first; see :attr:`submits`.

        Args:
          observations: for each protocol what :meth:`observe` returned.
        """
        return ()

    def listed(self) -> Self:
        """The benchmark with the images of its data folder; image files are not read."""
        return self

    def with_features(self, queries: Sequence[str], database: Sequence[str]) -> Self:
        """The benchmark for existing features.

        Args:
          queries: names of the query images with features.
          database: names of the database images with features.

        Returns:
          The benchmark of the images with these names.

        Raises:
          InputError: the features cannot be those of this benchmark.
        """
        return self

    def with_pictures(self) -> Self:
        """The benchmark as the report's pictures show its main protocol; see :attr:`pictured`."""
        return self

    def settings(self) -> dict[str, Any]:
        """The settings of this benchmark that the report records."""
        return {
            **({"ground_truth_sha256": sha256(self.truth)} if self.truth else {}),
            "queries_without_positives": {
                protocol: sum(len(truth.positives) == 0 for truth in truths)
                for protocol, truths in self.protocols.items()
            },
            **({"queries_without_positives_count": True} if self.count_all else {}),
        }

    def answers(self) -> Any:
        """The right answers as a JSON value, for the comparison of benchmarks."""
        return {
            protocol: [[sorted(truth.positives.tolist()), sorted(truth.junk.tolist())] for truth in truths]
            for protocol, truths in self.protocols.items()
        }

    def identity(self) -> Any:
        """A JSON value that changes when the metrics of a ranking may change: right answers and parameters.

        Raises:
          InputError: a field of a subclass is of a type that cannot be hashed; the subclass overrides this method.
        """
        own = {attribute.name for attribute in fields(self)} - {attribute.name for attribute in fields(Benchmark)}
        scalars = {"any_recall", "count_all", "cut_map", "ks", "name", "depth"}
        return [self.answers(), {name: _hashable(self, name) for name in sorted(own | scalars)}]

    def query_names(self) -> list[str]:
        """Names of the queries, in the order of a metric's values per query."""
        return names_of(self.queries)

    def clusters(self) -> dict[str, Any]:
        """The groups of queries that the bootstrap draws together.

        Returns:
          ``"groups"``: a number for each query; ``"drawn"``: a description of the groups, unless groups are queries
          that share right images.
        """
        if self.cells is not None:
            return {"groups": self.cells.tolist(), "drawn": f"squares of {self.cell_size:g} m"}
        truths = self.protocols[self.main_protocol]
        if self.leave_one_out:  # each query's own photo also counts as a right image
            with_own_photo = [
                replace(truth, positives=np.union1d(truth.positives, [q])) for q, truth in enumerate(truths)
            ]
            truths = [
                extended if len(truth.positives) else truth
                for truth, extended in zip(truths, with_own_photo, strict=True)
            ]
        return {"groups": groups(truths).tolist()}

    @property
    def submits(self) -> bool:
        """Whether :meth:`submission` has rows."""
        return False

    @property
    def pictured(self) -> bool:
        """Whether the report shows photos of queries and results."""
        return True

    @property
    def scored(self) -> bool:
        """Whether any query has a right answer."""
        return any(len(truth.positives) for truths in self.protocols.values() for truth in truths)

    @property
    def leave_one_out(self) -> bool:
        """Whether the queries are the database images themselves, so that one feature store serves both."""
        return self.queries == self.database

    @property
    def main_protocol(self) -> str:
        """The protocol that single-protocol views show: medium or private where there is one, else the first."""
        return next((name for name in MAIN if name in self.protocols), next(iter(self.protocols)))

    def check_images(self) -> None:
        """Checks that every image file exists, before any work.

        Raises:
          InputError: files are missing; the message gives the first path and the number.
        """
        missing = missing_images([*self.queries, *self.database])
        if missing:
            raise InputError(
                f"The benchmark {self.name} misses {len(missing)} of its {len(self.queries) + len(self.database)} "
                f"images; the first is {missing[0]}."
            )


def _hashable(benchmark: Benchmark, name: str) -> Any:
    """A field as a JSON value: plain values themselves, arrays and files by their hash."""
    value = getattr(benchmark, name)
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, Path):
        return sha256(value) if value.is_file() else str(value)
    try:
        return json_sha256(value)
    except TypeError as error:
        kind = type(benchmark).__name__
        raise InputError(f"The field {name} of {kind} cannot be hashed; {kind} has to override identity().") from error


def missing_images(images: Sequence[ImageRef]) -> list[str]:
    """Paths that do not exist; each folder is listed only once, for speed."""
    present: dict[Path, set[str]] = {}
    missing = []
    for image in images:
        path = Path(image.path)
        if path.parent not in present:
            present[path.parent] = {p.name for p in path.parent.iterdir()} if path.parent.is_dir() else set()
        if path.name not in present[path.parent]:
            missing.append(image.path)
    return missing

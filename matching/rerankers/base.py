"""What a reranker is. The base class checks, sorts and keeps the rest of a ranking; a subclass gives scores."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import files_below, sha256
from delg.common.sources import source_sha256
from extraction.features import Features
from extraction.formats.base import FeatureSource
from matching.checks import LARGEST, whole
from matching.ranking import Ranking
from matching.source import check_ranking

if TYPE_CHECKING:
    from matching.local.matching import Inliers

Scores = NDArray[np.floating]


def _recording(constructor: Callable[..., None]) -> Callable[..., None]:
    """The constructor, which also sets ``arguments``; of nested constructors the outermost does."""
    signature = inspect.signature(constructor)

    @wraps(constructor)
    def recorded(self: Any, *positional: Any, **named: Any) -> None:
        if "arguments" not in vars(self):
            bound = signature.bind(self, *positional, **named)
            bound.apply_defaults()
            self.arguments = dict(list(bound.arguments.items())[1:])
        constructor(self, *positional, **named)

    return recorded


class Reranker(ABC):
    """The second stage of a search: gives the first candidates of each query new scores, and sorts them by these.

    A subclass implements :meth:`scores`, and calls this constructor from its own.

    Attributes:
      name: stands in messages; the name of the class unless a subclass sets another.
      top_k: number of candidates of each query that are reranked.
      uses_local: whether local features are read.
      arguments: those of the constructor, defaults included.
    """

    name: str
    uses_local: bool = False
    arguments: dict[str, Any]

    @_recording
    def __init__(self, top_k: int):
        """Sets the number of candidates of each query that are reranked.

        Raises:
          InputError: ``top_k`` is not a whole number of at least 1.
        """
        self.top_k = whole(f"{self.name}: top_k", top_k)

    def __init_subclass__(cls, **options: Any) -> None:
        """Names the class, and lets its constructor record the arguments."""
        super().__init_subclass__(**options)
        cls.name = vars(cls).get("name", cls.__name__)
        if "__init__" in vars(cls):
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    @property
    def geometric(self) -> "GeometricReranker | None":
        """The reranker whose inliers explain the new order in reports; None where there is none."""
        return None

    def evidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of :meth:`scores` on the scale on which ``fused`` adds them to similarities; by default unchanged."""
        return scores

    @abstractmethod
    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterable[Scores]:
        """Scores the candidates of each query.

        Args:
          queries: the features of the queries.
          database: the features of the database.
          candidates: the first ``top_k`` columns of a ranking that has been checked; ``candidates.row(q)`` are the
            candidates of query ``q``, rows of the database, and there may be none.

        Returns:
          For each query a finite score for each of its candidates, in the order of the candidates; larger is better.
          Candidates of equal scores keep their order.

        Raises:
          InputError: the features cannot be compared.
        """

    def __call__(self, queries: FeatureSource, database: FeatureSource, ranking: Ranking) -> Ranking:
        """Reranks the first ``top_k`` images of each row.

        Args:
          queries: the features of the queries.
          database: the features of the database.
          ranking: rows of the database for each query; they may end in ``-1``.

        Returns:
          The same images in each row: the candidates in new order, then the others as before; see :func:`reranked`.

        Raises:
          InputError: the ranking is of other queries or another database, or the features cannot be compared.
        """
        check_ranking(queries, database, ranking, self.top_k)
        candidates = ranking.top(self.top_k)
        new_scores = [np.asarray(values) for values in self.scores(queries, database, candidates)]
        if len(new_scores) != len(ranking):
            raise InputError(f"{self.name} expects scores for {len(ranking)} queries. Received: {len(new_scores)}")
        for q, values in enumerate(new_scores):
            n = len(candidates.row(q))
            if values.shape != (n,) or not (np.abs(values) <= LARGEST).all():
                raise InputError(f"{self.name} expects {n} finite scores for query {q}. Received: {values}")
        return reranked(ranking, new_scores)

    def identity(self) -> list[Any]:
        """What the new order depends on besides the features, as a JSON value.

        Returns:
          The class; the arguments; SHA-256 of each file that an argument names or that lies in a folder which an
          argument names, such as weights; and SHA-256 of the source, that of a plug-in included.
        """
        kind = f"{type(self).__module__}:{type(self).__qualname__}"
        return [kind, self.arguments, _file_hashes(self.arguments), source_sha256(type(self))]


class GeometricReranker(Reranker):
    """A reranker that matches local features of two images and finds the transform between the images.

    A subclass implements :meth:`inliers`; candidates are ordered by their numbers of inliers, unless the subclass
    overrides :meth:`scores` too.

    Attributes:
      threads: largest number of threads that call :meth:`inliers` at once.
    """

    uses_local = True
    threads: int = 1

    @property
    def geometric(self) -> "GeometricReranker":
        """This reranker."""
        return self

    @abstractmethod
    def inliers(self, query: Features, index: Features) -> "Inliers":
        """Matches two images.

        Args:
          query: the features of the query.
          index: the features of the database image.

        Returns:
          The pairs of local features that agree on one transform, and this transform.

        Raises:
          InputError: the features cannot be compared.
        """

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterable[Scores]:
        """Numbers of inliers."""
        for q in range(len(candidates)):
            query, rows = queries.features(q), candidates.row(q)
            yield np.array([len(self.inliers(query, database.features(int(row)))) for row in rows], np.float64)


def reranked(ranking: Ranking, scores: Sequence[Scores]) -> Ranking:
    """Sorts the first images of each row by new scores.

    Scores of the candidates and of the first stage are on different scales. So that the scores of a row decrease,
    those behind the candidates are lowered together, by one amount, to at most the last score of the candidates.

    Args:
      ranking: the first stage.
      scores: for each query those of its first images, in their order; larger is better.

    Returns:
      A ranking of the same images in each row; of equal scores the order stays.
    """
    indices, all_scores = ranking.indices.copy(), ranking.scores.astype(np.float32)
    for rows, row_scores, values in zip(indices, all_scores, scores, strict=True):
        n = len(values)
        if n:
            order = np.argsort(-values, kind="stable")
            rows[:n], row_scores[:n] = rows[:n][order], values[order]
            tail, last = row_scores[n:], row_scores[n - 1]
            if len(tail) and tail[0] > last:
                row_scores[n:] = np.minimum(tail + (last - tail[0]), last)
    return Ranking(indices, all_scores)


def _file_hashes(arguments: dict[str, Any]) -> dict[str, list[list[str]]]:
    """Names and SHA-256 of the files of each argument that names a file or a folder."""
    hashes = {}
    for key, value in arguments.items():
        place = Path(value) if isinstance(value, str) else None
        if place is not None and place.exists():
            files = sorted(files_below(place)) if place.is_dir() else [place]
            hashes[key] = [[file.relative_to(place).as_posix(), sha256(file)] for file in files]
    return hashes

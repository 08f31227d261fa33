"""The Google Landmarks Dataset v2 as released: images by their ids, and its CSV files beside them (arXiv 2004.01804).

Layout: ``data_dir/test/0/1/2/012....jpg``, likewise ``index`` (retrieval) and ``train`` (recognition), and
``retrieval_solution_v2.1.csv``, ``recognition_solution_v2.1.csv``, ``train.csv`` or ``train_clean.csv``. Existing
features need the CSV files only.

Retrieval predicts the most similar index images. Recognition votes: each of the nearest images adds its score to its
class, and the class with the largest sum is the prediction, with the sum as score. A reranker changes order and scores:
inliers for ``ransac``, similarity and inliers for ``fused(reranker="ransac")``.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from delg.common.errors import InputError
from delg.common.files import sha256
from evaluation.benchmarks import gldv2_files
from evaluation.benchmarks.base import Benchmark, Named, QueryResult, Rows, names_of
from evaluation.benchmarks.gldv2_files import PARTS, RecognitionSolution, RetrievalSolution, Solution
from evaluation.benchmarks.gldv2_votes import Labels, check_plain, image_id, knn_vote, labels_of, read_classes
from evaluation.metrics import gldv2 as metrics
from evaluation.metrics.gldv2 import MAX_PREDICTIONS, Prediction
from evaluation.metrics.metric import Metric
from evaluation.metrics.truth import Truth
from evaluation.statistics.clusters import groups
from extraction.formats.official import check_name
from extraction.images import ImageRef, list_images

VERSION = "v2.1"
LABELS = ("train_clean.csv", "train.csv")  # the first existing file is read
SHORTEST = 3  # characters; the first three characters of an id name its folders
NEIGHBOURS = 3
NOTHING = Truth(np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Challenge(Benchmark, ABC):
    """The common part of retrieval and recognition: queries in two parts, ids of images, predictions as text.

    Attributes:
      data_dir: folder of images and CSV files; None with existing features.
      solution_file: CSV file of the challenge's solution.
      solution: contents of the solution.
    """

    default_rerank: tuple[str, ...] = ()
    data_dir: Path | None = None
    solution_file: Path = Path()
    solution: Solution = field(default_factory=RetrievalSolution)

    column: ClassVar[str]  # name of the predictions' column in solutions and submissions

    def scored_parts(self) -> list[str]:
        """The parts, ``public`` and ``private``, for which the solution has images."""
        return [part for part in PARTS if getattr(self.solution, part)]

    def observe(self, protocol: str, query: int, result: QueryResult) -> Any:
        """The query's id and prediction as in a submission file; None under the protocol of the other part."""
        name = image_id(self.queries[query].name)
        part = next(
            (part for part in self.protocols if name in getattr(self.solution, part)), next(iter(self.protocols))
        )
        return [name, self.prediction(result)] if part == protocol else None

    def measure(self, protocol: str, observations: Sequence[Any]) -> dict[str, Metric]:
        """See :mod:`evaluation.metrics.gldv2`; values per query cover both parts, NaN in the other part."""
        solution_of_part = getattr(self.solution, protocol)
        predictions = {
            name: self.parse(text) for name, text in filter(None, observations) if text and name in solution_of_part
        }
        return self.measure_predictions(protocol, predictions)

    def measure_predictions(self, protocol: str, predictions: Mapping[str, Any]) -> dict[str, Metric]:
        """The metrics of the predictions for one part.

        Args:
          protocol: the part.
          predictions: the parsed predictions by id of the query.
        """
        return {name: self._padded(protocol, metric) for name, metric in self.scores(protocol, predictions).items()}

    def _padded(self, protocol: str, metric: Metric) -> Metric:
        """The metric with values per query for both parts."""
        sizes = {part: len(getattr(self.solution, part)) for part in PARTS}

        def pad(values: Any) -> Any:
            padded = [values if part == protocol else np.full(size, np.nan) for part, size in sizes.items()]
            return None if values is None else np.concatenate(padded)

        return replace(metric, per_query=pad(metric.per_query), places=pad(metric.places))

    @abstractmethod
    def prediction(self, result: QueryResult) -> str:
        """The prediction for a query as in a submission file; empty without results."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Parses a prediction of a submission file."""

    @abstractmethod
    def scores(self, protocol: str, predictions: Mapping[str, Any]) -> dict[str, Metric]:
        """The metrics of one part, with values per query in the order of the part."""

    def submission(self, observations: Mapping[str, Sequence[Any]]) -> Iterable[Sequence[str]]:
        """Rows ``id,images`` or ``id,landmarks``, also of ignored queries; without queries that have no prediction."""
        yield ["id", self.column]
        for predictions in zip(*observations.values(), strict=True):
            yield from (prediction for prediction in predictions if prediction is not None and prediction[1])

    def listed(self) -> Self:
        """Queries and index images of the data folder; a name is ``0/1/2/ID``.

        Raises:
          InputError: the folder ``index`` is missing, or an id cannot be written as a prediction.
        """
        if self.data_dir is None:
            raise InputError(f"{self.name} expects --data_dir with --model.")
        ids = (*self.solution.public, *self.solution.private)
        queries = [_image(self.data_dir / "test", name) for name in ids]
        return self._of_images(queries, self.index_images(self.data_dir))

    def with_features(self, queries: Sequence[str], database: Sequence[str]) -> Self:
        """The benchmark of the images with features; folders before an image's id are ignored.

        Raises:
          InputError: a query is missing from the solution, or exists twice; or the index images are not of the task.
        """
        ids = [image_id(name) for name in queries]
        solution_ids = self.solution.public.keys() | self.solution.private.keys() | self.solution.ignored
        unknown = [name for name in ids if name not in solution_ids]
        if unknown:
            raise InputError(
                f"{self.solution_file} lacks {len(unknown)} of the {len(ids)} query images, such as {unknown[0]!r}."
            )
        if len(set(ids)) < len(ids):
            raise InputError("Two query images have one id; GLDv2 identifies images by the names of their files.")
        return self._of_images(Named(queries), Named(database))

    def _of_images(self, queries: Sequence[ImageRef], database: Sequence[ImageRef]) -> Self:
        protocols = {part: [NOTHING] * len(queries) for part in self.scored_parts()}
        return replace(self, queries=queries, database=database, protocols=protocols)

    @abstractmethod
    def index_images(self, data_dir: Path) -> Sequence[ImageRef]:
        """The index images."""

    @property
    def pictured(self) -> bool:
        """False: classes have no pictures."""
        return False

    def settings(self) -> dict[str, Any]:
        """Path and hash of the solution's file."""
        settings: dict[str, Any] = {
            "solution_file": os.fspath(self.solution_file),
            "solution_file_sha256": sha256(self.solution_file),
            "answers_sha256": sha256(self.solution_file),  # whatever images have features
        }
        ids = {image_id(query.name) for query in self.queries}
        missing = {part: len(getattr(self.solution, part).keys() - ids) for part in PARTS} if ids else {}
        return settings | ({"queries_without_features": missing} if any(missing.values()) else {})

    def answers(self) -> Any:
        """The hash of the solution's file."""
        return sha256(self.solution_file)

    def identity(self) -> Any:
        """See :class:`Benchmark`; ids and parts of the queries follow from the solution."""
        return [self.answers(), self.depth]

    @property
    def submits(self) -> bool:
        """True: the challenges are scored from CSV files."""
        return True

    def query_names(self) -> list[str]:
        """Ids of both parts, ``public`` first."""
        return [name for part in PARTS for name in getattr(self.solution, part)]

    def clusters(self) -> dict[str, Any]:
        """The bootstrap draws queries together that share classes or relevant images."""
        numbers: dict[Any, int] = {}
        rights = [right for part in PARTS for right in getattr(self.solution, part).values()]
        if isinstance(self.solution, RecognitionSolution):
            numbers = {
                name: number for number, name in enumerate(sorted({label for right in rights for label in right}))
            }
        rows = [
            np.unique([numbers.setdefault(label, len(numbers)) for label in right]).astype(np.int64) for right in rights
        ]
        return {"groups": groups([Truth(row, NOTHING.junk) for row in rows]).tolist()}

    @property
    def scored(self) -> bool:
        """True: :func:`read_solution` refuses solutions without images."""
        return True

    @property
    def leave_one_out(self) -> bool:
        """False: queries and index are different images."""
        return False


@dataclass(frozen=True, eq=False)
class Retrieval(Challenge):
    """GLDv2 retrieval: mAP@100 over the index images."""

    depth: int | None = MAX_PREDICTIONS
    column: ClassVar[str] = "images"

    def prediction(self, result: QueryResult) -> str:
        """Ids of the first 100 images."""
        return " ".join(image_id(self.database[row].name) for row in result.rows[:MAX_PREDICTIONS].tolist())

    def parse(self, text: str) -> tuple[str, ...]:
        """Ids of index images."""
        return tuple(text.split())

    def scores(self, protocol: str, predictions: Mapping[str, Any]) -> dict[str, Metric]:
        """See :func:`evaluation.metrics.gldv2.retrieval`."""
        return metrics.retrieval(predictions, getattr(self.solution, protocol))

    def index_images(self, data_dir: Path) -> Sequence[ImageRef]:
        """All images of the folder ``index``."""
        return list_images(data_dir / "index")

    def _of_images(self, queries: Sequence[ImageRef], database: Sequence[ImageRef]) -> Self:
        """Checks that ids can be written as predictions, and that an index image is relevant."""
        names = names_of(database)
        check_plain(names, self.name)
        relevant = {
            name for part in PARTS for right in getattr(self.solution, part).values() for name in right
        }  # fmt: skip
        if relevant.isdisjoint(map(image_id, names)):
            raise InputError(
                f"None of the {len(relevant)} relevant images of {self.solution_file} is among the {len(names)} index "
                f"images, such as {image_id(names[0]) if names else 'none'}."
            )
        return super()._of_images(queries, database)

    @property
    def pictured(self) -> bool:
        """True unless images have names only."""
        return not isinstance(self.database, Named)

    def with_pictures(self) -> Self:
        """See :class:`Benchmark`; the positives of the main protocol are the relevant images."""
        row_of = {image_id(image.name): row for row, image in enumerate(self.database)}
        relevant = getattr(self.solution, self.main_protocol)
        truths = [Truth(_rows(row_of, relevant.get(image_id(query.name), ())), NOTHING.junk) for query in self.queries]
        return replace(self, protocols={self.main_protocol: truths})

    def settings(self) -> dict[str, Any]:
        """Path and hash of the solution's file, and the number of queries without relevant images."""
        empty = {part: sum(not names for names in getattr(self.solution, part).values()) for part in PARTS}
        return super().settings() | {"queries_without_relevant_images": empty}


@dataclass(frozen=True, eq=False)
class Recognition(Challenge):
    """GLDv2 recognition: global average precision of the classes that the neighbours vote for.

    Attributes:
      labels_file: CSV file of the training images' classes.
      classes: class of each image id.
      labels: ``(N,)`` class of each index image.
      neighbours: number of voting images.
      ignore_non_landmarks: leave predictions for images without a landmark out of the global average precision.
    """

    labels_file: Path = Path()
    classes: dict[str, int] = field(default_factory=dict)
    labels: Labels | None = None
    neighbours: int = NEIGHBOURS
    ignore_non_landmarks: bool = False
    column: ClassVar[str] = "landmarks"

    def prediction(self, result: QueryResult) -> str:
        """The class with the largest sum of votes, and the sum."""
        assert self.labels is not None
        if not len(result.rows):
            return ""
        label, score = knn_vote(self.labels[result.rows[: self.neighbours]], result.scores[: self.neighbours])
        return f"{label} {score:.9g}"

    def parse(self, text: str) -> Prediction:
        """A class and its score."""
        label, score = text.split()
        return Prediction(int(label), float(score))

    def scores(self, protocol: str, predictions: Mapping[str, Any]) -> dict[str, Metric]:
        """See :func:`evaluation.metrics.gldv2.recognition`."""
        return metrics.recognition(predictions, getattr(self.solution, protocol), self.ignore_non_landmarks)

    def index_images(self, data_dir: Path) -> Sequence[ImageRef]:
        """The training images with a class."""
        return [_image(data_dir / "train", name) for name in self.classes]

    def _of_images(self, queries: Sequence[ImageRef], database: Sequence[ImageRef]) -> Self:
        labels = labels_of(self.classes, names_of(database), str(self.labels_file))
        return replace(super()._of_images(queries, database), labels=labels)

    def settings(self) -> dict[str, Any]:
        """Paths and hashes of solution and classes, and the parameters of the vote."""
        settings = super().settings() | {"ignore_non_landmarks": self.ignore_non_landmarks}
        if self.classes:
            file = {"labels_file": os.fspath(self.labels_file), "labels_file_sha256": sha256(self.labels_file)}
            settings |= {"neighbours": self.neighbours} | file
        return settings

    def identity(self) -> Any:
        """See :class:`Benchmark`; with the classes and the parameters of the vote."""
        return [super().identity(), sha256(self.labels_file), self.neighbours, self.ignore_non_landmarks]


CHALLENGES: dict[str, type[Challenge]] = {"gldv2_recognition": Recognition, "gldv2_retrieval": Retrieval}


def gldv2_retrieval(data_dir: str | None = None, *, solution_file: str | None = None) -> Retrieval:
    """GLDv2 retrieval.

    Args:
      data_dir: images and CSV files as released; None with existing features and ``solution_file``.
      solution_file: CSV ``id,images,Usage``; None for the file in the data folder.

    Returns:
      The benchmark, without images until :meth:`Challenge.listed` or :meth:`Challenge.with_features` adds them.

    Raises:
      InputError: the solution is missing, malformed, or a solution of the other task.
    """
    path, solution = _solution("gldv2_retrieval", data_dir, solution_file)
    return Retrieval(
        "gldv2_retrieval",
        [],
        [],
        {},
        data_dir=Path(data_dir) if data_dir else None,
        solution_file=path,
        solution=solution,
    )


def gldv2_recognition(
    data_dir: str | None = None,
    *,
    solution_file: str | None = None,
    labels_file: str | None = None,
    neighbours: int = NEIGHBOURS,
    ignore_non_landmarks: bool = False,
) -> Recognition:
    """GLDv2 recognition.

    Args:
      data_dir: see :func:`gldv2_retrieval`.
      solution_file: CSV ``id,landmarks,Usage``; None for the file in the data folder.
      labels_file: CSV ``id,landmark_id`` or ``landmark_id,images`` of the training images; None for the file in the
        data folder.
      neighbours: number of voting images.
      ignore_non_landmarks: see :class:`Recognition`.

    Returns:
      The benchmark, without images as in :func:`gldv2_retrieval`.

    Raises:
      InputError: a file is missing, malformed, or belongs to the other task; or an argument is out of range.
    """
    if type(neighbours) is not int or neighbours < 1:
        raise InputError(f"--neighbours expects 1 or more. Received: {neighbours}")
    path, solution = _solution("gldv2_recognition", data_dir, solution_file)
    root = Path(data_dir) if data_dir else None
    if not labels_file and root:
        labels_file = next((os.fspath(root / name) for name in LABELS if (root / name).is_file()), None)
    if not labels_file:
        raise InputError("gldv2_recognition expects --labels_file, CSV with id,landmark_id or landmark_id,images.")
    return Recognition(
        "gldv2_recognition",
        [],
        [],
        {},
        depth=neighbours,
        data_dir=root,
        solution_file=path,
        solution=solution,
        labels_file=Path(labels_file),
        classes=read_classes(labels_file),
        neighbours=neighbours,
        ignore_non_landmarks=ignore_non_landmarks,
    )


def read_solution(
    path: str | os.PathLike[str], task: str | None = None, *, released: bool = False
) -> tuple[str, Solution]:
    """The task and the contents of a solution.

    Args:
      path: the file.
      task: one of :data:`CHALLENGES`; None finds the task by the file's columns.
      released: read the file as the released code does, see :mod:`evaluation.benchmarks.gldv2_files`.

    Raises:
      InputError: the file is missing or malformed, or holds no public or private image.
    """
    name = task or gldv2_files.task_of(path)
    read = gldv2_files.read_recognition_solution if name == "gldv2_recognition" else gldv2_files.read_retrieval_solution
    solution = read(path, released)
    if not (solution.public or solution.private):
        raise InputError(f"{path} has no image of the Usage Public or Private.")
    return name, solution


def _solution(task: str, data_dir: str | None, solution_file: str | None) -> tuple[Path, Any]:
    """Path and contents of the solution: ``solution_file``, or the solution in the data folder."""
    if not solution_file and data_dir:
        solution_file = os.fspath(Path(data_dir) / f"{task.removeprefix('gldv2_')}_solution_{VERSION}.csv")
    if not solution_file:
        raise InputError(f"{task} expects --solution_file, or --data_dir with it.")
    name, solution = read_solution(solution_file)
    if name != task:
        raise InputError(f"{solution_file} is a solution of {name}, not of {task}.")
    return Path(solution_file), solution


def _rows(row_of: Mapping[str, int], names: Iterable[str]) -> Rows:
    """Rows of the named images, without images that are not in the index."""
    return np.array([row_of[name] for name in names if name in row_of], np.int64)


def _image(folder: Path, image: str) -> ImageRef:
    """An image in the folders that the first three characters of its id name."""
    check_name(image, f"{folder}")
    if len(image) < SHORTEST or "/" in image:
        raise InputError(f"GLDv2 expects ids of {SHORTEST} characters or more. Received: {image!r}")
    name = f"{image[0]}/{image[1]}/{image[2]}/{image}"
    return ImageRef(name, os.fspath(folder / f"{name}.jpg"))

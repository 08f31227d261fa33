"""The CSV files of the Google Landmarks Dataset v2 challenges: solutions and predictions of recognition and retrieval.

A solution says of every image of the test set to which part it belongs, ``Public``, ``Private`` or ``Ignored``;
predictions name the images of any part, each at most once.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from delg.common.errors import InputError
from evaluation.data.csv_files import rows
from evaluation.metrics.gldv2 import Prediction

T = TypeVar("T")
USAGES = ("Public", "Private", "Ignored")


@dataclass(frozen=True)
class RecognitionSolution:
    """What the test images show.

    Attributes:
      public: by image id the right classes; an empty tuple for an image without landmark.
      private: the same of the images that the final standing was made from.
      ignored: ids of images that count nowhere.
    """

    public: dict[str, tuple[int, ...]] = field(default_factory=dict)
    private: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RetrievalSolution:
    """The index images that are relevant to the queries; the fields are those of :class:`RecognitionSolution`.

    Attributes:
      public: by query id the ids of the relevant index images.
      private: the same of the private queries.
      ignored: ids of queries that count nowhere.
    """

    public: dict[str, tuple[str, ...]] = field(default_factory=dict)
    private: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


Solution = RecognitionSolution | RetrievalSolution


def read_recognition_solution(path: str | os.PathLike[str]) -> RecognitionSolution:
    """Reads ``id,landmarks,Usage``; ``landmarks`` are whole numbers separated by spaces, or nothing.

    Raises:
      InputError: the file is missing or not of this form; the sentence names the line.
    """
    parts, ignored = _read_solution(path, "landmarks", _classes)
    return RecognitionSolution(parts["Public"], parts["Private"], ignored)


def read_retrieval_solution(path: str | os.PathLike[str]) -> RetrievalSolution:
    """Reads ``id,images,Usage``; ``images`` are ids separated by spaces.

    Raises:
      InputError: the file is missing or not of this form; the sentence names the line.
    """
    parts, ignored = _read_solution(path, "images", lambda text, where: tuple(text.split()))
    return RetrievalSolution(parts["Public"], parts["Private"], ignored)


def read_recognition_predictions(
    path: str | os.PathLike[str], solution: Solution
) -> tuple[dict[str, Prediction], dict[str, Prediction]]:
    """Reads ``id,landmarks``; ``landmarks`` is one class and its score, or nothing for no answer.

    Args:
      path: the file.
      solution: tells which ids there are.

    Returns:
      The predictions of the public and of the private images; those of ignored images are left out.

    Raises:
      InputError: the file is missing or not of this form, or names an unknown id or one twice.
    """
    return _split(path, "landmarks", _prediction, solution)


def read_retrieval_predictions(
    path: str | os.PathLike[str], solution: Solution
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Reads ``id,images``: by query the ids of index images, best first, separated by spaces.

    Args and errors are those of :func:`read_recognition_predictions`.
    """
    return _split(path, "images", lambda text, where: tuple(text.split()) or None, solution)


def _rows(path: str | os.PathLike[str], wanted: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The place and the columns of every row; ids are checked to appear once."""
    seen: set[str] = set()
    for where, row in rows(path, wanted):
        if row["id"] in seen:
            raise InputError(f"{where}: the id {row['id']!r} appears twice.")
        seen.add(row["id"])
        yield where, row


def _read_solution(
    path: str | os.PathLike[str], column: str, parse: Callable[[str, str], T]
) -> tuple[dict[str, dict[str, T]], frozenset[str]]:
    """The rows of both parts, parsed, and the ids of the ignored ones."""
    parts: dict[str, dict[str, T]] = {"Public": {}, "Private": {}}
    ignored = set()
    for where, row in _rows(path, ("id", column, "Usage")):
        if row["Usage"] not in USAGES:
            raise InputError(f"{where}: expected a Usage among {', '.join(USAGES)}. Received: {row['Usage']!r}")
        if row["Usage"] == "Ignored":
            ignored.add(row["id"])
        else:
            parts[row["Usage"]][row["id"]] = parse(row[column], where)
    return parts, frozenset(ignored)


def _split(
    path: str | os.PathLike[str], column: str, parse: Callable[[str, str], T | None], solution: Solution
) -> tuple[dict[str, T], dict[str, T]]:
    """The predictions of the public and of the private ids."""
    public: dict[str, T] = {}
    private: dict[str, T] = {}
    for where, row in _rows(path, ("id", column)):
        name = row["id"]
        if name not in solution.public and name not in solution.private and name not in solution.ignored:
            raise InputError(f"{where}: the solution has no image {name!r}.")
        answer = parse(row[column], where)
        if answer is not None and name not in solution.ignored:
            (public if name in solution.public else private)[name] = answer
    return public, private


def _classes(text: str, where: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split())
    except ValueError as error:
        raise InputError(f"{where}: expected whole numbers separated by spaces. Received: {text!r}") from error


def _prediction(text: str, where: str) -> Prediction | None:
    words = text.split()
    if not words:
        return None
    try:
        landmark, score = words
        answer = Prediction(int(landmark), float(score))
    except ValueError as error:
        raise InputError(f"{where}: expected a class and a score, such as 8815 0.93. Received: {text!r}") from error
    if math.isnan(answer.score):
        raise InputError(f"{where}: the score is not a number.")
    return answer

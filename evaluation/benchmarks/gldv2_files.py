"""The CSV files of the Google Landmarks Dataset v2 challenges: solutions and predictions of recognition and retrieval.

A solution assigns every image of the test set to a part, ``Public``, ``Private`` or ``Ignored``. Predictions name
images of any part, public and private images at most once.

Columns are read by name, and any number of blanks separates ids. The released code differs for malformed files, and
``released=True`` reproduces its results: columns are read by order, whatever their names; a single blank separates ids,
so that two blanks enclose an empty id, which takes a place among the predictions and counts among the relevant images;
of two rows of a solution with one id the last counts; and a row without a prediction may name any image.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from delg.common.errors import InputError
from delg.common.text_files import columns, rows, table
from evaluation.metrics.gldv2 import Prediction

T = TypeVar("T")
USAGES = ("Public", "Private", "Ignored")
PARTS = ("public", "private")
TASKS = {"landmarks": "gldv2_recognition", "images": "gldv2_retrieval"}  # by the column of a solution


@dataclass(frozen=True)
class RecognitionSolution:
    """The classes of the test images.

    Attributes:
      public: the right classes by image id; an empty tuple for an image without landmark.
      private: the same for the images of the final leaderboard.
      ignored: ids of images that are not scored.
    """

    public: dict[str, tuple[int, ...]] = field(default_factory=dict)
    private: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RetrievalSolution:
    """The index images that are relevant to the queries; the fields are those of :class:`RecognitionSolution`.

    Attributes:
      public: ids of the relevant index images by query id.
      private: the same for the private queries.
      ignored: ids of queries that are not scored.
    """

    public: dict[str, tuple[str, ...]] = field(default_factory=dict)
    private: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()


Solution = RecognitionSolution | RetrievalSolution


def task_of(path: str | os.PathLike[str]) -> str:
    """The task of a solution, by its columns: ``gldv2_recognition`` or ``gldv2_retrieval``.

    Raises:
      InputError: the file cannot be read, or has not exactly one of the columns ``landmarks`` and ``images``.
    """
    names = columns(path)
    tasks = [task for column, task in TASKS.items() if column in names]
    if len(tasks) != 1:
        forms = " or ".join(f"id,{column},Usage" for column in TASKS)
        raise InputError(f"{path} expects the columns {forms}. Received: {','.join(names)}")
    return tasks[0]


def read_recognition_solution(path: str | os.PathLike[str], released: bool = False) -> RecognitionSolution:
    """Reads ``id,landmarks,Usage``; ``landmarks`` are whole numbers separated by spaces, or nothing.

    Args:
      path: the file.
      released: read it as the released code does, see above.

    Raises:
      InputError: the file is missing or malformed; the message names the line.
    """

    def classes(text: str, where: str) -> tuple[int, ...]:
        words = text.split(" ") if released and text else text.split()
        try:
            return tuple(map(int, words))
        except ValueError as error:
            raise InputError(f"{where}: expected whole numbers separated by spaces. Received: {text!r}") from error

    parts, ignored = _read_solution(path, "landmarks", classes, released)
    return RecognitionSolution(parts["Public"], parts["Private"], ignored)


def read_retrieval_solution(path: str | os.PathLike[str], released: bool = False) -> RetrievalSolution:
    """Reads ``id,images,Usage``; ``images`` are ids separated by spaces.

    Args and errors are those of :func:`read_recognition_solution`.
    """
    parts, ignored = _read_solution(
        path, "images", lambda text, where: tuple(text.split(" ") if released else text.split()), released
    )
    return RetrievalSolution(parts["Public"], parts["Private"], ignored)


def read_recognition_predictions(
    path: str | os.PathLike[str], solution: Solution, released: bool = False
) -> tuple[dict[str, Prediction], dict[str, Prediction]]:
    """Reads ``id,landmarks``; ``landmarks`` is one class and its score, or nothing for no prediction.

    Args:
      path: the file.
      solution: its ids are the known ids.
      released: read it as the released code does, see above.

    Returns:
      The predictions for the public and for the private images; ignored images are left out.

    Raises:
      InputError: the file is missing or malformed, names an unknown id, or names a scored id twice.
    """
    return _split(path, "landmarks", _prediction, solution, released)


def read_retrieval_predictions(
    path: str | os.PathLike[str], solution: Solution, released: bool = False
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Reads ``id,images``: the ids of index images for each query, best first, separated by spaces.

    Args and errors are those of :func:`read_recognition_predictions`.
    """
    return _split(path, "images", lambda words, where: tuple(words), solution, released)


def _rows(
    path: str | os.PathLike[str], names: tuple[str, ...], released: bool, is_row: Callable[[list[str]], bool]
) -> Iterator[tuple[str, list[str]]]:
    """File and line of every row, and the row's values in the order of ``names``; checks that there is a header."""
    if not released:
        for where, row in rows(path, names):
            yield where, [row[name] for name in names]
        return
    lines = table(path, exact=True)
    _, header = next(lines, (0, []))
    if is_row(header):
        raise InputError(f"{path} expects a header, such as {','.join(names)}. Received: {','.join(header)[:80]}")
    for number, values in lines:
        if len(values) < len(names):
            raise InputError(f"{path}, line {number}: expected {len(names)} values. Received: {len(values)}")
        yield f"{path}, line {number}", values[: len(names)]


def _read_solution(
    path: str | os.PathLike[str], column: str, parse: Callable[[str, str], T], released: bool
) -> tuple[dict[str, dict[str, T]], frozenset[str]]:
    """The parsed rows of both parts, and the ignored ids."""
    parts: dict[str, dict[str, T]] = {"Public": {}, "Private": {}}
    seen: set[str] = set()
    ignored: set[str] = set()
    lines = _rows(path, ("id", column, "Usage"), released, lambda header: header[2:3] in [[usage] for usage in USAGES])
    for where, (name, text, usage) in lines:
        if usage not in USAGES:
            raise InputError(f"{where}: expected a Usage among {', '.join(USAGES)}. Received: {usage!r}")
        if name in seen and not released and not (name in ignored and usage == "Ignored"):
            raise InputError(f"{where}: the id {name!r} appears twice.")
        seen.add(name)
        if usage == "Ignored":
            ignored.add(name)
        else:
            parts[usage][name] = parse(text, where)
    return parts, frozenset(ignored)


def _split(
    path: str | os.PathLike[str],
    column: str,
    parse: Callable[[list[str], str], T],
    solution: Solution,
    released: bool,
) -> tuple[dict[str, T], dict[str, T]]:
    """The predictions for the public and for the private ids."""
    public: dict[str, T] = {}
    private: dict[str, T] = {}
    solution_ids = solution.public.keys() | solution.private.keys()
    seen: set[str] = set()
    lines = _rows(path, ("id", column), released, lambda header: not solution_ids.isdisjoint(header[:1]))
    for where, (name, text) in lines:
        if name in seen:
            raise InputError(f"{where}: the id {name!r} appears twice.")
        if name in solution.ignored:
            continue
        words = _words(text, released)
        if name not in solution_ids and (words or not released):
            raise InputError(f"{where}: the solution has no image {name!r}.")
        if words or not released:
            seen.add(name)
        if words:
            (public if name in solution.public else private)[name] = parse(words, where)
    return public, private


def _words(text: str, released: bool) -> list[str]:
    """The words between blanks; the released code drops one empty word at the end, and no other empty word."""
    if not released:
        return text.split()
    words = text.split(" ") if text else []
    return words[:-1] if words and not words[-1] else words


def _prediction(words: list[str], where: str) -> Prediction:
    try:
        landmark, score = words
        prediction = Prediction(int(landmark), float(score))
    except ValueError as error:
        received = " ".join(words)
        raise InputError(f"{where}: expected a class and a score, such as 8815 0.93. Received: {received!r}") from error
    if math.isnan(prediction.score):
        raise InputError(f"{where}: the score is not a number.")
    return prediction

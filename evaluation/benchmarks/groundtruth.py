"""The revisited Oxford/Paris ground truth, a pickle or a MATLAB file of ``imlist``, ``qimlist`` and ``gnd``.

Reading a pickle may call any function that the pickle names. A ground truth needs no functions, so pickles are read by
:mod:`delg.common.restricted_pickle`, which admits only containers, text, numbers and arrays.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import read_json
from delg.common.restricted_pickle import read_plain_pickle
from extraction.formats.official import check_name

Indices = NDArray[np.int64]
SETS = ("easy", "hard", "junk")
KEYS = ("imlist", "qimlist", "gnd")


class Box(NamedTuple):
    """The part of a photo that is the query: two corners in pixels of the whole photo, not width and height."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of one query.

    Attributes:
      bbx: the query's box; None where the file has no box, and the whole photo is the query.
      easy: rows of the database that show the landmark clearly.
      hard: rows that show the landmark, but are hard to recognise.
      junk: rows that are neither right nor wrong.
    """

    bbx: Box | None
    easy: Indices
    hard: Indices
    junk: Indices


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """A revisited ground truth.

    Attributes:
      database: names of the database images, without suffix (``imlist``).
      queries: names of the query images, without suffix (``qimlist``).
      labels: box and sets of each query; indices are 0-based rows of ``database``.
    """

    database: list[str]
    queries: list[str]
    labels: list[Labels]


def read_mat(path: str | os.PathLike[str], sets: Sequence[str] = SETS) -> dict[str, Any]:
    """Reads a ground truth in MATLAB's form, whose rows count from 1, into the form of the pickles.

    Args:
      path: a file of MATLAB version 4 to 7, with the cell arrays of names ``imlist`` and ``qimlist``, and the struct
        array ``gnd`` with the fields ``bbx`` and ``sets``.
      sets: the fields that hold database rows.

    Returns:
      The input of the checks of :func:`load`; rows count from 0, boxes are unchanged.

    Raises:
      InputError: the file is missing, damaged, or malformed.
    """
    from scipy.io import loadmat

    where = os.fspath(path)
    try:
        data = loadmat(where, simplify_cells=True, appendmat=False)
    except FileNotFoundError as error:
        raise InputError(f"The ground truth {where} cannot be read: {error.strerror}.") from error
    except Exception as error:  # SciPy raises exceptions of many kinds on damaged files
        raise InputError(f"{where} cannot be read as a MATLAB file of version 7 or lower: {error}.") from error
    if any(key not in data for key in KEYS):
        received = ", ".join(key for key in data if not key.startswith("__")) or "nothing"
        raise InputError(f"{where} expects the variables imlist, qimlist and gnd. Received: {received}.")
    entries = data["gnd"] if isinstance(data["gnd"], (list, np.ndarray)) else [data["gnd"]]
    return {
        "imlist": np.atleast_1d(data["imlist"]),
        "qimlist": np.atleast_1d(data["qimlist"]),
        "gnd": [_from_one(entry, sets) for entry in entries],
    }


def _from_one(entry: Any, sets: Sequence[str]) -> Any:
    """The entry of a query with rows that count from 0; other values stay unchanged, and the checks refuse them."""
    if not isinstance(entry, Mapping):
        return entry
    return {
        name: np.asarray(value, np.float64).ravel() - 1 if name in sets and _numeric(value) else value
        for name, value in entry.items()
    }


def _numeric(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "iuf"
    except ValueError:
        return False


def indices(value: Any, size: int, where: str) -> Indices:
    """A set of a query as int64 rows of the database, in the order of the file."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{where} expects 0-based database rows. Received: {error}") from error
    if array.size == 0:
        return np.zeros(0, np.int64)
    rows = array.ravel()
    if rows.dtype.kind not in "iu" and not (rows.dtype.kind == "f" and np.all(rows == np.floor(rows))):
        raise InputError(f"{where} expects 0-based database rows. Received values of type {rows.dtype}.")
    rows = rows.astype(np.int64)
    if rows.min() < 0 or rows.max() >= size:
        raise InputError(f"{where} expects 0-based rows below {size}. Received: {rows.min()} to {rows.max()}.")
    return rows


def box(value: Any, where: str) -> Box | None:
    """A query's box; the check refuses boxes of width and height where corners are impossible."""
    if value is None:
        return None
    try:
        numbers = [float(number) for number in np.asarray(value, np.float64).ravel()]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4 or not np.all(np.isfinite(numbers)) or numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
        raise InputError(f"{where} expects a box x1, y1, x2, y2 with x1 < x2 and y1 < y2. Received: {value!r}")
    return Box(*numbers)


def _labels(entry: Any, size: int, where: str) -> Labels:
    """One query's entry of ``gnd``."""
    if not isinstance(entry, Mapping) or any(name not in entry for name in SETS):
        received = ", ".join(map(str, entry)) if isinstance(entry, Mapping) else type(entry).__name__
        raise InputError(f"{where} expects the sets easy, hard and junk. Received: {received}.")
    sets = {name: indices(entry[name], size, f"{where}, set {name!r},") for name in SETS}
    rows = np.concatenate(list(sets.values()))
    if len(np.unique(rows)) != len(rows):
        raise InputError(f"{where} names a database row twice; easy, hard and junk must not overlap.")
    return Labels(box(entry.get("bbx"), where), **sets)


def names_of(data: Mapping[str, Any], where: str) -> tuple[list[str], list[str]]:
    """The names of the database images and of the queries, checked.

    Raises:
      InputError: names are missing, repeated or lead out of their folder, or ``gnd`` and queries differ in number.
    """
    database, queries = [str(name) for name in data["imlist"]], [str(name) for name in data["qimlist"]]
    if len(queries) != len(data["gnd"]):
        raise InputError(f"{where} expects one entry of gnd per query: {len(queries)} and {len(data['gnd'])}.")
    for kind, names in (("imlist", database), ("qimlist", queries)):
        if not names or len(set(names)) != len(names):
            raise InputError(f"{where}: {kind} expects one or more names, each once.")
        for name in names:
            check_name(name, f"{where}: {kind}")
    return database, queries


READERS: dict[str, Callable[[str | os.PathLike[str]], Any]] = {".json": read_json, ".mat": read_mat}


def load(path: str | os.PathLike[str]) -> GroundTruth:
    """Reads and checks a ground truth of the revisited form (Radenovic et al., 2018), as released by its authors.

    Args:
      path: a pickle ``{"imlist", "qimlist", "gnd": [{"bbx", "easy", "hard", "junk"}, ...]}``, rows 0-based; or, ending
        in ``.json``, the same as JSON; or, ending in ``.mat``, the same in MATLAB's form, rows 1-based.

    Returns:
      The ground truth.

    Raises:
      InputError: the file is missing or malformed, or holds more than plain data.
    """
    where = os.fspath(path)
    data = READERS.get(Path(where).suffix.lower(), read_plain_pickle)(path)
    if not isinstance(data, Mapping) or any(key not in data for key in KEYS):
        received = ", ".join(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
        raise InputError(
            f"{where} expects a dictionary with imlist, qimlist and gnd. Received: {received or 'nothing'}."
        )
    for key in KEYS:
        if not isinstance(data[key], (Sequence, np.ndarray)) or isinstance(data[key], str):
            raise InputError(f"{where}: {key} expects a list. Received: {type(data[key]).__name__}.")
    database, queries = names_of(data, where)
    entries = zip(queries, data["gnd"])
    return GroundTruth(
        database, queries, [_labels(entry, len(database), f"{where}: query {name!r}") for name, entry in entries]
    )


def to_json(truth: GroundTruth) -> dict[str, Any]:
    """A ground truth as JSON values in the form of the pickles; :func:`load` reads this form."""
    entries = [
        {"bbx": None if entry.bbx is None else list(entry.bbx)} | {name: getattr(entry, name).tolist() for name in SETS}
        for entry in truth.labels
    ]
    return {"imlist": truth.database, "qimlist": truth.queries, "gnd": entries}

"""Features as CSV: ``global.csv``, a row an image, and ``local.csv``, a row a local feature."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import atomic_path, read_json, write_json
from delg.common.progress import progress_bar
from delg.common.text_files import table
from extraction.features import Features
from extraction.formats.checks import local_width, record_of, recorded, wrong

if TYPE_CHECKING:
    from extraction.formats.table import Source

GLOBAL_FILE, LOCAL_FILE, SETTINGS_FILE = "global.csv", "local.csv", "settings.json"
GLOBAL_COLUMNS = ("name", "width", "height")
LOCAL_COLUMNS = ("name", "x", "y", "scale", "score")


@contextmanager
def _table(path: Path, columns: Iterable[str]) -> Iterator[Any]:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        yield rows


def write_csv(source: "Source", folder: Path) -> None:
    """Writes both files, numbers with as many digits as float32 needs, and ``settings.json``.

    Args:
      source: the features.
      folder: where the files go.
    """
    dimensions = len(source.features(0).global_descriptor), local_width(source)
    columns = [
        [*names, *(f"d{i}" for i in range(count))] for names, count in zip((GLOBAL_COLUMNS, LOCAL_COLUMNS), dimensions)
    ]
    with _table(folder / GLOBAL_FILE, columns[0]) as images, _table(folder / LOCAL_FILE, columns[1]) as local:
        for i in progress_bar(range(len(source.names)), desc=folder.name, unit="image"):
            found = source.features(i)
            images.writerow([found.name, *found.image_size, *found.global_descriptor])
            numbers = np.column_stack([found.keypoints, found.scales, found.scores, found.descriptors])
            local.writerows([found.name, *row] for row in numbers)
    write_json(folder / SETTINGS_FILE, record_of(source))


class CsvFiles:
    """Features of such files, read into memory.

    Attributes:
      names: of the images.
      settings: of ``settings.json``, where there is one.
      skipped: the same.
    """

    files = (GLOBAL_FILE,)

    def __init__(self, folder: Path):
        """Reads the files.

        Raises:
          InputError: a file is missing, or a row is not of numbers, of another length, or of an unknown image.
        """
        place = folder / SETTINGS_FILE
        told = recorded(read_json(place) if place.is_file() else {}, place, "CSV")
        self.settings: dict[str, Any] = told["settings"]
        self.skipped: list[dict[str, str]] = told["skipped"]
        self._paths: dict[str, str] = told["paths"]
        self._images: dict[str, np.ndarray] = {}
        for name, numbers in _rows(folder / GLOBAL_FILE, GLOBAL_COLUMNS):
            if name in self._images:
                raise InputError(f"{folder / GLOBAL_FILE} holds the image {name!r} twice.")
            if not all(float(side).is_integer() for side in numbers[:2]):
                raise wrong(folder / GLOBAL_FILE, name, "its width and height are no whole numbers")
            self._images[name] = numbers
        self.names = list(self._images)
        self._local: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        self._width = 0
        for name, numbers in _rows(folder / LOCAL_FILE, LOCAL_COLUMNS) if (folder / LOCAL_FILE).is_file() else ():
            if name not in self._local:
                raise InputError(f"{folder / LOCAL_FILE} has local features of {json.dumps(name)}, {GLOBAL_FILE} not.")
            self._local[name].append(numbers)
            self._width = len(numbers) - 4

    def path_of(self, i: int) -> str:
        """Where the image lay; see :class:`extraction.formats.table.Source`."""
        return self._paths.get(self.names[i], "")

    def features(self, i: int) -> Features:
        """All features of one image; see :class:`extraction.formats.table.Source`."""
        name = self.names[i]
        width, height, *vector = self._images[name]
        rows = np.array(self._local[name], np.float32).reshape(-1, 4 + self._width)
        rows = rows[np.argsort(-rows[:, 3], kind="stable")]
        return Features(
            name=name,
            image_size=(int(width), int(height)),
            global_descriptor=np.array(vector, np.float32),
            keypoints=rows[:, :2],
            descriptors=rows[:, 4:],
            scores=rows[:, 3],
            scales=rows[:, 2],
        )


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Name and numbers of each row; a name is kept as it stands, with the blanks around it."""
    lines = table(path, exact=True)
    header = [name.strip() for name in next(lines, (0, []))[1]]
    if tuple(header[: len(columns)]) != columns:
        raise InputError(f"{path} expects the columns {', '.join(columns)}, .... Received: {header[:6]}")
    for number, row in lines:
        if len(row) != len(header):
            raise InputError(f"{path}, line {number}: {len(row)} values; expected {len(header)}.")
        try:
            yield row[0], np.array(row[1:], np.float64).astype(np.float32)
        except ValueError as error:
            raise InputError(f"{path}, line {number}, cannot be read: {error}") from error

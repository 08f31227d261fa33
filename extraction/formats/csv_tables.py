"""Features as CSV: ``global.csv``, a row an image, and ``local.csv``, a row a local feature."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import atomic_path, read_json, write_json
from delg.common.text_files import table
from extraction.features import Features
from extraction.formats.base import FeatureSink, FeatureSource
from extraction.formats.checks import recorded, wrong

GLOBAL_FILE, LOCAL_FILE, SETTINGS_FILE = "global.csv", "local.csv", "settings.json"
GLOBAL_COLUMNS = ("name", "width", "height")
LOCAL_COLUMNS = ("name", "x", "y", "scale", "score")


@contextmanager
def _table(path: Path, columns: Iterable[str]) -> Iterator[Any]:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        yield rows


class CsvSink(FeatureSink):
    """Writes both files, numbers with as many digits as float32 needs, and ``settings.json``."""

    def write(self, source: FeatureSource, folder: Path) -> None:
        """Writes the files."""
        dimensions = len(source.features(0).global_descriptor), source.local_width()
        columns = [
            [*names, *(f"d{i}" for i in range(count))]
            for names, count in zip((GLOBAL_COLUMNS, LOCAL_COLUMNS), dimensions)
        ]
        with _table(folder / GLOBAL_FILE, columns[0]) as images, _table(folder / LOCAL_FILE, columns[1]) as local:
            for one in self.images(source, folder):
                images.writerow([one.name, *one.image_size, *one.global_descriptor])
                numbers = np.column_stack([one.keypoints, one.scales, one.scores, one.descriptors])
                local.writerows([one.name, *row] for row in numbers)
        write_json(folder / SETTINGS_FILE, source.record())


class CsvFiles(FeatureSource):
    """Features of such files, read into memory."""

    def __init__(self, folder: Path):
        """Reads the files.

        Raises:
          InputError: a file is missing, or a row is not of numbers, of another length, or of an unknown image.
        """
        place = folder / SETTINGS_FILE
        record = recorded(read_json(place) if place.is_file() else {}, place, "CSV")
        self._images: dict[str, np.ndarray] = {}
        for name, numbers in _rows(folder / GLOBAL_FILE, GLOBAL_COLUMNS):
            if name in self._images:
                raise InputError(f"{folder / GLOBAL_FILE} holds the image {name!r} twice.")
            if not all(float(side).is_integer() for side in numbers[:2]):
                raise wrong(folder / GLOBAL_FILE, name, "its width and height are no whole numbers")
            self._images[name] = numbers
        super().__init__(folder, list(self._images), **record)
        self._local: dict[str, list[np.ndarray]] = {name: [] for name in self.names}
        self._width = 0
        for name, numbers in _rows(folder / LOCAL_FILE, LOCAL_COLUMNS) if (folder / LOCAL_FILE).is_file() else ():
            if name not in self._local:
                raise InputError(f"{folder / LOCAL_FILE} has local features of {json.dumps(name)}, {GLOBAL_FILE} not.")
            self._local[name].append(numbers)
            self._width = len(numbers) - 4

    @classmethod
    def recognizes(cls, place: Path) -> bool:
        """Whether a folder holds ``global.csv``."""
        return (place / GLOBAL_FILE).is_file()

    def local_files(self) -> list[Path]:
        """``local.csv``."""
        return [self.folder / LOCAL_FILE] if self._width else []

    def read(self, i: int) -> Features:
        """All features of image ``i``."""
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
    """Name and numbers of each row; blanks around a name are part of it."""
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

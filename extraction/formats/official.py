"""A folder of official files as a feature source: ``name.delg_global`` and, read as needed, ``name.delg_local``."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Self

import numpy as np

from delg.common.errors import InputError
from delg.common.files import files_below, read_json
from delg.common.progress import progress_bar
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from extraction.formats.checks import UNKNOWN, recorded, wrong
from protos.arrays import read_global
from protos.local_features import read_local

GLOBAL = ".delg_global"
LOCAL = (".delg_local", ".delf")  # the first that the folder holds
RECORD = "extraction.json"  # written by delg-extract beside the files; the released programs write none
EMPTY = "its global descriptor is empty, as the released extractor leaves it of very small images"
MOST_BYTES = 255  # of a file's name, on all common file systems
PATIENCE = 5.0  # seconds without a progress line


class OfficialFiles(FeatureSource):
    """Features in the files of the released DELG programs.

    The files do not say how they were made. Where ``delg-extract`` wrote them, its record lies beside them and is
    used; otherwise the settings hold the dimension only. Local features are given in the order of their scores. Their
    keypoints are in pixels of the described image, for a cropped query those of the crop. The files do not hold the
    image size, which is ``(0, 0)``.
    """

    def __init__(self, folder: Path, names: Sequence[str]):
        """Reads the global descriptors of some images, and looks whether they have local features.

        Args:
          folder: holds ``name.delg_global`` for each of the names.
          names: of the images; row ``i`` will belong to the ``i``-th that is described.

        Raises:
          InputError: a file is missing, cannot be read or is damaged, descriptors differ in dimension, or some
            images have local features and others have none.
        """
        record = _record(folder)
        skipped = {entry["name"] for entry in record["skipped"]}
        wanted = [name for name in names if name not in skipped]
        _check_complete(folder, wanted, GLOBAL)
        bar = progress_bar(wanted, desc=f"{folder.name}/*{GLOBAL}", unit="file", delay=PATIENCE)
        rows = [read_global(place_of(folder, name, GLOBAL)) for name in bar]
        empty = {name for name, row in zip(wanted, rows) if not row.size}
        if len(empty) < len(wanted):  # where no image has one, the features are local ones
            record["skipped"] += [{"name": name, "reason": EMPTY} for name in wanted if name in empty]
            rows = [row for row in rows if row.size]
            wanted = [name for name in wanted if name not in empty]
        for name, row in zip(wanted, rows):
            if not np.isfinite(row).all():
                raise wrong(folder, name, "its global_descriptor holds values that are not finite numbers")
        _check_dimensions(folder, wanted, rows)
        matrix = np.array(rows, np.float32).reshape(len(rows), -1 if rows else 0)
        if not record["settings"]:
            record["settings"] = {"extractor": f"{UNKNOWN}, official files", "global_dimension": matrix.shape[1]}
        self._local = next(
            (suffix for suffix in LOCAL if any(place_of(folder, name, suffix).is_file() for name in wanted)), None
        )
        if self._local:
            _check_complete(folder, wanted, self._local)
        super().__init__(folder, wanted, **record)
        self.global_descriptors = matrix

    @classmethod
    def recognizes(cls, place: Path) -> bool:
        """Whether a folder, or one below it, holds official files or their record."""
        return any(path.name == RECORD or path.name.endswith((GLOBAL, *LOCAL)) for path in files_below(place))

    @classmethod
    def open(cls, path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Self:
        """Opens the files of some images; of all ``NAME.delg_global`` where the names are None."""
        place = Path(path)
        if names is None:
            files = sorted(file.relative_to(place).as_posix() for file in files_below(place))
            names = [name.removesuffix(GLOBAL) for name in files if name.endswith(GLOBAL)]
            if not names:
                raise InputError(f"{place} holds no files NAME{GLOBAL}.")
        return cls(place, names)

    def local_files(self) -> list[Path]:
        """The files of local features, one an image."""
        return [place_of(self.folder, name, self._local) for name in self.names] if self._local else []

    def read(self, i: int) -> Features:
        """All features of image ``i``; its local features are read now."""
        name, descriptor = self.names[i], np.array(self.global_descriptors[i], np.float32)
        if self._local is None:
            return Features(name, (0, 0), descriptor)
        local = read_local(place_of(self.folder, name, self._local))
        order = np.argsort(-local.attention, kind="stable")
        return Features(
            name=name,
            image_size=(0, 0),
            global_descriptor=descriptor,
            keypoints=np.ascontiguousarray(local.locations[order, ::-1]),
            descriptors=local.descriptors[order],
            scores=local.attention[order],
            scales=local.scales[order],
        )


def check_name(name: str, what: str) -> None:
    """Checks that the files of an image lie in the folder that they are written to.

    Args:
      name: of the image; ``/`` stands for a folder below.
      what: source of the name, for the message.

    Raises:
      InputError: the name is absolute, or leads out of the folder.
    """
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or parts[0] == "" or ".." in parts or PurePath(name).drive:
        raise InputError(
            f"{what} expects names of images relative to their folder and without '..'. Received: {name!r}"
        )


def place_of(folder: str | os.PathLike[str], name: str, suffix: str) -> Path:
    """The file of an image; a name may hold dots.

    Raises:
      InputError: see :func:`check_name`.
    """
    check_name(name, "A folder of official files")
    return Path(folder) / f"{name}{suffix}"


def check_file_name(name: str) -> None:
    """Checks that an image's official files can have their names, before long work starts.

    Raises:
      InputError: a part of the name is longer than file systems take.
    """
    for part in f"{name}{GLOBAL}".split("/"):
        size = len(os.fsencode(part))
        if size > MOST_BYTES:
            raise InputError(
                f"An official file takes names of up to {MOST_BYTES} bytes; that of the image {name!r} would have "
                f"{size}."
            )


def _record(folder: Path) -> dict[str, Any]:
    """The record of ``delg-extract``; an empty one where other programs wrote the files."""
    if not (folder / RECORD).is_file():
        return {"settings": {}, "skipped": [], "paths": {}}
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        raise InputError(f"{folder / RECORD} is not the record of an extraction.")
    if "skipped" not in record:
        raise InputError(f"The extraction into {folder} is not finished; run its delg-extract command again.")
    return recorded(record, folder / RECORD, "official")


def _check_complete(folder: Path, names: Sequence[str], suffix: str) -> None:
    """Checks that each image has its file."""
    missing = [name for name in names if not place_of(folder, name, suffix).is_file()]
    if missing:
        raise InputError(
            f"{folder} misses the file NAME{suffix} of {len(missing)} of {len(names)} images; the first is "
            f"{place_of(folder, missing[0], suffix).name}."
        )


def _check_dimensions(folder: Path, names: Sequence[str], rows: Sequence[Floats]) -> None:
    for name, row in zip(names, rows):
        if row.size != rows[0].size:
            raise InputError(
                f"{place_of(folder, name, GLOBAL)} holds {row.size} values; expected {rows[0].size}, as in "
                f"{names[0]}{GLOBAL}."
            )

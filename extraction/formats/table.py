"""Feature stores to and from the files of other programs, by the name of a format."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from delg.common.errors import InputError
from delg.common.files import check_writable, files_below, write_json
from delg.common.progress import progress_bar
from extraction.describing import check_coordinates
from extraction.features import Features
from extraction.formats.ames import AmesFile, write_ames
from extraction.formats.checks import Checked, known_paths, local_width, record_of
from extraction.formats.csv_tables import CsvFiles, write_csv
from extraction.formats.hdf5 import HlocFiles, write_hloc
from extraction.formats.official import GLOBAL, LOCAL, RECORD, OfficialFiles, check_file_name
from extraction.formats.official_writer import write_features
from extraction.images import ImageRef
from extraction.store.reader import MANIFEST, PLAN, FeatureStore
from extraction.store.writer import StoreWriter


class Source(Protocol):
    """Features of many images, whatever they lie in.

    Attributes:
      names: of the images.
      settings: how they were made, as far as the files say.
      skipped: ``{"name", "reason"}`` of images without features.
    """

    names: list[str]
    settings: dict[str, Any]
    skipped: list[dict[str, str]]

    def features(self, i: int) -> Features:
        """All features of one image."""
        ...

    def path_of(self, i: int) -> str:
        """Where the image lay below the folder that the names start in; empty where that is not known."""
        ...


def read_official(folder: Path) -> Source:
    """A folder of ``NAME.delg_global``."""
    names = sorted(path.relative_to(folder).as_posix() for path in files_below(folder))
    found = [name.removesuffix(GLOBAL) for name in names if name.endswith(GLOBAL)]
    if not found:
        raise InputError(f"{folder} holds no files NAME{GLOBAL}.")
    return OfficialFiles.of(folder, found)


def write_official(source: Source, folder: Path) -> None:
    """Files ``NAME.delg_global`` and ``NAME.delg_local``, and their record."""
    for name in source.names:
        check_file_name(name)
    local = local_width(source) > 0
    for i in progress_bar(range(len(source.names)), desc=folder.name, unit="image"):
        features = source.features(i)
        heads = ("global",) * bool(len(features.global_descriptor)) + ("local",) * local
        write_features(folder, features, heads)
    write_json(folder / RECORD, record_of(source))


READERS: dict[str, Callable[[Path], Source]] = {
    "ames": AmesFile,
    "csv": CsvFiles,
    "hloc": HlocFiles,
    "official": read_official,
    "store": FeatureStore.open,
}
WRITERS: dict[str, Callable[[Source, Path], None]] = {
    "ames": write_ames,
    "csv": write_csv,
    "hloc": write_hloc,
    "official": write_official,
}
FORMATS = ("store", *WRITERS)


def guessed(folder: str | os.PathLike[str]) -> str:
    """The format of a folder, by the files in it; a single file is of AMES' layout.

    Raises:
      InputError: it holds none that is known.
    """
    place = Path(folder)
    if place.is_file():
        return "ames"
    if (place / MANIFEST).is_file() or (place / PLAN).is_file():
        return "store"
    for name, reader in (("hloc", HlocFiles), ("ames", AmesFile), ("csv", CsvFiles)):
        if any((place / file).is_file() for file in reader.files):
            return name
    if any(path.name.endswith((GLOBAL, *LOCAL)) for path in files_below(place)):
        return "official"
    raise InputError(f"{place} holds no features of a known format; the formats are {', '.join(FORMATS)}.")


def convert(folder: str | os.PathLike[str], output_dir: str | os.PathLike[str], to: str, local_dtype: str) -> int:
    """Writes the features of a folder in another format.

    Args:
      folder: features of any format; of the layout of AMES also a file ``DESC_SPLIT_local.hdf5``.
      output_dir: empty or absent, or a store that is not finished.
      to: a choice of :data:`FORMATS`.
      local_dtype: of a store's local descriptors, one of :data:`extraction.store.encoding.LOCAL_DTYPES`.

    Returns:
      Number of images.

    Raises:
      InputError: the features cannot be read or written so, or are damaged; names the image.
    """
    place = Path(output_dir)
    with np.errstate(over="ignore"):  # what is beyond float32 is told as not finite
        found = READERS[guessed(folder)](Path(folder))
    source = Checked(found, Path(folder))
    check_coordinates(source.settings)
    for note in getattr(found, "notes", ()):
        print(note, file=sys.stderr)
    if to == "store":
        return len(to_store(source, place, local_dtype))
    if place.is_dir() and any(place.iterdir()):
        raise InputError(f"The output folder {place} must be absent or empty; a conversion replaces nothing.")
    if getattr(found, "local_dtype", "") == "binary":
        raise InputError(f"{folder} holds binary local descriptors; only a feature store does.")
    check_writable(place)
    WRITERS[to](source, place)
    return len(source.names)


def to_store(source: Source, folder: Path, local_dtype: str) -> FeatureStore:
    """Writes features into a store; continues where an earlier run stopped."""
    order = {name: i for i, name in enumerate(source.names)}
    refs, paths = [ImageRef(name, "") for name in order], known_paths(source)
    writer = StoreWriter(folder, source.settings, refs, local_dtype=local_dtype, paths=paths)
    for shard in progress_bar(writer.missing(), desc=folder.name, unit="shard"):
        writer.write(shard, [source.features(order[ref.name]) for ref in writer.shard_images(shard)], [])
    return FeatureStore.open(folder) if writer.complete else writer.finish()

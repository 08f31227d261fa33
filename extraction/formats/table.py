"""The feature formats by name: opening features of any format, and converting between formats."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import check_writable
from delg.common.spec import Table, build, call, factory_of, parse
from extraction.formats.base import FeatureSink, FeatureSource
from extraction.formats.checks import check_coordinates

SOURCES: Table = {  # subclasses of FeatureSource, in the order in which a folder is tried
    "store": "extraction.store.reader:FeatureStore",
    "hloc": "extraction.formats.hdf5:HlocFiles",
    "ames": "extraction.formats.ames:AmesFile",
    "csv": "extraction.formats.csv_tables:CsvFiles",
    "official": "extraction.formats.official:OfficialFiles",
}
SINKS: Table = {  # subclasses of FeatureSink
    "store": "extraction.store.writer:StoreSink",
    "hloc": "extraction.formats.hdf5:HlocSink",
    "ames": "extraction.formats.ames:AmesSink",
    "csv": "extraction.formats.csv_tables:CsvSink",
    "official": "extraction.formats.official_writer:OfficialSink",
}


def open_features(text: str | os.PathLike[str], names: Sequence[str] | None = None) -> FeatureSource:
    """Opens features of any format.

    Args:
      text: a folder or file, whose format is recognized, or ``name(path="DIR")`` with a name of :data:`SOURCES` or with
        ``module:Class`` of a subclass of :class:`extraction.formats.base.FeatureSource`.
      names: of the images that are wanted, for formats with a file an image, which then read no other files.

    Raises:
      InputError: there are no features, or they are damaged or incomplete.
    """
    place = Path(text)
    if place.exists() or "(" not in str(text):
        return _source(recognized(place)).open(place, names)
    name, arguments = parse(str(text))
    source: FeatureSource = call(_source(name).open, str(text), arguments, "feature format", names=names)
    return source


def recognized(place: Path) -> str:
    """The name of the format of a folder or file.

    Raises:
      InputError: there are no features of a known format.
    """
    for name in SOURCES:
        if _source(name).recognizes(place):
            return name
    raise InputError(
        f"{place} holds no features of a known format; the formats are {', '.join(SOURCES)}. delg-extract makes a "
        "feature store."
    )


def _source(name: str) -> type[FeatureSource]:
    source = factory_of(name, SOURCES, "feature format")
    if not (isinstance(source, type) and issubclass(source, FeatureSource)):
        raise InputError(f"The feature format {name!r} is no subclass of extraction.formats.base.FeatureSource.")
    return source


def convert(text: str | os.PathLike[str], output_dir: str | os.PathLike[str], to: str, **options: Any) -> int:
    """Writes features in another format.

    Args:
      text: features of any format, see :func:`open_features`.
      output_dir: absent or empty, unless the format continues what an earlier run has begun, as a store does.
      to: ``name(argument=value)`` with a name of :data:`SINKS`, or with ``module:Class`` of a subclass of
        :class:`extraction.formats.base.FeatureSink`.
      **options: further arguments of the format, such as ``local_dtype`` of a store.

    Returns:
      Number of images.

    Raises:
      InputError: the features cannot be read, cannot be written in this format, or are damaged; names the image.
    """
    sink: FeatureSink = build(to, SINKS, "feature format", base=FeatureSink, **options)
    with np.errstate(over="ignore"):  # values beyond float32 are reported as not finite
        source = open_features(text)
    write_features(source, output_dir, sink)
    return len(source)


def write_features(source: FeatureSource, output_dir: str | os.PathLike[str], sink: FeatureSink) -> None:
    """Writes open features in another format, see :func:`convert`."""
    place = Path(output_dir)
    source.checked = True
    source.check_names()
    check_coordinates(source.settings)
    for note in source.notes:
        print(note, file=sys.stderr)
    if source.local_dtype == "binary" and not sink.binary:
        raise InputError(f"{source.folder} holds binary local descriptors; of the formats only a feature store does.")
    if not sink.continues:
        if place.is_dir() and any(place.iterdir()):
            raise InputError(f"The output folder {place} must be absent or empty; a conversion replaces nothing.")
        check_writable(place)
    sink.write(source, place)

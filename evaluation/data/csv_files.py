"""Rows of the CSV files that benchmarks are given, with the place of each for messages."""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from delg.common.errors import InputError

MAX_FIELD = 1 << 30  # characters; a query can have more relevant images than Python's 131,072 hold


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator["csv.DictReader[str]"]:
    """A reader of the file's rows; what goes wrong while it is used is answered in one sentence."""
    csv.field_size_limit(MAX_FIELD)
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            yield csv.DictReader(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}.") from error


def columns(path: str | os.PathLike[str]) -> list[str]:
    """Names of the columns of a CSV file, in its order.

    Raises:
      InputError: the file cannot be read.
    """
    with opened(path) as reader:
        return list(reader.fieldnames or [])


def rows(path: str | os.PathLike[str], wanted: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The place ("file, line 3") and the columns of every row.

    Args:
      path: the file, UTF-8, with a header.
      wanted: columns that must be there; others may be.

    Yields:
      The place and the row, in the file's order.

    Raises:
      InputError: the file cannot be read, lacks a column, or a row has too few or too many values.
    """
    with opened(path) as reader:
        names = list(reader.fieldnames or [])
        if any(column not in names for column in wanted):
            raise InputError(f"{path} expects the columns {','.join(wanted)}. Received: {','.join(names)}")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if any(row[column] is None for column in names) or None in row:
                raise InputError(f"{where}: expected {len(names)} values.")
            yield where, row

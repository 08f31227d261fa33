"""Text that people and other programs wrote: one reader of encodings, line ends, blanks and quotes for all packages.

The text is UTF-8, with or without a byte order mark, or of another Unicode encoding that its mark names (Windows
writes UTF-16 so). Text of any other encoding is refused, never guessed. Lines end in LF, CRLF or CR. There are no
comments.
"""

import codecs
import csv
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from delg.common.errors import InputError

Place = str | os.PathLike[str]
MAX_FIELD = 1 << 30  # characters; a query can have more relevant images than Python's 131,072 hold
MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def nfc(text: str) -> str:
    """The composed Unicode normal form, in which labels and names are compared."""
    return unicodedata.normalize("NFC", text)


def as_utf8(name: str) -> str:
    r"""A file name as UTF-8: other bytes become escapes such as ``\xff``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_text(path: Place, what: str = "") -> str:
    r"""The text of a file, with lines that end in ``\n``.

    Args:
      path: the file.
      what: text before the path in messages, such as ``"The image list"``.

    Raises:
      InputError: the file is missing, or is no Unicode text; the message names the line.
    """
    with _opened(path, what, newline=None) as file:
        text = file.read()
    if "\0" in text:
        raise InputError(_zero(f"{what} {os.fspath(path)}".lstrip(), text.count("\n", 0, text.index("\0")) + 1))
    return text


def read_lines(path: Place, what: str = "") -> list[tuple[int, str]]:
    """Number and text of each line without surrounding blanks; skips empty lines.

    Args and errors are those of :func:`read_text`.
    """
    numbered = enumerate(read_text(path, what).split("\n"), start=1)
    return [(number, line.strip()) for number, line in numbered if line.strip()]


def table(path: Place, *, exact: bool = False) -> Iterator[tuple[int, list[str]]]:
    r"""Line number and values of each row of a CSV file, the header among them.

    Values are separated by commas; those with commas, quotes or line breaks stand in double quotes. Blanks around a
    value do not count, outside of quotes or inside of them; a line break in a value is ``\n``; rows without any value
    are passed over.

    Args:
      path: the file.
      exact: whether values keep their blanks; lines of blanks alone are skipped.

    Yields:
      The number of a row's last line, and its values.

    Raises:
      InputError: the file cannot be read, see :func:`read_text`, or a quote is never closed.
    """
    csv.field_size_limit(MAX_FIELD)
    with _opened(path, "", newline="") as file:
        ended: list[bool] = []
        reader = csv.reader(_lines(file, os.fspath(path), ended), skipinitialspace=not exact)
        before = 0
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise InputError(f"{path}, line {before + 1}, is not CSV: {error}.") from error
            if row is None:
                return
            if ended:  # the reader asked for more while it was in a row
                raise InputError(f"{path}, line {before + 1}: a quote is opened that is never closed.")
            if not exact and reader.line_num > before + 1:
                row = [value.replace("\r\n", "\n").replace("\r", "\n") for value in row]
            if not exact or (len(row) == 1 and not row[0].strip()):
                row = list(map(str.strip, row))
            before = reader.line_num
            if any(row) or (exact and len(row) > 1):
                yield before, row


def columns(path: Place) -> list[str]:
    """Names of the columns of a CSV file, in its order.

    Raises:
      InputError: the file cannot be read, see :func:`table`.
    """
    return _header(table(path))


def rows(path: Place, required: tuple[str, ...], filled: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and columns of every row of a CSV file with a header; see :func:`table`.

    Args:
      path: the file.
      required: columns that the file must have; further columns are allowed.
      filled: required columns that must have a value in every row.

    Yields:
      The place (``"file, line 3"``), for messages, and the row.

    Raises:
      InputError: the file cannot be read, a required column is missing or occurs twice, or a row has too few or too
        many values or lacks a required value.
    """
    lines = table(path)
    names = _header(lines)
    if any(names.count(name) != 1 for name in required):
        twice = [name for name in required if names.count(name) > 1]
        received = f"the column {twice[0]} twice" if twice else ",".join(names) or "an empty file"
        raise InputError(f"{path} expects the columns {','.join(required)}. Received: {received}")
    width, needed = len(names), [names.index(name) for name in filled]
    for number, values in lines:
        where = f"{path}, line {number}"
        while len(values) > width and not values[-1]:
            values.pop()
        if len(values) != width:
            raise InputError(f"{where}: expected {width} values. Received: {len(values)}")
        for column in needed:
            if not values[column]:
                raise InputError(f"{where}: no value for {names[column]}.")
        yield where, dict(zip(names, values, strict=True))


def _header(lines: Iterator[tuple[int, list[str]]]) -> list[str]:
    """The first row, without the empty names that spreadsheets leave at its end."""
    _, names = next(lines, (0, []))
    while names and not names[-1]:
        names.pop()
    return names


def _lines(file: TextIO, place: str, ended: list[bool]) -> Iterator[str]:
    """The lines of an open file, each checked to be text; ``ended`` is filled after the last line."""
    for number, line in enumerate(file, start=1):
        if "\0" in line:
            raise InputError(_zero(place, number))
        yield line
    ended.append(True)


@contextmanager
def _opened(path: Place, what: str, newline: str | None) -> Iterator[TextIO]:
    """Opens a text file; every failure becomes one sentence."""
    place = f"{what} {os.fspath(path)}".lstrip()
    try:
        with open(path, "rb") as head:  # noqa: PTH123
            first = head.read(4)
        encoding = next((name for mark, name in MARKS if first.startswith(mark)), "utf-8")
        with open(path, encoding=encoding, newline=newline) as file:  # noqa: PTH123
            yield file
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror or error}.") from error
    except UnicodeError as error:
        if encoding in ("utf-8", "utf-8-sig"):
            raise InputError(f"{place}{_fault(path)}") from error
        raise InputError(f"{place} begins as {encoding.upper()} text and is not: {error}.") from error


def _fault(path: Place) -> str:
    """The sentence for a file that is not UTF-8: the line, and the remedy."""
    with open(path, "rb") as file:  # noqa: PTH123
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return (
                    f", line {number}, byte {error.start + 1}: {line[error.start : error.start + 1].hex()} is not "
                    f"UTF-8; a file in Latin-1 becomes so with: iconv -f LATIN1 -t UTF-8 {os.fspath(path)} > FILE"
                )
    return " is not UTF-8."


def _zero(place: str, number: int) -> str:
    return f"{place}, line {number}, holds a zero byte: it is no text, or UTF-16 without the mark that says so."

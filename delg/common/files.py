"""Files that are whole or absent: each is written to a temporary path and renamed."""

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.text_files import read_text

TOKEN = 12  # hexadecimal digits in the name of a temporary
SHORT = 64  # bytes of a name that every file system takes
CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that begin no character
BLOCK, BLOCKS = 1 << 16, 64  # bytes and number of the samples of a large file


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; on success it is renamed to ``path``, on failure it is removed.

    The caller may create a file or a directory at the temporary path. An existing file at ``path`` is replaced;
    an existing directory is moved aside first and removed afterwards.

    Args:
      path: the final path; its folder is made if absent.

    Yields:
      The temporary path, in the same folder. The temporary name ends like the final name and is no longer, so that a
      file system that accepts the final name accepts both.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(final)
    try:
        yield temporary
        if final.is_dir():
            previous = _beside(final)
            final.replace(previous)
            temporary.replace(final)
            shutil.rmtree(previous, ignore_errors=True)
        else:
            temporary.replace(final)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _beside(final: Path) -> Path:
    """A new hidden path in the folder of a file, with a name of 64 bytes, or as long as the name of the file."""
    name = os.fsencode(final.name)
    mark = f".{secrets.token_hex(TOKEN // 2)}."
    room = max(len(name), SHORT) - len(mark)
    end = name[-room:].lstrip(CONTINUATION) if len(name) > room else name  # no part of a character
    return final.with_name(mark + os.fsdecode(end))


def remove_leftovers(folder: str | os.PathLike[str], pattern: str) -> None:
    """Removes temporary files of :func:`atomic_path` that killed runs left behind.

    Args:
      folder: the folder of the final files or directories; it may be absent.
      pattern: glob of the final names, such as ``"shard-*"``; it also matches the ends of long names, which temporary
        names are cut to.
    """
    for stray in Path(folder).glob(f".{'[0-9a-f]' * TOKEN}.{pattern}"):
        if stray.is_dir() and not stray.is_symlink():
            shutil.rmtree(stray, ignore_errors=True)
        else:
            stray.unlink(missing_ok=True)


def files_below(
    folder: str | os.PathLike[str],
    above: Iterable[str | os.PathLike[str]] = (),
    onerror: Callable[[OSError], None] | None = None,
    *,
    inside: bool = False,
) -> list[Path]:
    """Files below a folder in any order, without hidden files; follows links, but visits each real folder once.

    Args:
      folder: the folder.
      above: folders that a link must not lead back to.
      onerror: called for a folder that cannot be read; None passes over it.
      inside: take a link to a folder outside as a file, see :func:`leads_out`, and follow it no further.
    """
    visible, visited = [], {os.path.realpath(place) for place in above}
    for place, folders, files in os.walk(folder, onerror=onerror, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if inside:
            outside = [name for name in folders if leads_out(Path(place, name), folder)]
            folders[:] = [name for name in folders if name not in outside]
            visible += [Path(place) / name for name in outside]
        visible += [Path(place) / name for name in files if not name.startswith(".")]
    return visible


def leads_out(file: Path, folder: str | os.PathLike[str]) -> bool:
    """Whether a path below a folder is a link to a place outside of the folder."""
    return file.is_symlink() and not file.resolve().is_relative_to(Path(folder).resolve())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a JSON document atomically, indented, floats in full precision."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON document.

    Raises:
      InputError: the file is missing, is no text (see :func:`delg.common.text_files.read_text`), or is not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{os.fspath(path)} cannot be read as JSON: {error}") from error


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()


def recorded_sha256(path: Path, record: Path, recorded: str | None) -> str:
    """Hexadecimal SHA-256 of a file, which is read only where it may have changed since its hash was recorded.

    Args:
      path: the file.
      record: the file in which the hash stands, written after it.
      recorded: the hash; None where there is none.

    Returns:
      ``recorded`` where the file system has seen no change of the file since that of the record. A copy of both may
      look changed, and is read.
    """
    changed = recorded is None or path.stat().st_ctime_ns >= record.stat().st_ctime_ns
    return sha256(path) if changed else str(recorded)


def json_sha256(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sampled_sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file up to 4 MiB; of a larger one, of 64 blocks of 64 KiB spread evenly over it.

    Takes the same time for large files; detects files that were truncated, overwritten or replaced.
    """
    size = os.path.getsize(path)  # noqa: PTH202
    starts = (
        range(0, size, BLOCK) if size <= BLOCKS * BLOCK else [i * (size - BLOCK) // (BLOCKS - 1) for i in range(BLOCKS)]
    )
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:  # noqa: PTH123
        for start in starts:
            file.seek(start)
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def check_writable(folder: str | os.PathLike[str]) -> Path:
    """Makes an output folder and checks that a file can be written in it, before long work starts.

    Raises:
      InputError: the folder cannot be made or written.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"0")
    except OSError as error:
        raise InputError(f"The output folder {place} cannot be written: {error.strerror or error}.") from error
    return place

"""The state of a collection on disk: one SQLite file. Many processes may read while one writes.

Tables::

    facts           name -> JSON value: format, version, and how photos are described
    descriptions    what is computed, by the SHA-256 of a file's bytes: size in pixels, global descriptor, local
                    features
    photos          what is searched, by path: size and times of the file, its SHA-256, and its description or the
                    reason why there is none

So a photo that is renamed, moved or copied keeps its description, and a description that is finished survives a stop at
any moment. A transaction makes all changes of a synchronisation visible at once; a reader sees the state before or
after (SQLite's write-ahead log).
"""

import fcntl
import json
import math
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError, first_line
from delg.common.files import check_writable
from extraction.features import Features, Floats
from extraction.store.encoding import Encoding

FILE, LOCK = "collection.sqlite", "lock"
FORMAT, VERSION = "delg collection", 1
SECONDS = 30  # that a transaction waits for that of another process
TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE descriptions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, sha256 TEXT NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL,
  global BLOB NOT NULL, local BLOB
);
CREATE TABLE photos (
  path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
  read_ns INTEGER NOT NULL, sha256 TEXT NOT NULL, description INTEGER, reason TEXT
) WITHOUT ROWID;
"""


class Photo(NamedTuple):
    """A row of ``photos``.

    Attributes:
      path: below the folder, with ``/``.
      size: of the file in bytes.
      mtime_ns: time of its last change, in nanoseconds.
      ctime_ns: time of the last change of its entry in the file system, in nanoseconds.
      read_ns: when it was read for ``sha256``, in nanoseconds.
      sha256: hexadecimal, of its bytes.
      description: row of ``descriptions``; None for a file that cannot be described.
      reason: why it cannot be described.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    read_ns: int
    sha256: str
    description: int | None = None
    reason: str | None = None


class Transaction:
    """Statements on one state of the database."""

    def __init__(self, connection: sqlite3.Connection):
        self._run = connection.execute
        self._run_many = connection.executemany

    def facts(self) -> dict[str, Any]:
        """How photos are described; empty before the first one is."""
        try:
            return {name: json.loads(value) for name, value in self._run("SELECT name, value FROM facts")}
        except ValueError as error:
            raise sqlite3.DatabaseError(f"facts: {first_line(error)}") from error

    def set_facts(self, facts: dict[str, Any]) -> None:
        """Adds or replaces facts."""
        self._run_many("REPLACE INTO facts VALUES (?, ?)", [(name, json.dumps(value)) for name, value in facts.items()])

    def photos(self) -> list[Photo]:
        """All files, sorted by path."""
        return [Photo(*row) for row in self._run("SELECT * FROM photos ORDER BY path")]

    def photo(self, path: str) -> Photo | None:
        """The file of a path."""
        row = self._run("SELECT * FROM photos WHERE path = ?", (path,)).fetchone()
        return Photo(*row) if row else None

    def searchable(self) -> list[tuple[str, int]]:
        """Path and description of each photo that has one, sorted by path."""
        return self._run("SELECT path, description FROM photos WHERE description IS NOT NULL ORDER BY path").fetchall()

    def changes(self) -> int:
        """A number that grows with each change of the photos."""
        row = self._run("SELECT value FROM facts WHERE name = 'changes'").fetchone()
        return int(row[0]) if row else 0

    def put(self, photos: Iterable[Photo]) -> None:
        """Adds files, or replaces those of the same path."""
        self._change("REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?)", list(photos))

    def remove(self, paths: Iterable[str]) -> None:
        """Removes files; their descriptions stay until :meth:`forget`."""
        self._change("DELETE FROM photos WHERE path = ?", [(path,) for path in paths])

    def _change(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self.set_facts({"changes": self.changes() + 1})
            self._run_many(statement, rows)

    def forget(self) -> int:
        """Removes the descriptions that no photo has, and returns their number."""
        statement = (
            "DELETE FROM descriptions WHERE id NOT IN (SELECT description FROM photos WHERE description NOT NULL)"
        )
        return int(self._run(statement).rowcount)

    def described(self, sha256: str) -> int | None:
        """The description of files with these bytes."""
        row = self._run("SELECT id FROM descriptions WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else int(row[0])

    def describe(self, sha256: str, features: Features, encoding: Encoding | None) -> int:
        """Adds a description.

        Args:
          sha256: of the bytes of the file.
          features: of the photo.
          encoding: of local features; None where they are not computed yet.

        Returns:
          Its row; that of the description that is there already, if there is one.
        """
        vector = np.ascontiguousarray(features.global_descriptor, "<f4").tobytes()
        local = None if encoding is None else encoded(features, encoding)
        self._run(
            "INSERT OR IGNORE INTO descriptions (sha256, width, height, global, local) VALUES (?, ?, ?, ?, ?)",
            (sha256, *features.image_size, vector, local),
        )
        row = self.described(sha256)
        assert row is not None
        return row

    def add_local(self, row: int, features: Features, encoding: Encoding) -> None:
        """Adds the local features of a description that has none yet."""
        local = encoded(features, encoding)
        self._run("UPDATE descriptions SET local = ? WHERE id = ? AND local IS NULL", (local, row))

    def vectors(self, rows: Sequence[int]) -> Floats:
        """``(N, D)`` global descriptors of descriptions."""
        found = [self._run("SELECT global FROM descriptions WHERE id = ?", (row,)).fetchone()[0] for row in rows]
        return np.frombuffer(b"".join(found), "<f4").reshape(len(rows), -1 if rows else 0)

    def without_local(self, rows: Iterable[int] | None = None) -> list[int]:
        """Of some descriptions, or of those of all photos, the ones whose local features are not computed yet."""
        if rows is None:
            statement = (
                "SELECT DISTINCT description FROM photos JOIN descriptions ON description = id WHERE local IS NULL"
            )
            return [row for (row,) in self._run(statement)]
        missing = "SELECT 1 FROM descriptions WHERE id = ? AND local IS NULL"
        return [row for row in rows if self._run(missing, (row,)).fetchone()]

    def local_bytes(self) -> int:
        """Bytes of all local features."""
        return int(self._run("SELECT COALESCE(SUM(LENGTH(local)), 0) FROM descriptions").fetchone()[0])

    def features(self, row: int, name: str, encoding: Encoding) -> Features:
        """The features of a description; without local features where these are not computed yet.

        Args:
          row: of the description.
          name: of the photo.
          encoding: of local features.
        """
        width, height, vector, local = self._run(
            "SELECT width, height, global, local FROM descriptions WHERE id = ?", (row,)
        ).fetchone()
        parts = {} if local is None else decoded(local, encoding)
        return Features(name, (width, height), np.frombuffer(vector, "<f4"), **parts)


def encoded(features: Features, encoding: Encoding) -> bytes:
    """Local features of one photo: a line of JSON with name, dtype and shape of each array, then their bytes."""
    arrays = {name: np.ascontiguousarray(array) for name, array in encoding.encode([features]).items()}
    head = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    return b"".join([json.dumps(head).encode(), b"\n", *(array.tobytes() for array in arrays.values())])


def decoded(data: bytes, encoding: Encoding) -> dict[str, NDArray[Any]]:
    """The arrays of :class:`Features` from what :func:`encoded` gives."""
    try:
        place = data.index(b"\n") + 1
        arrays = {}
        for name, dtype, shape in json.loads(data[:place]):
            count = math.prod(shape)
            arrays[name] = np.frombuffer(data, dtype, count, place).reshape(shape)
            place += arrays[name].nbytes
        return encoding.decode(arrays, slice(None), 0)
    except (ValueError, KeyError, TypeError) as error:
        raise sqlite3.DatabaseError(f"local features: {first_line(error)}") from error


class State:
    """The file of one collection. Threads may share it.

    Attributes:
      folder: holds the file.
      writable: whether this process may change it.
    """

    def __init__(self, folder: Path):
        """Opens the state, or makes an empty one where there is none.

        Args:
          folder: is made if it does not exist.

        Raises:
          InputError: the folder cannot be written and holds no state, or the file is damaged or of another version.
        """
        self.folder, self._file = folder, folder / FILE
        if not self._file.exists():
            check_writable(folder)
        self.writable = os.access(folder, os.W_OK) and (not self._file.exists() or os.access(self._file, os.W_OK))
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._writer = threading.RLock()
        self._held = False  # the right to synchronise, by the thread that holds _writer
        with self._errors():
            if self.writable:
                self._create()
            with self.reading() as transaction:
                facts = transaction.facts()
        if facts.get("format") != FORMAT or facts.get("version") != VERSION:
            raise InputError(
                f"{self._file} is not the state of a collection of version {VERSION}; remove it, or choose another "
                "place with --collection."
            )

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one state, whatever others write meanwhile."""
        connection = self._connection()
        try:
            with self._errors():
                connection.execute("BEGIN")
                yield Transaction(connection)
        finally:
            with suppress(sqlite3.Error):
                connection.rollback()
            if self.writable:
                self._idle.put(connection)
            else:  # the next one finds whether somebody writes now
                connection.close()

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction whose changes others see all at once, after its end; none of them after an error.

        Raises:
          InputError: the state cannot be written, or the disk is full.
        """
        self.check_writable()
        connection = self._connection()
        with self._writer, self._errors():
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield Transaction(connection)
                connection.commit()
            finally:
                with suppress(sqlite3.Error):
                    connection.rollback()
                self._idle.put(connection)

    @contextmanager
    def alone(self, *, wait: bool = True) -> Iterator[bool]:
        """Holds the right to synchronise, which one thread of one process has at a time.

        Args:
          wait: for another one to end; otherwise the block runs without the right.

        Yields:
          Whether the right is held.
        """
        self.check_writable()
        if not self._writer.acquire(blocking=wait):
            yield False
            return
        try:
            if self._held:  # by this thread, further out
                yield True
                return
            with (self.folder / LOCK).open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                except BlockingIOError:
                    yield False
                    return
                self._held = True
                try:
                    yield True
                finally:
                    self._held = False
        finally:
            self._writer.release()

    def check_writable(self) -> None:
        """Raises InputError where the state cannot be changed."""
        if not self.writable:
            raise InputError(f"The collection's state in {self.folder} cannot be written; it can only be searched.")

    def close(self) -> None:
        """Closes the file; a further use opens it again."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _connection(self) -> sqlite3.Connection:
        with suppress(Empty):
            return self._idle.get_nowait()
        mode = "rwc" if self.writable else "ro"
        log = self._file.with_name(f"{FILE}-wal")
        if not self.writable and not os.access(self.folder, os.W_OK) and not log.exists():
            mode += "&immutable=1"  # SQLite could not make the index of its write-ahead log
        with self._errors():
            connection = sqlite3.connect(
                f"{self._file.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            if self.writable:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _create(self) -> None:
        with self.reading() as transaction:
            if transaction._run("SELECT 1 FROM sqlite_master").fetchone():
                return
        with self.writing() as transaction:
            run = transaction._run
            if not run("SELECT 1 FROM sqlite_master").fetchone():
                for statement in TABLES.split(";"):
                    run(statement)
                transaction.set_facts({"format": FORMAT, "version": VERSION})

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = str(error)
            if isinstance(error, sqlite3.OperationalError) and "no such" not in text:
                raise InputError(f"The collection's state {self._file} cannot be used: {text}.") from error
            raise InputError(
                f"The collection's state {self._file} is damaged: {text}; remove it, and the next synchronisation "
                "describes all photos again."
            ) from error

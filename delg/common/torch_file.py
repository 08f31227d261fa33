"""Reads files of ``torch.save`` without PyTorch: the archive of PyTorch 1.6 and later, and the stream before it."""

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

from delg.common.errors import InputError
from delg.common.torch_pickle import Storage, StorageType, Tensor, TensorUnpickler

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
ZIP_START = b"PK\x03\x04"
STREAM_START = pickle.dumps(MAGIC_NUMBER, 2)
STATE_KEYS = ("model_state", "state_dict", "model_state_dict", "state")


def is_torch_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts as a PyTorch stream, or is an archive that holds a ``data.pkl``."""
    with Path(path).open("rb") as file:
        start = file.read(len(STREAM_START))
    if start.startswith(ZIP_START):
        try:
            with zipfile.ZipFile(path) as archive:
                return any(_is_index(name) for name in archive.namelist())
        except zipfile.BadZipFile:
            return False
    return start == STREAM_START


def read_torch(path: str | os.PathLike[str]) -> Any:
    """Reads a file written by ``torch.save``.

    Args:
      path: the file.

    Returns:
      The object: dicts, lists, tuples, numbers, texts, and :class:`delg.common.torch_pickle.Tensor` whose values are
      read on demand.

    Raises:
      InputError: it is no such file, is broken, or asks for anything but parts of tensors; then nothing of it was run.
    """
    with Path(path).open("rb") as file:
        start = file.read(len(ZIP_START))
    if start == ZIP_START:
        return _read_archive(Path(path))
    return _read_stream(Path(path))


def state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The named tensors of a checkpoint: its ``model_state`` where it has one, or all of it.

    Raises:
      InputError: as :func:`read_torch`, or the file holds something else.
    """
    document = read_torch(path)
    if isinstance(document, Mapping):
        document = next((document[key] for key in STATE_KEYS if key in document), document)
    if not isinstance(document, Mapping) or not document:
        raise InputError(f"{path} holds no weights by name: expected a dict of tensors, or one as 'model_state'.")
    for name, value in document.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(f"{path} holds no weights by name: {name!r} is a {type(value).__name__}, not a tensor.")
    return dict(document)


def _is_index(name: str) -> bool:
    return name == "data.pkl" or name.endswith("/data.pkl")


def _read_archive(path: Path) -> Any:
    """``PREFIX/data.pkl`` with the object, ``PREFIX/data/KEY`` with the raw values of each storage."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path} cannot be read as a PyTorch file: {error}.") from error
    indices = [name for name in archive.namelist() if _is_index(name)]
    if len(indices) != 1:
        raise InputError(f"{path} cannot be read as a PyTorch file: expected one data.pkl, found {len(indices)}.")
    prefix = indices[0].removesuffix("data.pkl")

    def entry(name: str) -> bytes:
        try:
            if archive.getinfo(prefix + name).compress_type != zipfile.ZIP_STORED:
                raise InputError(f"{path} is not written by PyTorch: the entry {prefix}{name} is compressed.")
            return archive.read(prefix + name)
        except KeyError as error:
            raise InputError(f"{path} is incomplete: it lacks the entry {prefix}{name}.") from error
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise InputError(f"{path} is damaged: the entry {prefix}{name} cannot be read: {error}.") from error

    big = f"{prefix}byteorder" in archive.namelist() and entry("byteorder").strip() == b"big"
    order: Literal["<", ">"] = ">" if big else "<"

    def storage(kind: StorageType, key: str, numel: int) -> Storage:
        if (kind, key, numel) not in storages:
            storages[kind, key, numel] = Storage(kind, key, numel, lambda it: entry(f"data/{it.key}"), order)
        return storages[kind, key, numel]

    storages: dict[tuple[StorageType, str, int], Storage] = {}
    return TensorUnpickler(io.BytesIO(entry("data.pkl")), str(path), storage).load()


class _Stream:
    """The places of a stream's storages, known once the pickles before them are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.order: Literal["<", ">"] = "<"
        self.storages: dict[str, Storage] = {}
        self.places: dict[str, tuple[int, int]] = {}

    def storage(self, kind: StorageType, key: str, numel: int) -> Storage:
        stored = self.storages.setdefault(key, Storage(kind, key, numel, self.bytes_of, self.order))
        if (stored.type, stored.numel) != (kind, numel):
            raise InputError(f"{self.path} is damaged: the storage {key} is declared twice, in two ways.")
        return stored

    def bytes_of(self, storage: Storage) -> bytes:
        if storage.key not in self.places:
            raise InputError(f"{self.path} is incomplete: it lacks the storage {storage.key}.")
        start, length = self.places[storage.key]
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def locate(self, file: BinaryIO, keys: Any) -> None:
        """Walks over the storages: each is its number of elements, 8 bytes, and its values."""
        end = self.path.stat().st_size
        for key in keys if isinstance(keys, list) else [keys]:
            stored, count = self.storages.get(str(key)), file.read(8)
            if stored is None or len(count) < 8 or struct.unpack(f"{self.order}q", count)[0] != stored.numel:
                raise InputError(f"{self.path} is damaged: the storage {key} is not where it should be.")
            length = stored.numel * stored.type.itemsize
            self.places[stored.key] = (file.tell(), length)
            if file.seek(length, os.SEEK_CUR) > end:
                raise InputError(f"{self.path} is incomplete: it ends inside the storage {key}.")


def _read_stream(path: Path) -> Any:
    """Five pickles (magic number, version, system, object, storage keys), then the storages in that order."""
    stream = _Stream(path)
    with path.open("rb") as file:

        def part() -> Any:
            return TensorUnpickler(file, str(path), stream.storage).load()

        if file.read(len(STREAM_START)) != STREAM_START or part() != PROTOCOL_VERSION:
            raise InputError(f"{path} is not a file of PyTorch: it starts neither as its archive nor as its stream.")
        system = part()
        if isinstance(system, dict) and system.get("little_endian") is False:
            stream.order = ">"
        document = part()
        stream.locate(file, part())
    return document

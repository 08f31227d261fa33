"""Writes files as ``torch.save`` does, without PyTorch: both containers, with views and types at will."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

STORAGES = {
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "u2": "BFloat16Storage",
}
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Name:
    """A global that is named without being there."""

    module: str
    name: str

    def __call__(self, *_: Any) -> None:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class SavedStorage:
    values: np.ndarray

    def kind(self) -> str:
        return STORAGES[self.values.dtype.newbyteorder("=").str[1:]]


@dataclass(frozen=True, eq=False)
class SavedTensor:
    storage: SavedStorage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def tensor(array: np.ndarray) -> SavedTensor:
    """A tensor with a storage of its own."""
    array = np.array(array, order="C")
    strides = tuple(step // array.itemsize for step in array.strides)
    return SavedTensor(SavedStorage(array.reshape(-1)), 0, array.shape, strides)


def zeros(shape: tuple[int, ...], storage: SavedStorage) -> SavedTensor:
    """A tensor at the start of a shared storage."""
    return SavedTensor(storage, 0, shape, tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape))))


class _Pickler(pickle._Pickler):  # the one in Python, whose table of types can be added to
    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def __init__(self, file: Any, storages: list[SavedStorage], legacy: bool) -> None:
        super().__init__(file, 2)
        self.storages, self.legacy = storages, legacy

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, SavedStorage):
            return None
        if not any(obj is known for known in self.storages):
            self.storages.append(obj)
        key = next(str(i) for i, known in enumerate(self.storages) if obj is known)
        pid = ("storage", Name("torch", obj.kind()), key, "cpu", obj.values.size)
        return (*pid, None) if self.legacy else pid

    def save_name(self, obj: Name) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    def save_tensor(self, obj: SavedTensor) -> None:
        arguments = (obj.storage, obj.offset, obj.shape, obj.strides, False, OrderedDict())
        self.save_reduce(Name("torch._utils", "_rebuild_tensor_v2"), arguments, obj=obj)

    dispatch[Name] = save_name
    dispatch[SavedTensor] = save_tensor


@dataclass
class TorchFile:
    """What goes into a file; tests break single fields."""

    document: Any
    prefix: str = "archive/"
    order: str = "<"
    compression: int = zipfile.ZIP_STORED
    entries: dict[str, bytes] = field(default_factory=dict)

    def archive(self, path: Path) -> Path:
        """Writes the container of PyTorch 1.6 and later; ``entries`` replaces entries."""
        storages: list[SavedStorage] = []
        index = self._pickled(storages, legacy=False)
        entries = {"data.pkl": index, "byteorder": b"little" if self.order == "<" else b"big", "version": b"3\n"}
        entries |= {f"data/{i}": self._raw(storage) for i, storage in enumerate(storages)}
        with zipfile.ZipFile(path, "w", self.compression) as file:
            for name, data in (entries | self.entries).items():
                file.writestr(self.prefix + name, data)
        return path

    def stream(self, path: Path) -> Path:
        """Writes the container before that."""
        storages: list[SavedStorage] = []
        index = self._pickled(storages, legacy=True)
        system = {"protocol_version": 1001, "little_endian": self.order == "<", "type_sizes": {"int": 4, "long": 4}}
        keys = [str(i) for i in range(len(storages))]
        with path.open("wb") as file:
            file.writelines(pickle.dumps(part, 2) for part in (MAGIC_NUMBER, 1001, system))
            file.write(index)
            file.write(pickle.dumps(keys, 2))
            for storage in storages:
                file.write(struct.pack(f"{self.order}q", storage.values.size) + self._raw(storage))
        return path

    def _pickled(self, storages: list[SavedStorage], legacy: bool) -> bytes:
        file = io.BytesIO()
        _Pickler(file, storages, legacy).dump(self.document)
        return file.getvalue()

    def _raw(self, storage: SavedStorage) -> bytes:
        return storage.values.astype(storage.values.dtype.newbyteorder(self.order)).tobytes()

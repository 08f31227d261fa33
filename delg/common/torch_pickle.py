"""The tensors of a PyTorch file, read from its pickle without PyTorch; see :mod:`delg.common.restricted_pickle`."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO, Literal

import numpy as np

from delg.common.errors import InputError
from delg.common.restricted_pickle import InertDict, Part, RestrictedUnpickler, Sealed, encode

CODES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
MAPPINGS = {
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("yacs.config", "CfgNode"),
    ("fvcore.common.config", "CfgNode"),
    ("argparse", "Namespace"),
}
SCALARS = {("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"), ("numpy", "dtype")}


@dataclass(frozen=True)
class StorageType(Sealed):
    """The element type that a storage's class name stands for."""

    name: str

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(CODES[self.name]).itemsize


@dataclass(frozen=True, eq=False)
class Storage(Sealed):
    """A flat run of values in the file, read when it is first needed.

    Attributes:
      type: element type.
      key: its name in the file.
      numel: number of elements that the file declares.
      read: the raw bytes by key.
      order: byte order of the values.
    """

    type: StorageType
    key: str
    numel: int
    read: "Callable[[Storage], bytes]" = field(repr=False)
    order: Literal["<", ">"] = "<"
    _kept: list[np.ndarray] = field(default_factory=list, repr=False)

    def values(self) -> np.ndarray:
        """All elements, ``(numel,)``; bfloat16 comes as its 16 bits.

        Raises:
          InputError: the file holds another number of bytes than it declares.
        """
        if not self._kept:
            data = self.read(self)
            if len(data) != self.numel * self.type.itemsize:
                wanted = self.numel * self.type.itemsize
                raise InputError(f"The storage {self.key} should have {wanted} bytes and has {len(data)}.")
            self._kept.append(np.frombuffer(data, np.dtype(CODES[self.type.name]).newbyteorder(self.order)))
        return self._kept[0]


@dataclass(frozen=True, eq=False)
class Tensor(Sealed):
    """A view of a storage: offset, shape and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The values in C order and native byte order; bfloat16 becomes float32.

        Raises:
          InputError: the view reaches outside its storage or repeats it.
        """
        values = self.storage.values()
        self._check(values.size)
        steps = tuple(stride * values.itemsize for stride in self.strides)
        start = self.offset * values.itemsize if prod(self.shape) else 0
        view = np.ndarray(self.shape, values.dtype, values, start, steps)
        view = np.array(view, values.dtype.newbyteorder("="), order="C")
        if self.storage.type.name == "BFloat16Storage":
            return np.asarray(np.left_shift(view, 16, dtype=np.uint32)).view(np.float32)
        return view

    def _check(self, size: int) -> None:
        """``size`` is the number of elements that are there."""
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if prod(self.shape) and (last >= size or prod(self.shape) > size):
            raise InputError(
                f"A tensor of shape {self.shape}, strides {self.strides} and offset {self.offset} does not lie in its "
                f"storage {self.storage.key} of {size} elements."
            )


class Inert(Sealed):
    """Stands for a value that no weight needs."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Takes no state."""


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """The arguments of ``torch._utils._rebuild_tensor_v2``; gradient flag, hooks and metadata are dropped."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Storage) or len(size) != len(stride) or len(size) > 32:
        raise pickle.UnpicklingError("a tensor is not made of a storage, a size and as many strides")
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise pickle.UnpicklingError(f"a tensor has the offset, size or strides {numbers}")
    return Tensor(storage, offset, tuple(size), tuple(stride))


def rebuild_parameter(data: Any, *_: Any) -> Tensor:
    """The arguments of ``torch._utils._rebuild_parameter``."""
    if not isinstance(data, Tensor):
        raise pickle.UnpicklingError("a parameter holds no tensor")
    return data


PARTS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): Part(rebuild_tensor),
    ("torch._utils", "_rebuild_tensor"): Part(rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Part(rebuild_parameter),
    ("torch", "Size"): Part(tuple),
    ("_codecs", "encode"): Part(encode),
    **{(module, "set"): Part(tuple) for module in ("builtins", "__builtin__")},
    **{(module, name): StorageType(name) for module in ("torch", "torch.cuda") for name in CODES},
    **dict.fromkeys(SCALARS, Part(lambda *_: Inert())),
    **dict.fromkeys(MAPPINGS, InertDict),
}


class TensorUnpickler(RestrictedUnpickler):
    """Reads one pickle of a PyTorch file.

    Args:
      file: positioned at the pickle.
      source: the file's name, for messages.
      storage: makes the storage of a type, a key and a number of elements.
    """

    admitted = PARTS
    content = "a PyTorch file of tensors, as torch.save(model.state_dict()) writes it"

    def __init__(self, file: BinaryIO, source: str, storage: Callable[[StorageType, str, int], Storage]) -> None:
        super().__init__(file, source)
        self.storage = storage

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a persistent id ``("storage", type, key, location, numel)`` stands for."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"it has {str(pid)[:80]} in the place of a storage")
        _, kind, key, _, numel, *view = pid
        if any(part is not None for part in view):
            raise pickle.UnpicklingError("views of storages, of PyTorch before 0.4, are not read")
        if not isinstance(kind, StorageType) or type(numel) is not int or not 0 <= numel < 2**48:
            raise pickle.UnpicklingError(f"a storage has the type {kind} and {numel} elements")
        return self.storage(kind, str(key), numel)

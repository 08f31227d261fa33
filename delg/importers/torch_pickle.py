"""A pickle reader for PyTorch files that knows the parts of a tensor and nothing else.

A pickle is a program that may name any Python object and call it. Here every name that is asked for is looked up in one
table of inert stand-ins; a name that is not there ends the reading before anything of the file has been run.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO, Literal

import numpy as np

from delg.common.errors import InputError

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


class Sealed:
    """Refuses the state that a pickle may try to give to an object of ours."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the file sets the state of an object that has none")


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


class InertDict(dict):
    """Stands for an ordered dictionary or a configuration: the items are kept, attributes are dropped."""

    def __setstate__(self, state: Any) -> None:
        """Takes no state."""


class Inert(Sealed):
    """Stands for a value that no weight needs."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Takes no state."""


class Part(Sealed):
    """One of our functions, as the only callable that a pickle gets to see."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function."""
        return self._function(*arguments)


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


def _encode(text: Any, *_: Any) -> bytes:
    return str(text).encode("latin1")


PARTS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): Part(rebuild_tensor),
    ("torch._utils", "_rebuild_tensor"): Part(rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Part(rebuild_parameter),
    ("torch", "Size"): Part(tuple),
    ("_codecs", "encode"): Part(_encode),
    **{(module, "set"): Part(tuple) for module in ("builtins", "__builtin__")},
    **{(module, name): StorageType(name) for module in ("torch", "torch.cuda") for name in CODES},
    **dict.fromkeys(SCALARS, Part(lambda *_: Inert())),
}


class TensorUnpickler(pickle._Unpickler):
    """Reads one pickle of a PyTorch file.

    The reader is the one in Python: the faster one in C takes as much memory as a broken file asks for.

    Args:
      file: positioned at the pickle.
      source: the file's name, for messages.
      storage: makes the storage of a type, a key and a number of elements.
    """

    def __init__(self, file: BinaryIO, source: str, storage: Callable[[StorageType, str, int], Storage]) -> None:
        super().__init__(file, encoding="latin1")
        self.source, self.storage = source, storage

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a global; refuses what is not in the table."""
        if (module, name) in MAPPINGS:
            return InertDict
        if (module, name) not in PARTS:
            raise InputError(
                f"{self.source} asks for the Python object {module}.{name}, which is no part of a tensor; the file is "
                "refused and nothing of it was run (a file of plain weights is made by torch.save(model.state_dict()))."
            )
        return PARTS[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a persistent id ``("storage", type, key, location, numel)`` stands for."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"expected a storage and found {str(pid)[:80]}")
        _, kind, key, _, numel, *view = pid
        if any(part is not None for part in view):
            raise pickle.UnpicklingError("views of storages, of PyTorch before 0.4, are not read")
        if not isinstance(kind, StorageType) or type(numel) is not int or not 0 <= numel < 2**48:
            raise pickle.UnpicklingError(f"a storage has the type {kind} and {numel} elements")
        return self.storage(kind, str(key), numel)

    def read(self) -> Any:
        """The object.

        Raises:
          InputError: the pickle is broken, or asks for something that is not a part of a tensor.
        """
        try:
            return self.load()
        except InputError:
            raise
        except Exception as error:  # a broken pickle can raise nearly everything
            reason = "it ends too early" if isinstance(error, EOFError) else str(error).strip() or type(error).__name__
            raise InputError(f"{self.source} cannot be read as a PyTorch file: {reason}.") from error

"""A pickle reader that never calls objects that the file names, and its use for plain data.

A pickle is a program: it may name any Python object, call it, and set its state. Even NumPy's own array and data type
are not safe to hand out, as they turn bytes of the file into addresses when asked for objects. So every name that a
pickle may use is looked up in one table of inert stand-ins, and arrays are assembled here from checked parts.
"""

import io
import os
import pickle
import re
import struct
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from delg.common.errors import InputError

CODE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,8}|O8?")
MAX_AXES = 32


class Sealed:
    """Refuses the state that a pickle may try to set on our objects."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it sets the state of an object that has none")


class Part(Sealed):
    """One of our functions: the only kind of callable that a pickle can use."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function."""
        return self._function(*arguments)


class InertDict(dict):
    """Stands for an ordered dictionary or a configuration: the items remain, attributes are dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Takes no state."""


class RestrictedUnpickler(pickle._Unpickler):
    """Reads one pickle with a table of stand-ins; refuses every other name, so that no code of the file runs.

    The base class is the reader in Python: the faster one in C takes as much memory as a broken file asks for.

    Attributes:
      admitted: the stand-in of each module and name, set by subclasses.
      content: the expected content in words, for the error message, set by subclasses.

    Args:
      file: positioned at the pickle.
      source: the file's name, for the error message.
    """

    admitted: ClassVar[Mapping[tuple[str, str], Any]] = {}
    content: ClassVar[str]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def __init__(self, file: BinaryIO, source: str) -> None:
        super().__init__(file, encoding="latin1")
        self.source = source

    def find_class(self, module: str, name: str) -> Any:
        """Looks a name up in the table."""
        if (module, name) not in self.admitted:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of that")
        return self.admitted[module, name]

    def load_bytearray8(self) -> None:
        """Reads the bytes of the file; the library's reader allocates the declared size first."""
        (size,) = struct.unpack("<Q", self.read(8))
        data = self.read(size)
        if len(data) != size:
            raise pickle.UnpicklingError("it ends too early")
        self.append(data)

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def load(self) -> Any:
        """Reads the pickle.

        Raises:
          InputError: the pickle is broken, or names an object outside the table; no code of the file has run.
        """
        try:
            return super().load()
        except InputError:
            raise
        except Exception as error:  # a damaged pickle can end in nearly any exception
            short = isinstance(error, EOFError | struct.error) or "truncated" in str(error)
            reason = "it ends too early" if short else str(error).strip() or type(error).__name__
            raise InputError(
                f"{self.source} is refused: expected {self.content}, but {reason}; nothing of the file was run."
            ) from error


class DataType:
    """Stands for ``numpy.dtype``: numbers, text or objects; its state is the byte order alone."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"it asks for the data type {str(code)[:40]!r}")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        """Takes ``(version, byte order, subarray, names, fields, ...)``, of which the last three must be None."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("it asks for a data type with fields or a shape")
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("it asks for a data type of an unknown byte order")
        self.order = order

    @property
    def of_objects(self) -> bool:
        """Whether the elements are objects and not bytes."""
        return self.code.startswith("O")

    def read(self, data: Any, count: int) -> Any:
        """``(count,)`` values; bytes of Python 2 become latin1 text."""
        data = data.encode("latin1") if isinstance(data, str) else data
        kind = np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]
        if self.of_objects or not isinstance(data, (bytes, bytearray)) or len(data) != count * kind.itemsize:
            raise pickle.UnpicklingError(f"an array or a number of type {self.code} has other bytes than it declares")
        values = np.frombuffer(data, kind, count)
        return np.char.decode(values, "latin1") if kind.kind == "S" else values


class ArrayList(list):
    """Stands for an array: its values as nested lists, filled when the pickle gives the array's state."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Takes ``(version, shape, data type, Fortran order, values)``, or the same without the version."""
        if not isinstance(state, tuple) or len(state) not in (4, 5) or self:
            raise pickle.UnpicklingError("it sets an array's state to something else")
        shape, kind, fortran, data = state[-4:]
        self[:] = _nested(shape, kind, data, "F" if fortran else "C")


ARRAY = Sealed()  # stands for numpy.ndarray, which a pickle names and cannot call here


def _nested(shape: Any, kind: Any, data: Any, order: Any) -> list[Any]:
    """The values of an array as nested lists."""
    if (
        not isinstance(kind, DataType)
        or not isinstance(shape, tuple)
        or len(shape) > MAX_AXES
        or order not in ("C", "F")
    ):
        raise pickle.UnpicklingError("an array is not made of a shape, a data type and an order")
    if any(type(side) is not int or not 0 <= side < 2**48 for side in shape):
        raise pickle.UnpicklingError(f"an array has the shape {str(shape)[:80]}")
    count = prod(shape)
    if not kind.of_objects:
        values = kind.read(data, count)
    elif isinstance(data, list) and len(data) == count:
        values = np.empty(count, object)
        for i, value in enumerate(data):
            values[i] = value
    else:
        raise pickle.UnpicklingError(f"an array of {count} objects comes without them")
    if not count:
        return []
    nested = values.reshape(shape, order=order).tolist()
    return nested if shape else [nested]


def _reconstruct(array: Any, *_: Any) -> ArrayList:
    """The arguments of ``numpy``'s ``_reconstruct``: the class, a shape and a type code that the state replaces."""
    if array is not ARRAY:
        raise pickle.UnpicklingError("an array is of an unknown class")
    return ArrayList()


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any = "C", *_: Any) -> ArrayList:
    """The arguments of ``numpy``'s ``_frombuffer``."""
    return ArrayList(_nested(shape, kind, data, order))


def _scalar(kind: Any, data: Any = b"") -> Any:
    """The arguments of ``numpy``'s ``scalar``."""
    if not isinstance(kind, DataType):
        raise pickle.UnpicklingError("a number has no data type")
    return kind.read(data, 1)[0].item()


def encode(text: Any, encoding: Any = "latin1") -> bytes:
    """The function that pickles of protocol 2 write bytes with; accepts their one encoding only."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"it asks for the encoding {str(encoding)[:40]!r}")
    return text.encode("latin1")


def _bytes(*content: Any) -> bytes:
    """Empty bytes, or the given bytes; refuses a number, which would be a size to allocate."""
    if content and not (len(content) == 1 and isinstance(content[0], bytes)):
        raise pickle.UnpicklingError("it makes bytes of something else")
    return content[0] if content else b""


def _set(content: Any = ()) -> set[Any]:
    if not isinstance(content, (list, tuple)):
        raise pickle.UnpicklingError("it makes a set of something that is no list")
    return set(content)


def _table() -> dict[tuple[str, str], Any]:
    """The names that a pickle may use, under the module names of Python 2 and 3, and of NumPy 1 and 2."""
    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): ARRAY,
        ("numpy", "dtype"): Part(DataType),
        ("_codecs", "encode"): Part(encode),
        ("collections", "OrderedDict"): Part(InertDict),
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = Part(_reconstruct)
        table[f"{core}.multiarray", "scalar"] = Part(_scalar)
        table[f"{core}.numeric", "_frombuffer"] = Part(_from_buffer)
    for module in ("builtins", "__builtin__"):
        for name, function in (("set", _set), ("frozenset", _set), ("bytes", _bytes), ("bytearray", _bytes)):
            table[module, name] = Part(function)
    return table


class PlainUnpickler(RestrictedUnpickler):
    """Reads containers, text, numbers and NumPy arrays, also those written by Python 2; arrays come as nested lists."""

    admitted = _table()
    content = "a pickle of lists, text and numbers"


def read_plain_pickle(path: str | os.PathLike[str]) -> Any:
    """Reads a pickle of plain data, see :class:`PlainUnpickler`.

    Raises:
      InputError: the file is missing, is no pickle, or names other objects; no code of the file has run.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"The file {os.fspath(path)} cannot be read: {error.strerror or error}.") from error
    return PlainUnpickler(io.BytesIO(content), os.fspath(path)).load()

"""Arrays in files of the released DELF and DELG programs: one array (``DatumProto``) or a pair of them.

A file ``name.delg_global`` holds one array ``(D,)``, the global descriptor of the image ``name``. As the files have no
signature, reading checks that the message parses, that it holds values, and that the values fit the shape.
"""

import os
from pathlib import Path
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import ArrayLike, NDArray

from delg.common.errors import InputError
from delg.common.files import write_bytes
from protos.datum_pb2 import DatumPairProto, DatumProto, FloatList

UINT32_LIMIT = 2**32
Place = str | os.PathLike[str]
Array = NDArray[np.float32] | NDArray[np.uint32]
M = TypeVar("M", bound=Message)


def parse(path: Place, message: type[M], what: str) -> tuple[M, bytes]:
    """Reads a file with one message.

    Args:
      path: the file.
      message: type of the message.
      what: the content in words, for the error message.

    Returns:
      The message, and the bytes of the file.

    Raises:
      InputError: the file cannot be read, or is no such message.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"The file {os.fspath(path)} cannot be read: {error.strerror or error}.") from error
    try:
        return message.FromString(data), data
    except DecodeError as error:
        raise damaged(path, what, "its bytes do not parse") from error


def damaged(path: Place, what: str, why: object) -> InputError:
    """The error for a file with other contents than its name says."""
    return InputError(f"{os.fspath(path)} is damaged or holds no {what}: {why}.")


def to_datum(array: ArrayLike) -> DatumProto:
    """An array as a message, as released: floats of any width become float32, unsigned integers uint32.

    Args:
      array: any shape; float16, 32, 64 or uint8, 16, 32, 64. Without values it becomes an empty list of floats.

    Raises:
      InputError: another dtype, or a number that does not fit into 32 bits.
    """
    values = np.asarray(array)
    datum = DatumProto()
    datum.shape.dim.extend(values.shape)
    if values.size == 0:
        datum.float_list.SetInParent()
    elif values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        datum.float_list.value.extend(values.astype(np.float32).ravel().tolist())
    elif values.dtype.kind == "u" and values.max() < UINT32_LIMIT:
        datum.uint32_list.value.extend(values.ravel().tolist())
    else:
        raise InputError(
            "A datum file expects float16, float32, float64, or unsigned integers below 2^32. Received: "
            f"{values.dtype}" + (f" up to {values.max()}" if values.dtype.kind == "u" else "")
        )
    return datum


def from_datum(datum: DatumProto) -> Array:
    """The array of a message: float32 or uint32, of the message's shape.

    Raises:
      ValueError: the message has no list of values, or the values do not fit the shape.
    """
    kind = datum.WhichOneof("kind_oneof")
    if kind is None:
        raise ValueError("it has no list of values")
    values = getattr(datum, kind).value
    shape = tuple(datum.shape.dim)
    size = int(np.prod(shape, dtype=object)) if shape else 1
    if any(side < 0 for side in shape) or size != len(values):
        raise ValueError(f"its shape {shape} does not fit its {len(values)} values")
    if kind == "uint32_list":
        return np.array(values, np.uint32).reshape(shape)
    return _floats(datum.float_list).reshape(shape)


def _floats(floats: FloatList) -> NDArray[np.float32]:
    """The values of a list, read from its packed bytes, which is much faster than value by value."""
    count = len(floats.value)
    if not count:
        return np.zeros(0, np.float32)
    header = 1 + -(-(4 * count).bit_length() // 7)  # tag, and the number of bytes in groups of seven bits
    return np.frombuffer(floats.SerializeToString(), "<f4", count, header).astype(np.float32)


def read_datum(path: Place) -> Array:
    """Reads an array.

    Args:
      path: a file with one ``DatumProto``.

    Returns:
      float32 or uint32, of the shape that the file records.

    Raises:
      InputError: the file cannot be read or is damaged.
    """
    datum, _ = parse(path, DatumProto, "array")
    try:
        return from_datum(datum)
    except ValueError as error:
        raise damaged(path, "array", error) from error


def write_datum(path: Place, array: ArrayLike) -> None:
    """Writes an array atomically; see :func:`to_datum`."""
    write_bytes(path, to_datum(array).SerializeToString())


def read_pair(path: Place) -> tuple[Array, Array]:
    """Reads a pair of arrays (``DatumPairProto``).

    Raises:
      InputError: the file cannot be read or is damaged.
    """
    pair, _ = parse(path, DatumPairProto, "pair of arrays")
    try:
        return from_datum(pair.first), from_datum(pair.second)
    except ValueError as error:
        raise damaged(path, "pair of arrays", error) from error


def write_pair(path: Place, first: ArrayLike, second: ArrayLike) -> None:
    """Writes a pair of arrays atomically; see :func:`to_datum`."""
    pair = DatumPairProto(first=to_datum(first), second=to_datum(second))
    write_bytes(path, pair.SerializeToString())


def read_global(path: Place) -> NDArray[np.float32]:
    """Reads a global descriptor.

    Args:
      path: a file ``name.delg_global``.

    Returns:
      ``(D,)`` float32; ``(0,)`` of an image that was too small for the released extractor.

    Raises:
      InputError: the file cannot be read or is damaged.
    """
    array = read_datum(path)
    if array.dtype != np.float32 or array.ndim != 1:
        raise damaged(path, "global descriptor", f"expected float32 (D,), received {array.dtype} {array.shape}")
    return array.astype(np.float32, copy=False)


def write_global(path: Place, descriptor: ArrayLike) -> None:
    """Writes a global descriptor ``(D,)`` atomically."""
    array = np.asarray(descriptor, np.float32)
    if array.ndim != 1:
        raise InputError(f"A global descriptor is expected to be of shape (D,). Received: {array.shape}")
    write_datum(path, array)

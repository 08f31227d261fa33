"""Reads and writes safetensors files: a length, a JSON header, and a buffer that the tensors cover without a hole.

Stricter than the format's own reader: no name twice, no unknown field, a header that begins with its brace. Values are
read by their offsets, so that a part of a large file costs no more than that part.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError

SUFFIX = ".safetensors"
LONGEST_HEADER = 100_000_000  # bytes
TYPES = {  # name in the header to NumPy's; None where nothing of ours reads the values
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
    **{"F8_E4M3": None, "F8_E5M2": None, "C64": None},
}
WIDTHS = {"F8_E4M3": 1, "F8_E5M2": 1, "C64": 8}
ENTRY = {"dtype", "shape", "data_offsets"}
METADATA = "__metadata__"
TYPE_NAMES = {np.dtype(code).name: name for name, code in TYPES.items() if code and name != "BF16"} | {
    "bfloat16": "BF16"
}
ALIGNMENT = 8  # bytes; of the buffer, as the format's own writer has it


@dataclass(frozen=True)
class Stored:
    """A weight that lies in a file.

    Attributes:
      shape: its shape there.
      read: gives its values.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray] = field(repr=False)


class _BadHeaderError(ValueError):
    """What is wrong with a header, in words that follow its file's name."""


def is_safetensors(path: Path) -> bool:
    """Whether a file has the name or the beginning of a safetensors file."""
    with path.open("rb") as file:
        start = file.read(9)
    return path.suffix == SUFFIX or (start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] < path.stat().st_size)


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Writes arrays by name, bit for bit, in the order of the mapping; returns the path.

    Raises:
      InputError: the format has no such type.
    """
    entries, place = {}, 0
    for name, array in arrays.items():
        if array.dtype.name not in TYPE_NAMES:
            raise InputError(f"The weight {name} holds {array.dtype}, which is no type of safetensors.")
        offsets = [place, place + array.nbytes]
        entries[name] = {"dtype": TYPE_NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        place = offsets[1]
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for array in arrays.values():
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            file.write(np.ascontiguousarray(little).tobytes())
    return path


def read_safetensors(path: Path) -> dict[str, Stored]:
    """The tensors of a file by name; their values are read when they are needed.

    Raises:
      InputError: the file is no safetensors file or is damaged; the sentence says why.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(8)
            if len(first) < 8:
                raise _BadHeaderError(f"it has {size} bytes and not even a length")
            (length,) = struct.unpack("<Q", first)
            if length > min(size - 8, LONGEST_HEADER):
                raise _BadHeaderError(f"its header of {length} bytes is longer than the file or the format allows")
            header = _header(file.read(length))
        return _tensors(path, header, 8 + length, size - 8 - length)
    except _BadHeaderError as error:
        raise InputError(f"{path} is not a sound safetensors file: {error}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _header(data: bytes) -> dict[str, Any]:
    """The JSON object of a header, without the metadata, which is checked."""
    if not data.startswith(b"{"):
        raise _BadHeaderError("its header does not begin with a brace")
    try:
        header = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except UnicodeDecodeError as error:
        raise _BadHeaderError("its header is not UTF-8") from error
    except RecursionError as error:
        raise _BadHeaderError("its header is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise _BadHeaderError(f"its header is not JSON ({error.msg} at character {error.pos})") from error
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _BadHeaderError(f"its {METADATA} is not an object of texts")
    return dict(header)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise _BadHeaderError("a name in its header is not Unicode")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise _BadHeaderError(f"its header has the name {twice[0]!r} twice")
    return dict(pairs)


def _whole(text: str) -> int:
    if len(text) > 20 or not text.isdigit():
        raise _BadHeaderError(f"its header has the number {text[:24]}, which is not a whole number of 64 bits")
    return int(text)


def _no_number(text: str) -> Any:
    raise _BadHeaderError(f"its header has the number {text[:24]}, which is not whole")


def _tensors(path: Path, header: dict[str, Any], start: int, length: int) -> dict[str, Stored]:
    """The entries of a header, checked; the buffer has ``length`` bytes and begins at ``start``."""
    tensors, ranges = {}, []
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != ENTRY:
            raise _BadHeaderError(f"the tensor {name!r} is not described by {', '.join(sorted(ENTRY))} alone")
        kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(kind, str) or kind not in TYPES:
            raise _BadHeaderError(f"the tensor {name!r} has the unknown type {kind!r}")
        if not _numbers(shape) or not _numbers(offsets) or len(offsets) != 2:
            raise _BadHeaderError(f"the shape or the offsets of the tensor {name!r} are not whole numbers")
        width = WIDTHS.get(kind) or np.dtype(TYPES[kind]).itemsize
        needed, bound = width, width
        for side in shape:
            needed, bound = needed * side, bound * max(side, 1)
        begin, end = offsets
        if bound >= 2**63 or begin > end or end - begin != needed:
            raise _BadHeaderError(f"the tensor {name!r} of shape {shape} and type {kind} has {end - begin} bytes")
        ranges.append((begin, end, name))
        tensors[name] = Stored(tuple(shape), partial(_values, path, name, kind, tuple(shape), start + begin))
    place = 0
    for begin, end, name in sorted(ranges):
        if begin != place:
            problem = "overlaps another one" if begin < place else "leaves a hole before it"
            raise _BadHeaderError(f"the tensor {name!r} {problem}")
        place = end
    if place != length:
        raise _BadHeaderError(f"its tensors take {place} bytes, and it has {length} for them")
    return tensors


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)


def _values(path: Path, name: str, kind: str, shape: tuple[int, ...], start: int) -> np.ndarray:
    """The values of a tensor, row by row; bfloat16 becomes float32."""
    code = TYPES[kind]
    if code is None:
        raise InputError(f"The weight {name} of {path} has the type {kind}, which is not read.")
    values = np.fromfile(path, code, prod(shape), offset=start)
    if values.size != prod(shape):
        raise InputError(f"{path} ends inside the weight {name}; the file has changed.")
    values = values.reshape(shape)
    if kind == "BF16":
        return np.left_shift(values, 16, dtype=np.uint32).view(np.float32).reshape(shape)
    return values

"""Writes safetensors files, also with values that take no room on the disk."""

import json
from pathlib import Path

import numpy as np

NAMES = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64"}


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A file of arrays."""
    shapes = {name: (NAMES[array.dtype.name], array.shape, array.nbytes) for name, array in arrays.items()}
    with path.open("wb") as file:
        file.write(_header(shapes))
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())
    return path


def write_shapes(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """A sparse file of zeros, float32."""
    sizes = {name: ("F32", tuple(shape), 4 * int(np.prod(shape, dtype=np.int64))) for name, shape in shapes.items()}
    header = _header(sizes)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + sum(size for _, _, size in sizes.values()))
    return path


def _header(entries: dict[str, tuple[str, tuple[int, ...], int]]) -> bytes:
    header, place = {}, 0
    for name, (kind, shape, size) in entries.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    data = json.dumps(header).encode()
    return len(data).to_bytes(8, "little") + data

"""Arrays in ``.npy`` files, memory-mapped."""

import os
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import first_line

_parsing = Lock()  # NumPy reads headers by ast.literal_eval, which fails in two threads at once (CPython issue 106905)


def map_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Maps an array for reading; several threads may do so at once.

    Raises:
      OSError: the file cannot be opened.
      ValueError: the file is damaged, or is no array.
    """
    try:
        with _parsing:
            array = np.load(path, mmap_mode="r")
    except OSError:
        raise
    except Exception as error:  # NumPy raises errors of many kinds on damaged files
        raise ValueError(f"{os.path.basename(path)}: {first_line(error)}") from error  # noqa: PTH119
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{os.path.basename(path)} is not an array of NumPy")  # noqa: PTH119
    return array

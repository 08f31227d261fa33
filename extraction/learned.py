"""Arrays that were learned for the weights of a model, as a file in the model's folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import atomic_path

OF_WEIGHTS = "weights_sha256"
T = TypeVar("T")


def save_learned(path: Path, arrays: Mapping[str, NDArray[np.floating]], weights: str) -> Path:
    """Writes arrays by name with the SHA-256 of the weights they belong to; returns the path."""
    contents: dict[str, Any] = {**arrays, OF_WEIGHTS: np.array(weights)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **contents)
    return path


def load_learned(
    path: Path, names: tuple[str, ...], weights: str, make: Callable[..., T], *, what: str, again: str
) -> T | None:
    """Reads arrays that :func:`save_learned` wrote, and makes an object of them; None where the file is absent.

    Args:
      path: the file.
      names: of the arrays, in the order of the arguments of ``make``.
      weights: SHA-256 of the model's weights.
      make: takes the arrays; an :class:`InputError` of it means a damaged file.
      what: the content in words, for messages.
      again: what the user does about a file that cannot be used.

    Raises:
      InputError: the file is damaged, or was learned with other weights.
    """
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            recorded, made = str(stored[OF_WEIGHTS]), make(*(stored[name] for name in names))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, InputError) as error:
        raise InputError(f"The {what} {path} is damaged; {again}.") from error
    if recorded != weights:
        raise InputError(f"The {what} {path} was learned with other weights; {again}.")
    return made

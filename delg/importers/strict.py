"""All weights of a model or none: every name and shape is compared before the first value is assigned."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from delg.importers.source import Arrays, Source
from protos.errors import InputError

if TYPE_CHECKING:
    from delg.model import Delg

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(model: "Delg") -> dict[str, tuple[int, ...]]:
    """The shapes of a model's weights by path."""
    return {variable.path: tuple(variable.shape) for variable in model.weights}


def check(source: Source, shapes: Shapes) -> dict[str, str]:
    """Compares a file with a model.

    Args:
      source: the file.
      shapes: the shapes of our variables by path.

    Returns:
      The name in the file of each variable, by path, without those that keep their first value.

    Raises:
      InputError: weights are missing, unexpected or of another shape; the sentence lists all of them by their names in
        the file.
    """
    named = {path: name for path in shapes if (name := source.name(path)) is not None}
    expected = {name: source.in_file(shapes[path]) for path, name in named.items()}
    found = {name: tuple(stored.shape) for name, stored in source.stored.items()}
    complain(source, expected, found)
    return named


def complain(source: Source, expected: Shapes, found: Shapes) -> None:
    """Raises the InputError that :func:`check` describes, unless names and shapes are the same."""
    wrong = [
        f"{name} ({found[name]} where {expected[name]} is expected)"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    parts = (
        _listed("missing", [name for name in expected if name not in found]),
        _listed("unexpected", sorted(name for name in found if name not in expected)),
        _listed("of another shape", wrong),
    )
    if any(parts):
        files = ", ".join(str(file) for file in source.files)
        where = f"{files} holds no {source.preset} in the format {source.format}, so nothing of it is used"
        raise InputError(f"{where}; {'; '.join(part for part in parts if part)}.")


def _listed(what: str, names: Iterable[str]) -> str:
    names = list(names)
    return f"{len(names)} {what}: {', '.join(names)}" if names else ""


def gather(source: Source, shapes: Shapes) -> Arrays:
    """The values of a model's variables, float32 and in our layout, by path.

    Raises:
      InputError: as :func:`check`, or a value is not a finite floating-point number.
    """
    named = check(source, shapes)
    arrays = {}
    for path, name in named.items():
        array = source.stored[name].read()
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(f"The weight {name} holds {array.dtype}; expected floating-point numbers.")
        if not np.isfinite(array).all():
            raise InputError(f"The weight {name} holds values that are not finite; the file is of no use.")
        arrays[path] = np.asarray(source.ours(array), np.float32)
    return source.finish(arrays)


def assign(source: Source, model: "Delg") -> int:
    """Gives a model the weights of a file; the model is unchanged when the file does not fit.

    Returns:
      The number of variables that were set.

    Raises:
      InputError: as :func:`gather`.
    """
    arrays = gather(source, shapes_of(model))
    for variable in model.weights:
        if variable.path in arrays:
            variable.assign(arrays[variable.path])
    return len(arrays)

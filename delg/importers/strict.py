"""All weights of a model or none: every name and shape is compared before the first value is assigned."""

from typing import TYPE_CHECKING

import numpy as np

from delg.common import strict
from delg.common.strict import Shapes
from delg.importers.names import VALUE
from delg.importers.source import Arrays, WeightSource

if TYPE_CHECKING:
    from delg.model import Delg


def shapes_of(model: "Delg") -> dict[str, tuple[int, ...]]:
    """The shapes of a model's weights by path."""
    return {variable.path: tuple(variable.shape) for variable in model.weights}


def check(source: WeightSource, shapes: Shapes) -> dict[str, str]:
    """Compares a file with a model.

    Args:
      source: the file.
      shapes: the shapes of our variables by path.

    Returns:
      The name in the file of each variable, by path, without those that keep their first value.

    Raises:
      InputError: weights are missing, unexpected or of another shape; after a sentence with their numbers all of them
        are listed by their names in the file, or the first few where most are missing.
    """
    named = {path: name for path in shapes if (name := source.name(path)) is not None}
    expected = {name: source.in_file(path, shapes[path]) for path, name in named.items()}
    in_file = {name: tuple(stored.shape) for name, stored in source.stored.items()}
    complain(source, expected, in_file)
    return named


def complain(source: WeightSource, expected: Shapes, in_file: Shapes) -> None:
    """Raises the InputError that :func:`check` describes, unless names and shapes are the same."""
    files = ", ".join(str(file) for file in source.files)
    strict.complain(f"{files} holds no {source.preset} in the format {source.format}", expected, in_file, VALUE)


def gather(source: WeightSource, shapes: Shapes) -> Arrays:
    """The values of a model's variables, float32 and in our layout, by path.

    Raises:
      InputError: as :func:`check`, or a value is not a finite floating-point number.
    """
    named = check(source, shapes)
    arrays = {}
    for path, name in named.items():
        array = strict.check_values(name, source.stored[name].read())
        arrays[path] = np.asarray(source.ours(path, array), np.float32)
    return source.finish(arrays)


def assign(source: WeightSource, model: "Delg") -> int:
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

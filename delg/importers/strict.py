"""All weights of a model or none: every name and shape is compared before the first value is assigned."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from delg.common.errors import InputError
from delg.importers.names import VALUE
from delg.importers.source import Arrays, WeightSource

if TYPE_CHECKING:
    from delg.model import Delg

Shapes = Mapping[str, tuple[int, ...]]
EXAMPLES = 5


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
    wrong = [
        f"{_shown(name)} ({in_file[name]} where {expected[name]} is expected)"
        for name in expected
        if name in in_file and in_file[name] != expected[name]
    ]
    lists = {
        "missing": [_shown(name) for name in expected if name not in in_file],
        "unexpected": sorted(_shown(name) for name in in_file if name not in expected),
        "of another shape": wrong,
    }
    if any(lists.values()):
        files = ", ".join(str(file) for file in source.files)
        foreign = 2 * len(lists["missing"]) > len(expected)
        other = ", but another architecture or other names" if foreign else ""
        counts = [f"{len(expected)} expected", *(f"{len(names)} {what}" for what, names in lists.items() if names)]
        raise InputError(
            f"{files} holds no {source.preset} in the format {source.format}{other}, so nothing of it is used: "
            f"{', '.join(counts)}.{''.join(_listed(what, names, foreign) for what, names in lists.items() if names)}"
        )


def _shown(name: str) -> str:
    return name.removesuffix(VALUE)


def _listed(what: str, names: Sequence[str], shortened: bool) -> str:
    """Lines with the names; of a shortened list the first ones, and how many are not shown."""
    shown = names[:EXAMPLES] if shortened else names
    more = [f"... and {len(names) - len(shown)} more"] if len(shown) < len(names) else []
    return f"\n{what}:" + "".join(f"\n  {line}" for line in (*shown, *more))


def gather(source: WeightSource, shapes: Shapes) -> Arrays:
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

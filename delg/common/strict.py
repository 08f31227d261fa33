"""All weights of a network or none: every name and shape of a file is compared before the first value is used."""

from collections.abc import Mapping, Sequence

import numpy as np

from delg.common.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]
EXAMPLES = 5


def complain(sentence: str, expected: Shapes, in_file: Shapes, suffix: str = "") -> None:
    """Compares the weights of a file with those that a network needs.

    Args:
      sentence: starts the message, such as ``"a.pt holds no AMES network"``.
      expected: shapes by name.
      in_file: the same.
      suffix: end of names that the message leaves out.

    Raises:
      InputError: weights are missing, unexpected or of another shape; after a sentence with their numbers all of them
        are listed by name, or the first few where most are missing.
    """
    wrong = [
        f"{name.removesuffix(suffix)} ({in_file[name]} where {expected[name]} is expected)"
        for name in expected
        if name in in_file and in_file[name] != expected[name]
    ]
    lists = {
        "missing": [name.removesuffix(suffix) for name in expected if name not in in_file],
        "unexpected": sorted(name.removesuffix(suffix) for name in in_file if name not in expected),
        "of another shape": wrong,
    }
    if any(lists.values()):
        foreign = 2 * len(lists["missing"]) > len(expected)
        other = ", but another architecture or other names" if foreign else ""
        counts = [f"{len(expected)} expected", *(f"{len(names)} {what}" for what, names in lists.items() if names)]
        raise InputError(
            f"{sentence}{other}, so nothing of it is used: "
            f"{', '.join(counts)}.{''.join(_listed(what, names, foreign) for what, names in lists.items() if names)}"
        )


def check_values(name: str, array: np.ndarray) -> np.ndarray:
    """Gives back the values of a weight.

    Raises:
      InputError: a value is not a finite floating-point number.
    """
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"The weight {name} holds {array.dtype}; expected floating-point numbers.")
    if not np.isfinite(array).all():
        raise InputError(f"The weight {name} holds values that are not finite; the file is of no use.")
    return array


def _listed(what: str, names: Sequence[str], shortened: bool) -> str:
    """Lines with the names; of a shortened list the first ones, and how many are not shown."""
    shown = names[:EXAMPLES] if shortened else names
    more = [f"... and {len(names) - len(shown)} more"] if len(shown) < len(names) else []
    return f"\n{what}:" + "".join(f"\n  {line}" for line in (*shown, *more))

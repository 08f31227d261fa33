"""Recipes by name or file: options of ``delg-train`` as a Python file that opens with its command."""

import runpy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from delg.common.errors import InputError

NAME = "CONFIG"
PRETRAINED = "PRETRAINED"


@dataclass(frozen=True)
class Recipe:
    """What a file of a recipe says.

    Attributes:
      options: its ``CONFIG``, values by the names of options.
      pretrained: its ``PRETRAINED``: where the weights are had that the recipe begins with; None where it begins with
        random ones.
    """

    options: dict[str, Any]
    pretrained: str | None = None


def read_recipe(text: str) -> Recipe:
    """Reads a recipe.

    Args:
      text: a module of :mod:`training.configs`, or the path of a Python file of your own, ending in ``.py``.

    Raises:
      InputError: there is no such recipe, it cannot be run, or it has no ``CONFIG``.
    """
    if text.endswith(".py"):
        try:
            contents = runpy.run_path(text)
        except Exception as error:
            raise InputError(f"The recipe {text} cannot be run: {error}") from error
    else:
        import training.configs

        names = sorted(module.name for module in iter_modules(training.configs.__path__))
        if text not in names:
            raise InputError(f"Unknown recipe {text!r}; the choices are {', '.join(names)}, or a file FILE.py.")
        contents = vars(import_module(f"training.configs.{text}"))
    options, pretrained = contents.get(NAME), contents.get(PRETRAINED)
    if not isinstance(options, dict):
        raise InputError(f"The recipe {Path(text).name} has no {NAME}, a dict of options.")
    return Recipe(dict(options), None if pretrained is None else str(pretrained))

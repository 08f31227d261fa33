"""The text form of a choice, ``name(arg=value, ...)``, as used by flags and configuration files.

The name is an entry of a table, or ``module:Class``, which names a plug-in outside of the package; modules of the
current folder are found too. Values are literals: the text is parsed with :mod:`ast` and never evaluated. A choice
inside of another one is a quoted text. An argument whose name Python reserves, such as ``global``, is the parameter
``global_``.
"""

import ast
import importlib
import inspect
import keyword
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from delg.common.errors import InputError

Factory = Callable[..., Any]
Table = Mapping[str, Factory | str]  # name to factory, or to "module:factory", which is imported when it is used
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_RESERVED = re.compile(rf"{_QUOTED}|\b({'|'.join(keyword.kwlist)})(?=\s*=[^=])")
_PLUG_IN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Splits ``"gem(p=4.6)"`` into ``("gem", {"p": 4.6})``.

    Args:
      text: a name or ``module:Class``, optionally followed by keyword arguments with literal values in parentheses.

    Returns:
      The name and its keyword arguments.

    Raises:
      InputError: the text is not of that form.
    """
    form = f"Expected name or name(argument=literal, ...). Received: {text!r}"
    plug_in = _PLUG_IN.match(text.strip())
    source = "plug_in" + text.strip()[plug_in.end() :] if plug_in else text.strip()
    source = _RESERVED.sub(lambda match: f"{match[1]}_" if match[1] else match[0], source)
    try:
        node = ast.parse(source, mode="eval").body
        if isinstance(node, ast.Name):
            return (plug_in.group() if plug_in and node.id == "plug_in" else node.id), {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            arguments = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
            if None not in arguments:
                name = plug_in.group() if plug_in else node.func.id
                return name, {str(key): value for key, value in arguments.items()}
    except (SyntaxError, ValueError) as error:
        raise InputError(form) from error
    raise InputError(form)


def plug_ins_in(*choices: Any) -> list[Factory]:
    """Imports the plug-ins that texts of choices name; ignores other values and quoted parts.

    Raises:
      InputError: a plug-in cannot be imported.
    """
    texts = [re.sub(_QUOTED, "", text) for text in choices if isinstance(text, str)]
    return [plug_in(match.group(), "plug-in") for text in texts for match in _PLUG_IN.finditer(text)]


def render(name: str, arguments: Mapping[str, Any]) -> str:
    """The inverse of :func:`parse`: ``render("gem", {"p": 4.6})`` is ``"gem(p=4.6)"``."""
    inside = ", ".join(f"{_written(key)}={value!r}" for key, value in arguments.items())
    return f"{name}({inside})" if inside else name


def _written(parameter: str) -> str:
    """The name of a parameter as a text gives it: ``global`` for ``global_``."""
    name = parameter.removesuffix("_")
    return name if keyword.iskeyword(name) else parameter


def split(text: str, separator: str = ",", *, keep_empty: bool = False) -> list[str]:
    """Splits a list of choices at the separators that stand outside parentheses and quotes.

    Args:
      text: choices with separators between them.
      separator: one character.
      keep_empty: whether missing choices between two separators or at an end become ``""``.

    Returns:
      The choices, without white space around them.

    >>> split("ransac, superglobal(m=400, k=9)")
    ['ransac', 'superglobal(m=400, k=9)']
    """
    parts, depth, quote, current, escaped = [], 0, "", "", False
    for character in text:
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        if character == separator and depth == 0 and not quote:
            parts.append(current)
            current = ""
        else:
            current += character
    return [part.strip() for part in [*parts, current] if keep_empty or part.strip()]


def factory_of(name: str, table: Table, kind: str) -> Factory:
    """The factory of a name.

    Args:
      name: a name of the table, or ``module:Class``.
      table: the choices of this kind.
      kind: the kind in words, for the error message ("backbone", "reranker").

    Returns:
      The factory.

    Raises:
      InputError: the name is not in the table, or the plug-in cannot be imported.
    """
    if name in table:
        factory = table[name]
        if isinstance(factory, str):
            module, _, attribute = factory.partition(":")
            factory = getattr(importlib.import_module(module), attribute)
        return factory
    if ":" not in name:
        choices = ", ".join(sorted(table))
        raise InputError(f"Unknown {kind} {name!r}; the choices are {choices}, or module:Class of your own.")
    return plug_in(name, kind)


def plug_in(name: str, kind: str) -> Factory:
    """Imports ``module:Class``; modules of the current folder are found too.

    Raises:
      InputError: the module cannot be imported, or has no callable of this name.
    """
    module_name, _, attribute = name.partition(":")
    path = list(sys.path)
    try:
        sys.path.append(str(Path.cwd()))
        module = importlib.import_module(module_name)
    except Exception as error:
        raise InputError(f"{kind} {name!r}: the module {module_name!r} cannot be imported: {error}") from error
    finally:
        sys.path[:] = path
    factory = getattr(module, attribute, None)
    if not callable(factory):
        actual = "no such name" if factory is None else f"a {type(factory).__name__}"
        raise InputError(
            f"{kind} {name!r}: expected a class or function {attribute!r} in {module_name}; it has {actual}."
        )
    try:
        inspect.signature(factory)
    except ValueError as error:
        raise InputError(f"{kind} {name!r}: expected a class or function of Python: {error}.") from error
    return factory


def build(
    text: str,
    table: Table,
    kind: str,
    *,
    base: type | None = None,
    offers: Mapping[str, Any] | None = None,
    **context: Any,
) -> Any:
    """Calls the factory that the text names.

    Args:
      text: ``name(arg=value, ...)`` or ``module:Class(arg=value, ...)``.
      table: the choices of this kind, name to factory.
      kind: the kind in words, for the error message ("backbone", "reranker").
      base: base class of the result; None accepts any type.
      offers: arguments of the program for factories that have a parameter of the same name; the text takes precedence.
      **context: arguments of the program for every factory; the text cannot give them.

    Returns:
      The result of the factory.

    Raises:
      InputError: the name is not in the table, an argument does not fit the factory, or a plug-in returns another type.
    """
    name, arguments = parse(text)
    factory = factory_of(name, table, kind)
    parameters = inspect.signature(factory).parameters
    offered = {key: value for key, value in (offers or {}).items() if key in parameters and key not in arguments}
    built = call(factory, text, arguments, kind, **context, **offered)
    if base is not None:
        check_type(built, base, text, kind)
    return built


def check_type(built: Any, base: type, text: str, kind: str) -> None:
    """Checks the class of the object that a choice names.

    Raises:
      InputError: the object is no instance of the base class.
    """
    if not isinstance(built, base):
        raise InputError(
            f"{kind} {text!r}: expected an object of {base.__module__}.{base.__qualname__}, not {type(built)}."
        )


def call(factory: Callable[..., Any], text: str, arguments: Mapping[str, Any], kind: str, **context: Any) -> Any:
    """Calls a factory with arguments that need not be literals.

    Args:
      factory: the class or function to call.
      text: the choice as written, for the error message.
      arguments: arguments of the choice.
      kind: the kind in words, for the error message.
      **context: further keyword arguments that the program supplies.

    Returns:
      The result of the factory.

    Raises:
      InputError: an argument does not fit the factory.
    """
    try:
        inspect.signature(factory).bind(**arguments, **context)
    except TypeError as error:
        accepted = [_written(p) for p in inspect.signature(factory).parameters if p not in context]
        raise InputError(f"{kind} {text!r}: {error}; its arguments are {', '.join(accepted) or 'none'}.") from error
    try:
        return factory(**arguments, **context)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{kind} {text!r}: {error}") from error

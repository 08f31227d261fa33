"""The text form of a choice, ``name(arg=value, ...)``, as used by flags and configuration files.

Only literals are admitted as values; the text is parsed with :mod:`ast` and never evaluated.
"""

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from delg.common.errors import InputError


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Splits ``"gem(p=4.6)"`` into ``("gem", {"p": 4.6})``.

    Args:
      text: a name, optionally followed by keyword arguments with literal values in parentheses.

    Returns:
      The name and its keyword arguments.

    Raises:
      InputError: the text is not of that form.
    """
    form = f"Expected name or name(argument=literal, ...). Received: {text!r}"
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            arguments = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
            if None not in arguments:
                return node.func.id, {str(key): value for key, value in arguments.items()}
    except (SyntaxError, ValueError) as error:
        raise InputError(form) from error
    raise InputError(form)


def render(name: str, arguments: Mapping[str, Any]) -> str:
    """The inverse of :func:`parse`: ``render("gem", {"p": 4.6})`` is ``"gem(p=4.6)"``."""
    inside = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return f"{name}({inside})" if inside else name


def split(text: str, separator: str = ",", *, keep_empty: bool = False) -> list[str]:
    """Splits a list of choices at the separators that stand outside parentheses and quotes.

    Args:
      text: choices with separators between them.
      separator: one character.
      keep_empty: give ``""`` for what is missing between two separators or at an end, instead of leaving it out.

    Returns:
      The choices, without white space around them.

    >>> split("ransac, superglobal(m=400, k=9)")
    ['ransac', 'superglobal(m=400, k=9)']
    """
    parts, depth, quote, current = [], 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
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


def build(text: str, table: Mapping[str, Callable[..., Any]], kind: str, **context: Any) -> Any:
    """Calls the factory that the text names.

    Args:
      text: ``name(arg=value, ...)``.
      table: the choices of this kind, name to factory.
      kind: what is chosen, in words, for the error message ("backbone", "reranker").
      **context: further keyword arguments that the program, not the text, supplies.

    Returns:
      What the factory returns.

    Raises:
      InputError: the name is not in the table, or an argument does not fit the factory.
    """
    name, arguments = parse(text)
    if name not in table:
        raise InputError(f"Unknown {kind} {name!r}; the choices are {', '.join(sorted(table))}.")
    return call(table[name], text, arguments, kind, **context)


def call(factory: Callable[..., Any], text: str, arguments: Mapping[str, Any], kind: str, **context: Any) -> Any:
    """Calls a factory with arguments that need not be literals.

    Args:
      factory: what is called.
      text: how the choice was written, for the error message.
      arguments: those of the choice.
      kind: what is chosen, in words, for the error message.
      **context: further keyword arguments that the program supplies.

    Returns:
      What the factory returns.

    Raises:
      InputError: an argument does not fit the factory.
    """
    try:
        inspect.signature(factory).bind(**arguments, **context)
    except TypeError as error:
        known = [p for p in inspect.signature(factory).parameters if p not in context]
        raise InputError(f"{kind} {text!r}: {error}; its arguments are {', '.join(known) or 'none'}.") from error
    try:
        return factory(**arguments, **context)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{kind} {text!r}: {error}") from error

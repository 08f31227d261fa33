"""The options of a command: a dataclass whose fields are its flags.

A field holds the default, the help text and the limits once; flags are defined from the fields, and a dataclass is
filled from the flags by name.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class SearchOptions:
...     top_k: int = option(10, "Results of each query.", lower_bound=1)
...     output_dir: str | None = option(None, "Folder of the results.", irrelevant=True)
>>> fingerprint(SearchOptions(top_k=5, output_dir="found"))
{'top_k': 5}
"""

import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from absl import flags

from delg.common.errors import InputError
from delg.common.spec import split

Options = TypeVar("Options")
HELP, CHOICES, LOWER, UPPER, IRRELEVANT = "help", "choices", "lower_bound", "upper_bound", "irrelevant"
SUBJECT = "subject"
SUBJECTS: dict[str, str] = {}
"""The subject of each defined flag; ``--help`` lists the flags of one subject together."""
EXIF = ("apply", "ignore")  # choices of --exif: turn photos as their orientation tag says, or not


def option(
    default: Any,
    help_text: str,
    *,
    choices: Sequence[str] | None = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    irrelevant: bool = False,
    subject: str | None = None,
) -> Any:
    """A field of a dataclass of options.

    Args:
      default: the value without the flag.
      help_text: the text of ``--help``.
      choices: the accepted values.
      lower_bound: smallest number.
      upper_bound: largest number.
      irrelevant: whether results do not depend on the option, such as a folder or a number of threads; other options
        enter the :func:`fingerprint`.
      subject: title of this option and the ones after it in ``--help``; None for that of the option before.
    """
    metadata = {HELP: help_text, CHOICES: choices, LOWER: lower_bound, UPPER: upper_bound, IRRELEVANT: irrelevant}
    metadata[SUBJECT] = subject
    return field(default=default, metadata=metadata)


def define_flags(options: type) -> None:
    """Defines a flag for each field of a dataclass; ``--help`` lists the flags under the module that calls this.

    The type of a field decides what the flag accepts: ``str``, ``int``, ``float``, ``bool``, or ``tuple`` of one of the
    first three, whose values are separated by commas; each may be ``| None``.

    Args:
      options: the dataclass.
    """
    flags.disclaim_key_flags()  # the flags are of the calling module
    hints, subject = get_type_hints(options), ""
    for item in fields(options):
        SUBJECTS[item.name] = subject = item.metadata[SUBJECT] or subject
        default = None if item.default is MISSING else item.default
        text, kind = item.metadata[HELP], _without_none(hints[item.name])
        limits = {key: item.metadata[key] for key in (LOWER, UPPER)}
        if get_origin(kind) is tuple:
            parser = _TupleParser(get_args(kind)[0], item.metadata[CHOICES])
            flags.DEFINE(parser, item.name, default, text, serializer=_TupleSerializer())
        elif item.metadata[CHOICES]:
            flags.DEFINE_enum(item.name, default, list(item.metadata[CHOICES]), text)
        elif kind is bool:
            flags.DEFINE_bool(item.name, default, text)
        elif kind is int:
            flags.DEFINE_integer(item.name, default, text, **limits)
        elif kind is float:
            flags.DEFINE_float(item.name, default, text, **limits)
        else:
            flags.DEFINE_string(item.name, default, text)


def from_flags(options: Callable[..., Options]) -> Options:
    """The options of the flags; an empty text stands for None where None is the default."""
    values = {}
    for item in fields(options):  # type: ignore[arg-type]
        value = flags.FLAGS[item.name].value
        values[item.name] = None if value == "" and item.default is None else value
    return options(**values)


def fingerprint(options: Any) -> dict[str, Any]:
    """The options that results depend on, by name, as JSON values; see ``irrelevant`` of :func:`option`."""
    relevant = {item.name: getattr(options, item.name) for item in fields(options) if not item.metadata[IRRELEVANT]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in relevant.items()}


def check(options: Any) -> None:
    """Checks values against the choices and limits of their fields, as flags do.

    Raises:
      InputError: a value is out of range; the sentence names the flag.
    """
    for one in fields(options):
        value, limits = getattr(options, one.name), one.metadata
        for item in value if isinstance(value, tuple) else () if value is None else (value,):
            if limits[CHOICES] and item not in limits[CHOICES]:
                choices = ", ".join(limits[CHOICES])
                raise InputError(f"--{one.name} expects one of {choices}. Received: {item!r}")
            if limits[LOWER] is not None and not item >= limits[LOWER]:
                raise InputError(f"--{one.name} expects {limits[LOWER]} or more. Received: {item!r}")
            if limits[UPPER] is not None and not item <= limits[UPPER]:
                raise InputError(f"--{one.name} expects {limits[UPPER]} or less. Received: {item!r}")


def refuse(what: str, options: Any, names: Sequence[str]) -> None:
    """Checks that options have their defaults.

    Args:
      what: the flag that they cannot be combined with, such as ``--check``.
      options: a dataclass of options.
      names: of the options.

    Raises:
      InputError: an option has another value; the sentence names the flag.
    """
    default = {item.name: item.default for item in fields(options)}
    changed = [f"--{name}" for name in names if getattr(options, name) not in (default[name], None, ())]
    if changed:
        raise InputError(f"{', '.join(changed)} cannot be combined with {what}.")


def require(options: Any, names: Sequence[str]) -> None:
    """Checks that options are given.

    Args:
      options: a dataclass of options.
      names: of the options.

    Raises:
      InputError: an option is missing; the sentence names the flag and its purpose.
    """
    help_texts = {entry.name: entry.metadata[HELP] for entry in fields(options)}
    for name in names:
        if not getattr(options, name):
            raise InputError(f"--{name} is required: {help_texts[name]}")


def _without_none(hint: Any) -> Any:
    """``X`` of ``X | None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(item for item in get_args(hint) if item is not type(None))
    return hint


class _TupleParser(flags.ArgumentParser):
    """Reads values separated by commas; commas in parentheses and quotes do not count."""

    def __init__(self, kind: type, choices: Sequence[str] | None):
        super().__init__()
        self._kind, self._choices = kind, choices
        names = f"from {', '.join(choices)}" if choices else {str: "texts", int: "whole numbers"}.get(kind, "numbers")
        self.syntactic_help = f"{names}, separated by commas"

    def parse(self, argument: Any) -> tuple[Any, ...]:
        parts = split(argument) if isinstance(argument, str) else argument
        try:
            values = tuple(self._kind(item) for item in parts)
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected {self.syntactic_help}") from error
        if self._choices and (unknown := [item for item in values if item not in self._choices]):
            raise ValueError(f"unknown {', '.join(map(repr, unknown))}; expected {self.syntactic_help}")
        return values

    def flag_type(self) -> str:
        return f"{self._kind.__name__} list"


class _TupleSerializer(flags.ArgumentSerializer):
    """The inverse of :class:`_TupleParser`."""

    def serialize(self, value: Sequence[Any]) -> str:
        return ",".join(map(str, value))

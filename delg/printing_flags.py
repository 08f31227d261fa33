"""Flags that print something and end the command with 0: help in its forms, and the version."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags

from delg.common.options import SUBJECTS

HELP = ("help", "helpshort", "helpfull", "helpxml")


class PrintingFlag(flags.BooleanFlag):
    """Ends the command when it is given.

    Args:
      name: of the flag.
      text: its help.
      show: prints.
      short_name: a second name.
    """

    def __init__(self, name: str, text: str, show: Callable[[], object], short_name: str | None = None) -> None:
        super().__init__(name, False, text, short_name=short_name, allow_override=True)
        self._show = show

    def parse(self, argument: Any) -> None:
        """See the class."""
        super().parse(argument)
        if self.value:
            self._show()
            sys.exit(0)


def define_printing_flags(version: str, about: str, own: Sequence[Any]) -> None:
    """Defines ``-h`` and ``--version``; absl's own flags for help, which it ends with 1, end with 0 too.

    Args:
      version: what ``--version`` prints.
      about: the command, in words.
      own: the flags of the command, which its help lists by subject.
    """
    app.define_help_flags()
    for name in HELP:
        flag: Any = flags.FLAGS[name]
        flag.parse = _ending_well(flag.parse)
    for name, short_name in (("help", "?"), ("h", None)):
        flags.DEFINE_flag(PrintingFlag(name, "show this help", lambda: print(help_text(about, own)), short_name))
    flags.DEFINE_flag(PrintingFlag("version", "show the version", lambda: print(version)))


def help_text(about: str, own: Sequence[Any]) -> str:
    """The help of a command: what it does, and its flags by subject, in the order of their definitions."""
    lines = [about.strip()]
    names = [name for name in SUBJECTS if name in {flag.name for flag in own}]
    by_name = {flag.name: flag for flag in own}
    names += [name for name in by_name if name not in names]
    for subject in dict.fromkeys(SUBJECTS.get(name, "") for name in names):
        lines += ["", f"{subject or 'Flags'}:"]
        lines += [_line(by_name[name]) for name in names if SUBJECTS.get(name, "") == subject]
    return "\n".join([*lines, "", "--helpfull lists the flags of all modules."])


def _line(flag: Any) -> str:
    """A flag with its text and its default."""
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    default = "" if flag.default is None else f" (default: {flag.default_as_str[1:-1]})"  # without quotes
    limits = flag.parser.syntactic_help
    text = f"--{name}: {flag.help}" + (f" ({limits})" if limits else "") + default
    return str(flags.text_wrap(text, indent="      ", firstline_indent="  "))


def _ending_well(parse: Callable[[Any], object]) -> Callable[[Any], None]:
    def parse_and_end(argument: Any) -> None:
        try:
            parse(argument)
        except SystemExit:
            sys.exit(0)

    return parse_and_end

"""Flags that print something and end the command with 0: help in its forms, and the version."""

import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags

HELP = ("help", "helpshort", "helpfull", "helpxml")


class PrintingFlag(flags.BooleanFlag):
    """Ends the command when it is given.

    Args:
      name: of the flag.
      text: its help.
      show: prints.
    """

    def __init__(self, name: str, text: str, show: Callable[[], object]) -> None:
        super().__init__(name, False, text)
        self._show = show

    def parse(self, argument: Any) -> None:
        """See the class."""
        super().parse(argument)
        if self.value:
            self._show()
            sys.exit(0)


def define_printing_flags(version: str) -> None:
    """Defines ``-h`` and ``--version``; absl's own flags for help, which it ends with 1, end with 0 too.

    Args:
      version: what ``--version`` prints.
    """
    app.define_help_flags()
    for name in HELP:
        flag: Any = flags.FLAGS[name]
        flag.parse = _ending_well(flag.parse)
    flags.DEFINE_flag(PrintingFlag("h", "show this help", lambda: flags.FLAGS["help"].parse(True)))
    flags.DEFINE_flag(PrintingFlag("version", "show the version", lambda: print(version)))


def _ending_well(parse: Callable[[Any], object]) -> Callable[[Any], None]:
    def parse_and_end(argument: Any) -> None:
        try:
            parse(argument)
        except SystemExit:
            sys.exit(0)

    return parse_and_end

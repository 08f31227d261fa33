"""The progress line of a long job, on the error stream."""

import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

CONTROL = re.compile(r"\x1b\[A|[\r\n]")  # control codes of tqdm


class _Lines:
    """A stream for ``tqdm`` that writes each state of its bar as a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.encoding = stream, stream.encoding

    def write(self, text: str) -> None:
        """Writes the line; nothing where ``tqdm`` only moves the cursor."""
        line = CONTROL.sub("", text).strip()
        if line:
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        """See ``io.TextIOBase``."""
        self._stream.flush()


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> Any:
    """A ``tqdm`` bar, redrawn five times a second on a terminal; elsewhere a line every ten seconds.

    Args:
      items: the items to iterate over; None for a bar that ``update`` moves.
      **options: of ``tqdm``, such as ``total``, ``unit``, ``desc`` and ``disable``.
    """
    if sys.stderr.isatty():
        return tqdm(items, mininterval=0.2, **options)
    return tqdm(items, mininterval=10, file=_Lines(sys.stderr), **options)

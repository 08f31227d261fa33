"""The progress line of a long job, on the error stream."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> Any:
    """A ``tqdm`` bar that a log file can bear: redrawn five times a second on a terminal, every ten seconds elsewhere.

    Args:
      items: what is iterated over; None for a bar that is moved by ``update``.
      **options: of ``tqdm``, such as ``total``, ``unit``, ``desc`` and ``disable``.
    """
    return tqdm(items, mininterval=0.2 if sys.stderr.isatty() else 10, **options)

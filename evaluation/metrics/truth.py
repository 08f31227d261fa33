"""Which database images are right, wrong or without meaning for a query."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAIN = ("medium", "private")  # preferred protocols of views that show a single protocol


@dataclass(frozen=True, eq=False)
class Truth:
    """The right answers to one query under one protocol.

    Attributes:
      positives: ``(P,)`` int64 database rows that are right.
      junk: ``(J,)`` int64 database rows that are neither right nor wrong; every other row is wrong.
    """

    positives: NDArray[np.int64]
    junk: NDArray[np.int64]

"""Which database images are right, wrong or without meaning for a query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.groundtruth import Labels

MAIN = ("medium", "private")  # protocols that single-protocol views show, where a benchmark has one of them


@dataclass(frozen=True, eq=False)
class Truth:
    """One query under one protocol.

    Attributes:
      positives: ``(P,)`` int64 database rows that are right.
      junk: ``(J,)`` int64 database rows that are neither right nor wrong; every other row is wrong.
    """

    positives: NDArray[np.int64]
    junk: NDArray[np.int64]


def _join(*parts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.asarray(part, np.int64) for part in parts])


def revisited(labels: Sequence[Labels]) -> dict[str, list[Truth]]:
    """The three protocols of the revisited benchmarks (Radenovic et al., 2018, section 3.3).

    Easy: the easy images are right, the hard ones junk. Medium: both are right. Hard: the hard images are right,
    the easy ones junk.

    Args:
      labels: each query's sets.

    Returns:
      ``{"easy": [...], "medium": [...], "hard": [...]}``, a truth for each query.
    """
    return {
        "easy": [Truth(_join(entry.easy), _join(entry.junk, entry.hard)) for entry in labels],
        "medium": [Truth(_join(entry.easy, entry.hard), _join(entry.junk)) for entry in labels],
        "hard": [Truth(_join(entry.hard), _join(entry.junk, entry.easy)) for entry in labels],
    }

"""Truths: which database images are right, wrong or junk for a query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.groundtruth import Labels

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


def _join(*parts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.asarray(part, np.int64) for part in parts])


def revisited(labels: Sequence[Labels]) -> dict[str, list[Truth]]:
    """The three protocols of the revisited benchmarks (Radenovic et al., 2018, section 3.3).

    Easy: easy images are right, hard images are junk. Medium: easy and hard images are right. Hard: hard images are
    right, easy images are junk.

    Args:
      labels: the sets of each query.

    Returns:
      ``{"easy": [...], "medium": [...], "hard": [...]}``, a truth for each query.
    """
    return {
        "easy": [Truth(_join(entry.easy), _join(entry.junk, entry.hard)) for entry in labels],
        "medium": [Truth(_join(entry.easy, entry.hard), _join(entry.junk)) for entry in labels],
        "hard": [Truth(_join(entry.hard), _join(entry.junk, entry.easy)) for entry in labels],
    }

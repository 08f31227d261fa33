"""The protocols of the revisited benchmarks: which images are right and which are junk under each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.groundtruth import Labels
from evaluation.metrics.truth import Truth


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

"""What every reranker ends with: the heads of a ranking in new order, its tails as they were."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matching.ranking import Ranking

Head = tuple[NDArray[np.int64], NDArray[np.float32]]


def with_heads(ranking: Ranking, heads: Sequence[Head]) -> Ranking:
    """Puts reordered heads in front of the tails.

    A reranker's scores and those of the first stage are on different scales. So that a row's scores stay decreasing,
    those of its tail are lowered together, by one amount, to at most the last score of the head.

    Args:
      ranking: before.
      heads: for each query the database rows of its first places in new order, and their decreasing new scores.

    Returns:
      A ranking of the same shape and the same images in each row.
    """
    indices, scores = ranking.indices.copy(), ranking.scores.astype(np.float32)
    for q, (rows, values) in enumerate(heads):
        n = len(rows)
        if not n:
            continue
        indices[q, :n], scores[q, :n] = rows, values
        tail = scores[q, n:]
        if len(tail) and tail[0] > values[-1]:
            scores[q, n:] = np.minimum(tail + (values[-1] - tail[0]), values[-1])
    return Ranking(indices, scores)

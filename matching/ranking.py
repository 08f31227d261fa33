"""The answer to a set of queries: for each, database rows from best to worst."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Ranking:
    """Query-major ranking.

    Attributes:
      indices: ``(Q, K)`` int64 rows of the database, best first; ``-1`` fills the end of a shorter row.
      scores: ``(Q, K)`` float32, decreasing in each row; ``-inf`` where the index is ``-1``.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.indices.ndim != 2 or self.indices.shape != self.scores.shape:
            raise ValueError(
                "Ranking expects indices and scores of one shape (Q, K). "
                f"Received: {self.indices.shape}, {self.scores.shape}"
            )

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.indices)

    def row(self, query: int) -> NDArray[np.int64]:
        """Database rows of one query, best first, without the filling."""
        indices = self.indices[query]
        return indices[indices >= 0]

    def top(self, k: int) -> "Ranking":
        """The first ``k`` columns."""
        return Ranking(self.indices[:, :k], self.scores[:, :k])

    def without(self, removed: Sequence[Collection[int]]) -> "Ranking":
        """Takes database rows out, a set for each query; the others keep their order.

        Args:
          removed: for each query, the database rows to leave out (junk, or the query itself).

        Returns:
          A ranking of the same shape, filled with ``-1`` at the ends of its rows.
        """
        indices = np.full_like(self.indices, -1)
        scores = np.full_like(self.scores, -np.inf)
        for i, rows in enumerate(removed):
            keep = (self.indices[i] >= 0) & ~np.isin(self.indices[i], list(rows))
            n = int(keep.sum())
            indices[i, :n], scores[i, :n] = self.indices[i, keep], self.scores[i, keep]
        return Ranking(indices, scores)

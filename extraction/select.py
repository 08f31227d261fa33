"""Which local features of an image are kept."""

import numpy as np
from numpy.typing import NDArray


def top_by_score(
    scores: NDArray[np.floating], max_feature_num: int, score_threshold: float | None = None
) -> NDArray[np.int64]:
    """Rows of the highest scores, over all scales of an image at once.

    Source: the released extractor with its non-maximum suppression at IoU 1, which keeps all.

    Args:
      scores: ``(N,)``, scales joined in their order.
      max_feature_num: at most so many.
      score_threshold: keep ``score >= score_threshold`` only; None keeps all. Attention has no fixed range: the
        threshold belongs to one trained model, and one that is too high leaves nothing.

    Returns:
      Row numbers by decreasing score; of equal scores the lower row comes first.

    >>> top_by_score(np.array([1.0, 3.0, 3.0, 2.0]), 3).tolist()
    [1, 2, 3]
    """
    order = np.argsort(-scores, kind="stable")
    if score_threshold is not None:
        order = order[scores[order] >= score_threshold]
    return order[:max_feature_num]

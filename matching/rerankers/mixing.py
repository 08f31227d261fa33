"""The released mixing of ELViS and AMES: the global similarity and the score of a pair become one score."""

import numpy as np
from numpy.typing import NDArray

from matching.checks import number


def check_mixing(name: str, weight: object, temperature: object) -> None:
    """Checks the two numbers of :func:`mixed`.

    Args:
      name: of the reranker, for the message.
      weight: 0 to 1.
      temperature: 0 or more.

    Raises:
      InputError: a number is out of range.
    """
    number(f"{name}: weight", weight, most=1)
    number(f"{name}: temperature", temperature)


def mixed(
    similarities: NDArray[np.floating], scores: NDArray[np.floating], weight: float, temperature: float
) -> NDArray[np.float64]:
    """``weight similarity + (1 - weight) / (1 + exp(-temperature score))``, as the released rerankers sort.

    In float32 the second part is 1 for all scores above 33 at a temperature of 0.5, so the sum is made in float64.

    Args:
      similarities: ``(n,)`` global similarities, or scores of the link before in a chain.
      scores: ``(n,)`` of any finite value; larger is better.
      weight: of the similarity; 1 leaves the order of the first stage, 0 that of the scores.
      temperature: how fast the second part rises from 0 to 1.

    Returns:
      ``(n,)`` float64.
    """
    with np.errstate(over="ignore"):  # exp is infinite for a large negative score, and the share then 0
        share = 1 / (1 + np.exp(-temperature * scores.astype(np.float64)))
    return weight * similarities.astype(np.float64) + (1 - weight) * share

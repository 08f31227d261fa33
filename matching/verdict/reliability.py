"""How probabilities of verdicts agree with what was seen: of the answers called 90 % probable, 90 % should be right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from matching.verdict.calibration import Calibration, Judged

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Answers of nearly the same probability.

    Attributes:
      count: of the answers.
      right: number of right ones.
      predicted: mean of their probabilities.
    """

    count: int
    right: int
    predicted: float

    @property
    def observed(self) -> float:
        """Share of right answers."""
        return self.right / self.count


def bins_of(probabilities: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """Ten bins of equal width over the probabilities, without empty ones."""
    values, of_bin = np.array(probabilities, np.float64), np.array(right, bool)
    places = np.minimum((values * BINS).astype(int), BINS - 1)
    chosen = [places == place for place in np.unique(places)]
    return [Bin(int(one.sum()), int(of_bin[one].sum()), float(values[one].mean())) for one in chosen]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of predicted and observed shares (Naeini et al., AAAI 2015)."""
    return sum(one.count * abs(one.predicted - one.observed) for one in bins) / sum(one.count for one in bins)


def held_out(judged: Sequence[Judged], learn: Callable[[Sequence[Judged]], Calibration]) -> list[Bin]:
    """The best candidates of queries by a calibration that has not seen the queries.

    Args:
      judged: the queries; each half is judged by the calibration of the other.
      learn: makes a calibration.

    Raises:
      InputError: a half is too small to learn from.
    """
    middle = len(judged) // 2
    halves = judged[:middle], judged[middle:]
    probabilities, right = [], []
    for seen, queries in (halves, halves[::-1]):
        calibration = learn(seen)
        for query in queries:
            odds = [calibration.log_odds(evidence) for evidence in query.evidence]
            best = int(np.argmax(odds))
            probabilities.append(calibration.probability(query.evidence[best]))
            right.append(query.same[best])
    return bins_of(probabilities, right)

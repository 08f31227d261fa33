"""Bootstrap and paired test of a global average precision, which ranks the predictions of all queries in one list.

Every draw builds the list anew: a query that is drawn twice has its prediction in the list twice, a query that is not
drawn is left out. There are 10,000 draws for up to 2,000 groups of queries, 2,000 draws for more; the seed is fixed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evaluation.statistics.bootstrap import LEAST, SEED, Interval, PairedChange, Values, blocks, ends, flips, within
from evaluation.statistics.clusters import Groups

Rows = NDArray[np.int64]
Weights = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Gap:
    """The predictions of one method for all queries.

    Attributes:
      gains: ``(Q,)`` percent: the precision of the list down to the query's prediction where the prediction is right,
        0 where it is wrong or missing, NaN where the query shows no landmark. The mean is the global average precision.
      places: ``(Q,)`` 1-based place of the query's prediction in the list by falling score; NaN without prediction.
      grouped: ``(Q,)`` the group of each query.
    """

    gains: Values
    places: Values
    grouped: Groups

    @property
    def valued(self) -> NDArray[np.bool_]:
        """``(Q,)`` whether a query shows a landmark or has a prediction."""
        return ~(np.isnan(self.gains) & np.isnan(self.places))

    @property
    def value(self) -> float:
        """The global average precision in percent; NaN when no query shows a landmark."""
        shown = ~np.isnan(self.gains)
        return float(self.gains[shown].sum() / shown.sum()) if shown.any() else math.nan

    def interval(self) -> Interval:
        """Bootstrap interval; the ends are NaN where fewer than :data:`LEAST` groups show a landmark."""
        place, number = _numbered(self.grouped, self.valued)
        shown = self._shown(place, number)
        if np.count_nonzero(shown) < LEAST:
            return Interval(self.value, math.nan, math.nan)
        values = np.concatenate([self.resampled(drawn, place) for drawn in resamples(number, len(place))])
        return within(Interval(self.value, *ends(self.value, values, shown)), 0.0)

    def change_from(self, before: "Gap") -> PairedChange:
        """Paired bootstrap of the change, and a randomisation test over groups.

        The test exchanges the two methods' predictions, class and place in the list, within groups (places, because
        scores of two methods need not be comparable). ``p`` is how often an exchange changes the value as much as
        observed; 1 where nothing changed, NaN for a single group.
        """
        place, number = _numbered(self.grouped, self.valued | before.valued)
        difference = self.value - before.value
        if number < 2:
            return PairedChange(difference, math.nan, math.nan, math.nan)
        change = PairedChange(difference, math.nan, math.nan, _exchanged(before, self, place, number))
        shown = self._shown(place, number)
        if np.count_nonzero(shown) < LEAST:
            return change
        moved = [
            self.resampled(drawn, place) - before.resampled(drawn, place) for drawn in resamples(number, len(place))
        ]
        low, high = ends(difference, np.concatenate(moved), shown)
        return within(replace(change, low=low, high=high), -100.0)

    def resampled(self, drawn: Weights, place: Rows) -> Values:
        """``(n,)`` values of ``n`` draws; ``drawn`` is ``(n, groups)``, how often each group was drawn."""
        listed = self.listed
        shown = self._shown(place, drawn.shape[1])
        return _precision(np.take(drawn, place[listed], axis=1), self.gains[listed] > 0) * _inverse(drawn @ shown)

    def _shown(self, place: Rows, number: int) -> Rows:
        """``(number,)`` the number of queries of each group that show a landmark."""
        return np.bincount(place[~np.isnan(self.gains)], minlength=number)

    @property
    def listed(self) -> Rows:
        """The queries with a prediction, by falling score."""
        order = np.argsort(self.places, kind="stable")
        return order[: int(np.count_nonzero(~np.isnan(self.places)))]


def _numbered(grouped: Groups, valued: NDArray[np.bool_]) -> tuple[Rows, int]:
    """Numbers from 0 for the groups of valued queries, -1 for other queries; and the number of groups."""
    place = np.full(len(grouped), -1, np.int64)
    groups, place[valued] = np.unique(grouped[valued], return_inverse=True)
    return place, len(groups)


def resamples(number: int, queries: int) -> Iterator[Weights]:
    """``(n, number)`` how often each group is drawn, in blocks that fit into memory with all queries."""
    random = np.random.default_rng(SEED)
    for n in blocks(number, queries):
        rows = random.integers(0, number, (n, number))
        yield np.stack([np.bincount(row, minlength=number) for row in rows]).astype(np.int32)


def _precision(times: Weights, right: NDArray[np.bool_]) -> Values:
    """``(n,)`` 100 times the sum of the precisions at right predictions, each ``times`` times in the list."""
    right_columns = np.flatnonzero(right)
    total = np.take(np.cumsum(times, axis=1, dtype=np.int32), right_columns, axis=1)
    copies = np.take(times, right_columns, axis=1).astype(np.int32)
    before = np.cumsum(copies, axis=1, dtype=np.int32) - copies
    row, column = np.nonzero(copies)
    above, before, copies = (total - copies)[row, column], before[row, column], copies[row, column]
    sums, copy = np.zeros(len(times)), 0
    while len(row):
        copy += 1
        sums += np.bincount(row, (before + copy) / (above + copy), minlength=len(times))
        remaining = copies > copy
        row, copies, above, before = row[remaining], copies[remaining], above[remaining], before[remaining]
    return 100 * sums


def _inverse(shown: NDArray[np.int64]) -> Values:
    return np.divide(1.0, shown, out=np.full(len(shown), np.nan), where=shown > 0)


def _exchanged(before: Gap, after: Gap, place: Rows, number: int) -> float:
    """The two-sided p-value of the randomisation test."""
    listed = np.concatenate([before.listed, after.listed])
    of_after = np.repeat([0, 1], [len(before.listed), len(after.listed)])
    ranks = np.concatenate([before.places[before.listed], after.places[after.listed]])
    order = np.lexsort((listed, ranks))
    listed, of_after = listed[order], of_after[order].astype(np.int8)
    right = np.where(of_after == 1, after.gains[listed] > 0, before.gains[listed] > 0)
    shown = max(int(np.count_nonzero(~np.isnan(after.gains))), 1)
    observed, reached, total = abs(after.value - before.value), 0, 0
    for flipped in flips(number, len(listed)):
        from_after = np.take(flipped, place[listed], axis=1) ^ of_after
        moved = (_precision(from_after, right) - _precision(1 - from_after, right)) / shown
        reached += int(np.count_nonzero(np.abs(moved) >= observed - 1e-9))
        total += len(from_after)
    return reached / total

"""How far a number can be trusted: bootstrap intervals over queries, and a paired test between two methods.

What is drawn are groups of queries that share right images (five queries of one landmark are not five independent
ones), where there are at least :data:`MIN_GROUPS` of them, else single queries. All randomness has a fixed seed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from evaluation.protocols import Truth

LEVEL, SEED = 0.95, 0
DRAWS, FEWER_DRAWS, MANY = 10_000, 2_000, 2_000  # draws for up to MANY groups, and for more
MIN_GROUPS, COMMON = 8, 0.1
BLOCK = 1 << 22  # random numbers held at once
Values = NDArray[np.float64]
Groups = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A mean and where it would lie with other queries of the same kind, at :data:`LEVEL`."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """What a method gains over another on the same queries.

    Attributes:
      difference: mean change.
      low: lower end of its interval.
      high: upper end.
      p: two-sided; how often chance alone, exchanging the two methods' values within groups, changes the mean as much.
    """

    difference: float
    low: float
    high: float
    p: float


class Sample(Protocol):
    """What one method reached on the queries of a protocol."""

    @property
    def valued(self) -> NDArray[np.bool_]:
        """``(Q,)`` which queries have a part in it."""

    def interval(self) -> Interval:
        """The measure, and where it would lie with other queries."""

    def change_from(self, before: Any) -> Comparison:
        """What it gains over another method's sample of the same queries."""


@dataclass(frozen=True, eq=False)
class Mean:
    """A measure that is the mean of one value of each query.

    Attributes:
      values: ``(Q,)``; NaN has no part.
      grouped: ``(Q,)`` the group of each query.
    """

    values: ArrayLike
    grouped: NDArray[np.int64]

    @property
    def valued(self) -> NDArray[np.bool_]:
        """``(Q,)`` whether a query has a value."""
        return ~np.isnan(np.asarray(self.values, np.float64))

    def interval(self) -> Interval:
        """See :func:`interval`."""
        return interval(self.values, self.grouped)

    def change_from(self, before: "Mean") -> Comparison:
        """See :func:`compare`."""
        return compare(before.values, self.values, self.grouped)


def groups(truths: Sequence[Truth]) -> Groups:
    """``(Q,)`` group of each query: queries of one thing, told by right images in common, are in one.

    Two queries are joined when at least a tenth of the right images of either are right for both (a few images show two
    landmarks). Where that leaves fewer than :data:`MIN_GROUPS` groups (a street whose photos all overlap), each query
    is its own.

    >>> from evaluation.protocols import Truth
    >>> def sees(*rows): return Truth(np.array(rows, np.int64), np.zeros(0, np.int64))
    >>> far = [sees(row) for row in range(10, 18)]
    >>> groups([sees(0, 1), sees(2), sees(1, 2), *far]).tolist()
    [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    >>> groups([sees(0, 1), sees(1)]).tolist()
    [0, 1]
    """
    found, number = _found(truths)
    return found if number >= MIN_GROUPS else np.arange(len(truths), dtype=np.int64)


def too_few(truths: Sequence[Truth]) -> int:
    """How many groups there are where :func:`groups` gives each query its own instead; 0 where nothing is lost by it.

    >>> from evaluation.protocols import Truth
    >>> def sees(*rows): return Truth(np.array(rows, np.int64), np.zeros(0, np.int64))
    >>> too_few([sees(0, 1), sees(0, 1), sees(2)]), too_few([sees(0), sees(1)]), too_few([])
    (2, 0, 0)
    """
    _, number = _found(truths)
    return number if number < min(MIN_GROUPS, sum(len(truth.positives) > 0 for truth in truths)) else 0


def _found(truths: Sequence[Truth]) -> tuple[Groups, int]:
    """``(Q,)`` group of each query, however few there are; and how many have right images."""
    sets: dict[bytes, NDArray[np.int64]] = {}
    keys = [truth.positives.tobytes() or f"none {q}".encode() for q, truth in enumerate(truths)]
    for key, truth in zip(keys, truths):
        sets.setdefault(key, truth.positives)
    place = {key: number for number, key in enumerate(sets)}
    found = _joined(list(sets.values()))[[place[key] for key in keys]] if sets else np.zeros(0, np.int64)
    shown = [q for q, truth in enumerate(truths) if len(truth.positives)]
    return found, len(np.unique(found[shown]))


def _joined(sets: Sequence[NDArray[np.int64]]) -> Groups:
    """``(N,)`` group of each of some sets, all of them different."""
    sizes = np.array([len(rows) for rows in sets], np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.concatenate(sets)
    seen = csr_array((np.ones(len(columns)), columns, starts), shape=(len(sets), columns.max(initial=-1) + 1))
    common = (seen @ seen.T).tocoo()
    either = sizes[common.row] + sizes[common.col] - common.data
    close = common.data >= COMMON * either
    shape = (len(sets), len(sets))
    joined = csr_array((common.data[close], (common.row[close], common.col[close])), shape=shape)
    return np.asarray(connected_components(joined, directed=False)[1], np.int64)


def interval(values: ArrayLike, grouped: Groups) -> Interval:
    """Percentile bootstrap of the mean.

    Args:
      values: ``(Q,)`` one of each query; NaN has no part.
      grouped: ``(Q,)`` its group.

    Returns:
      The mean and its interval; NaN where there is no value, and ends of NaN where there is one group alone.
    """
    x = np.asarray(values, np.float64)
    return _bootstrap(*_by_group(x, grouped))


def ratio(above: ArrayLike, below: ArrayLike, grouped: Groups) -> Interval:
    """Percentile bootstrap of the ratio of two means of the same queries, such as of two methods' times.

    Args:
      above: ``(Q,)`` one value of each query.
      below: ``(Q,)`` what is divided by.
      grouped: ``(Q,)`` the group of each query.

    Returns:
      The ratio of the means and its interval, as :func:`interval`.
    """
    sums, sizes = (_by_group(np.asarray(values, np.float64), grouped)[0] for values in (above, below))
    return _bootstrap(sums, sizes)


def _bootstrap(sums: Values, sizes: Values) -> Interval:
    """Of the ratio of two sums over groups."""
    mean = float(sums.sum() / sizes.sum()) if sizes.sum() else math.nan
    if len(sums) < 2:
        return Interval(mean, math.nan, math.nan)
    random = np.random.default_rng(SEED)
    weights = np.full(len(sums), 1 / len(sums))
    means = [_ratio(random.multinomial(len(sums), weights, size=n), sums, sizes) for n in blocks(len(sums))]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high))


def compare(before: ArrayLike, after: ArrayLike, grouped: Groups) -> Comparison:
    """Paired bootstrap of the mean change, and a sign-flip randomisation test over groups.

    Args:
      before: ``(Q,)`` values of one method; NaN has no part.
      after: those of the other on the same queries.
      grouped: ``(Q,)`` the group of each query.

    Returns:
      The change ``after - before``; ``p`` is 1 where nothing changed, NaN where there is one group alone.
    """
    change = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    found = interval(change, grouped)
    sums, _ = _by_group(change, grouped)
    if len(sums) < 2:
        return Comparison(found.mean, found.low, found.high, math.nan)
    random = np.random.default_rng(SEED)
    seen, tolerance = abs(sums.sum()), 1e-12 * np.abs(sums).sum()
    reached = total = 0
    for n in blocks(len(sums)):
        signs = random.integers(0, 2, (n, len(sums)), dtype=np.int8) * 2.0 - 1.0
        reached += int(np.count_nonzero(np.abs(signs @ sums) >= seen - tolerance))
        total += n
    return Comparison(found.mean, found.low, found.high, (reached + 1) / (total + 1))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, 1979); NaN stays and does not count.

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = [i for i in np.argsort(p, kind="stable").tolist() if not math.isnan(p[i])]
    corrected, worst = list(p), 0.0
    for place, i in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - place) * p[i]))
        corrected[i] = worst
    return corrected


def _by_group(values: Values, grouped: Groups) -> tuple[Values, Values]:
    """Sums and numbers of the values of each group that has any."""
    valid = ~np.isnan(values)
    _, place = np.unique(grouped[valid], return_inverse=True)
    return np.asarray(np.bincount(place, values[valid]), np.float64), np.bincount(place).astype(np.float64)


def blocks(count: int) -> Iterator[int]:
    """How many draws are made at once, until all are made."""
    left = DRAWS if count <= MANY else FEWER_DRAWS
    while left:
        n = max(1, min(left, BLOCK // count))
        left -= n
        yield n


def _ratio(drawn: NDArray[np.int64], sums: Values, sizes: Values) -> Values:
    return np.asarray((drawn @ sums) / (drawn @ sizes), np.float64)


def summary(samples: Mapping[str, Mapping[str, Sample]]) -> dict[str, Any]:
    """Intervals of all rows of a report, and each row against what it is to better.

    A reranked row stands against its own first stage, another first stage against the first row. The p-values of a
    protocol are corrected for their number.

    Args:
      samples: ``{row: {protocol: sample}}``, the first stage of the model under test first.

    Returns:
      ``level``, ``intervals`` ``{row: {protocol: {mean, low, high}}}``, and ``paired`` ``{row: {"against": row,
      "protocols": {protocol: {difference, low, high, p, p_corrected}}}}``.
    """
    rows = list(samples)
    against = {row: row.partition("+")[0] if "+" in row else rows[0] for row in rows}
    against = {row: other for row, other in against.items() if other in samples and other != row}
    intervals = {row: {p: asdict(sample.interval()) for p, sample in samples[row].items()} for row in rows}
    paired: dict[str, Any] = {row: {"against": other, "protocols": {}} for row, other in against.items()}
    for protocol in samples[rows[0]] if rows else ():
        found = [samples[row][protocol].change_from(samples[other][protocol]) for row, other in against.items()]
        for row, change, corrected in zip(against, found, holm([change.p for change in found]), strict=True):
            paired[row]["protocols"][protocol] = asdict(change) | {"p_corrected": corrected}
    return {"level": LEVEL, "intervals": intervals, "paired": paired}

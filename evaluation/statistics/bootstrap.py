"""Bootstrap intervals over queries, and a paired test between two methods.

The bootstrap draws clusters of queries that share right images (:mod:`evaluation.statistics.clusters`). Percentiles are
widened for small numbers of clusters, see :func:`stretch`. All randomness has a fixed seed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from evaluation.statistics.clusters import Groups

LEVEL, SEED = 0.95, 0
DRAWS, FEWER_DRAWS, MANY = 10_000, 2_000, 2_000  # draws for up to MANY groups, and for more
LEAST = 3  # groups of an interval: with two groups it would hold the truth 80 to 95 times in 100
EVERY = 13  # largest number of groups whose exchanges are all tried, 2^13
BLOCK = 1 << 22  # random numbers in memory
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval for other queries of the same kind, at :data:`LEVEL`."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedChange:
    """The gain of a method over another method on the same queries.

    Attributes:
      difference: mean change.
      low: lower end of the interval.
      high: upper end of the interval.
      p: two-sided p-value; how often random exchanges of the two methods' values within groups change the mean as much.
    """

    difference: float
    low: float
    high: float
    p: float


Ranged = TypeVar("Ranged", Interval, PairedChange)


class Sample(Protocol):
    """The values of one method on the queries of a protocol."""

    @property
    def valued(self) -> NDArray[np.bool_]:
        """``(Q,)`` whether a query counts in the measure."""

    def interval(self) -> Interval:
        """The measure and its confidence interval."""

    def change_from(self, before: Any) -> PairedChange:
        """The gain over another method's sample of the same queries."""


@dataclass(frozen=True, eq=False)
class Mean:
    """A measure that is the mean of one value per query.

    Attributes:
      values: ``(Q,)`` percent; NaN is left out.
      grouped: ``(Q,)`` the group of each query.
    """

    values: ArrayLike
    grouped: Groups

    @property
    def valued(self) -> NDArray[np.bool_]:
        """``(Q,)`` whether a query has a value."""
        return ~np.isnan(np.asarray(self.values, np.float64))

    def interval(self) -> Interval:
        """See :func:`interval`; within 0 and 100."""
        return within(interval(self.values, self.grouped), 0.0)

    def change_from(self, before: "Mean") -> PairedChange:
        """See :func:`compare`; within -100 and 100."""
        return within(compare(before.values, self.values, self.grouped), -100.0)


def within(interval: Ranged, least: float) -> Ranged:
    """An interval in percent, cut to the possible values from ``least`` to 100; NaN stays."""
    return replace(interval, low=float(np.maximum(interval.low, least)), high=float(np.minimum(interval.high, 100.0)))


def stretch(sizes: ArrayLike) -> Values:
    """The factor that widens the distance of bootstrap percentiles from the mean.

    Percentiles are too close to the mean for few groups: they follow a normal instead of a t distribution, and their
    variance is divided by the number of groups ``n`` instead of ``n - 1`` (Hesterberg, arXiv 1411.5279). The factor is
    ``t / z * sqrt(n / (n - 1))``. Groups of unequal sizes count as fewer: ``n = (sum sizes)^2 / sum sizes^2`` (Kish),
    at least 2. ``python -m scripts.studies.coverage`` measures how often such an interval holds the truth.

    Args:
      sizes: ``(..., G)`` the weight of each group in the mean.

    Returns:
      ``(...)``, above 1.

    >>> [round(float(stretch(np.ones(number))), 2) for number in (2, 5, 12, 70)]
    [9.17, 1.58, 1.17, 1.03]
    >>> round(float(stretch([8, 8, 4, 1, 5, 8, 5, 8, 5, 5, 5, 8])), 2)  # the queries of ROxford5k
    1.2
    """
    weights = np.asarray(sizes, np.float64)
    freedom = np.maximum(weights.sum(axis=-1) ** 2 / (weights**2).sum(axis=-1) - 1, 1.0)
    level = (1 + LEVEL) / 2
    return np.asarray(stdtrit(freedom, level) / ndtri(level) * np.sqrt((freedom + 1) / freedom), np.float64)


def ends(mean: float, draws: Values, sizes: ArrayLike) -> tuple[float, float]:
    """The ends of an interval.

    Args:
      mean: the mean over the queries.
      draws: the mean of each draw; NaN for a draw without values.
      sizes: ``(G,)`` the weight of each group in the mean.

    Returns:
      Lower and upper end.
    """
    low, high = mean + stretch(sizes) * (np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - mean)
    return float(low), float(high)


def interval(values: ArrayLike, grouped: Groups) -> Interval:
    """Bootstrap of the mean: percentiles, widened by :func:`stretch`.

    Args:
      values: ``(Q,)`` a value per query; NaN is left out.
      grouped: ``(Q,)`` the group of each query.

    Returns:
      The mean and its interval; NaN without values; the ends are NaN for fewer than :data:`LEAST` groups.
    """
    x = np.asarray(values, np.float64)
    return _bootstrap(*_by_group(x, grouped))


def ratio(above: ArrayLike, below: ArrayLike, grouped: Groups) -> Interval:
    """Bootstrap of the ratio of two means over the same queries, such as of two methods' times.

    Args:
      above: ``(Q,)`` numerators, a value above 0 per query.
      below: ``(Q,)`` denominators, a value above 0 per query.
      grouped: ``(Q,)`` the group of each query.

    Returns:
      The ratio of the means and its interval as in :func:`interval`, computed from logarithms so that it is positive.
    """
    sums, sizes = (_by_group(np.asarray(values, np.float64), grouped)[0] for values in (above, below))
    quotient = float(sums.sum() / sizes.sum())
    if len(sums) < LEAST:
        return Interval(quotient, math.nan, math.nan)
    low, high = ends(math.log(quotient), np.log(_drawn(sums, sizes)), sizes)
    return Interval(quotient, math.exp(low), math.exp(high))


def _bootstrap(sums: Values, sizes: Values) -> Interval:
    """Bootstrap of the ratio of two sums over groups."""
    mean = float(sums.sum() / sizes.sum()) if sizes.sum() else math.nan
    if len(sums) < LEAST:
        return Interval(mean, math.nan, math.nan)
    return Interval(mean, *ends(mean, _drawn(sums, sizes), sizes))


def _drawn(sums: Values, sizes: Values) -> Values:
    """The ratio of the sums of each draw of groups."""
    random = np.random.default_rng(SEED)
    weights = np.full(len(sums), 1 / len(sums))
    means = [_ratio(random.multinomial(len(sums), weights, size=n), sums, sizes) for n in blocks(len(sums), len(sums))]
    return np.concatenate(means)


def compare(before: ArrayLike, after: ArrayLike, grouped: Groups) -> PairedChange:
    """Paired bootstrap of the mean change, and a sign-flip randomisation test over groups, exact for few groups.

    Args:
      before: ``(Q,)`` values of one method; NaN is left out.
      after: ``(Q,)`` values of the other method on the same queries.
      grouped: ``(Q,)`` the group of each query.

    Returns:
      The change ``after - before``; ``p`` is 1 where nothing changed, NaN for a single group.
    """
    change = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    change_interval = interval(change, grouped)
    sums, _ = _by_group(change, grouped)
    if len(sums) < 2:
        return PairedChange(change_interval.mean, change_interval.low, change_interval.high, math.nan)
    observed, tolerance = abs(sums.sum()), 1e-12 * np.abs(sums).sum()
    reached = total = 0
    for flipped in flips(len(sums), len(sums)):
        reached += int(np.count_nonzero(np.abs((1.0 - 2.0 * flipped) @ sums) >= observed - tolerance))
        total += len(flipped)
    return PairedChange(change_interval.mean, change_interval.low, change_interval.high, reached / total)


def flips(number: int, held: int) -> Iterator[NDArray[np.int8]]:
    """Choices of groups whose two methods are exchanged: all choices for few groups, else none, then random choices.

    Args:
      number: number of groups.
      held: numbers in memory for a choice.

    Yields:
      ``(n, number)`` of 0 and 1, in blocks.

    >>> [block.tolist() for block in flips(2, 2)]
    [[[0, 0], [1, 0], [0, 1], [1, 1]]]
    """
    if number <= EVERY:
        every = ((np.arange(2**number)[:, None] >> np.arange(number)) & 1).astype(np.int8)
        step = max(1, BLOCK // held)
        yield from (every[start : start + step] for start in range(0, len(every), step))
        return
    yield np.zeros((1, number), np.int8)
    random = np.random.default_rng(SEED)
    for n in blocks(number, held):
        yield random.integers(0, 2, (n, number), dtype=np.int8)


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for multiple tests (Holm, 1979); NaN stays and is not counted.

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
    """Sums and numbers of the values of each group with values."""
    valid = ~np.isnan(values)
    _, place = np.unique(grouped[valid], return_inverse=True)
    return np.asarray(np.bincount(place, values[valid]), np.float64), np.bincount(place).astype(np.float64)


def blocks(number: int, held: int) -> Iterator[int]:
    """Sizes of the blocks of all draws; a draw takes ``held`` numbers in memory."""
    left = DRAWS if number <= MANY else FEWER_DRAWS
    while left:
        n = max(1, min(left, BLOCK // held))
        left -= n
        yield n


def _ratio(drawn: NDArray[np.int64], sums: Values, sizes: Values) -> Values:
    return np.asarray((drawn @ sums) / (drawn @ sizes), np.float64)


def summary(samples: Mapping[str, Mapping[str, Sample]]) -> dict[str, Any]:
    """Intervals of all rows of a report, and paired changes of each row against its reference row.

    The reference of a reranked row is its own first stage; the reference of another first stage is the first row. The
    p-values of a protocol are corrected for their number.

    Args:
      samples: ``{row: {protocol: sample}}``, the first stage of the model under test first.

    Returns:
      ``level``, ``intervals`` ``{row: {protocol: {mean, low, high}}}``, and ``paired`` ``{row: {"against": row,
      "protocols": {protocol: {difference, low, high, p, p_corrected}}}}``.
    """
    rows = list(samples)
    against = _references(samples)
    intervals = {row: {p: asdict(sample.interval()) for p, sample in samples[row].items()} for row in rows}
    paired: dict[str, Any] = {row: {"against": reference, "protocols": {}} for row, reference in against.items()}
    for protocol in samples[rows[0]] if rows else ():
        changes = [
            samples[row][protocol].change_from(samples[reference][protocol]) for row, reference in against.items()
        ]
        for row, change, corrected in zip(against, changes, holm([change.p for change in changes]), strict=True):
            paired[row]["protocols"][protocol] = asdict(change) | {"p_corrected": corrected}
    return {"level": LEVEL, "intervals": intervals, "paired": paired}


def _references(samples: Mapping[str, Mapping[str, Sample]]) -> dict[str, str]:
    """The reference of each row that has one."""
    rows = list(samples)
    against = {row: row.partition("+")[0] if "+" in row else rows[0] for row in rows}
    return {row: reference for row, reference in against.items() if reference in samples and reference != row}


def between(samples: Mapping[str, Mapping[str, Sample]]) -> list[dict[str, Any]]:
    """Paired changes of all pairs of rows that :func:`summary` leaves out; p is corrected for their number."""
    against = _references(samples)
    pairs = [(row, other) for other, row in combinations(samples, 2) if against.get(row) != other]
    found: list[dict[str, Any]] = [{"row": row, "against": other, "protocols": {}} for row, other in pairs]
    for protocol in next(iter(samples.values()), ()):
        changes = [samples[row][protocol].change_from(samples[other][protocol]) for row, other in pairs]
        for entry, change, corrected in zip(found, changes, holm([change.p for change in changes]), strict=True):
            entry["protocols"][protocol] = asdict(change) | {"p_corrected": corrected}
    return found

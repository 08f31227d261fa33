"""Metrics of rankings, by the definitions of the revisited Oxford and Paris benchmarks.

Ranks are 0-based positions. Junk is neither right nor wrong: positives move up by the number of junk images before
them. Average precision is the area under the precision-recall curve with trapezoids, as released (the finite sum of
other libraries is lower). Queries without positives have no value, and the means leave them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from delg.common.errors import InputError
from evaluation.metrics.metric import Metric, Values
from evaluation.metrics.truth import Truth

KS = (1, 5, 10)
CUTS = ("whole", "revisited", "delg")  # rules for rankings that lack positives, see :func:`evaluate`


def adjusted_ranks(positives: ArrayLike, junk: ArrayLike) -> NDArray[np.int64]:
    """Ranks of the positives after junk is removed.

    Args:
      positives: 0-based ranks of the positives.
      junk: 0-based ranks of the junk images.

    Returns:
      Increasing ranks, each lowered by the number of junk images before it.

    >>> adjusted_ranks([0, 2, 6], [1, 4]).tolist()
    [0, 1, 4]
    """
    ranks = np.sort(np.asarray(positives, np.int64))
    return ranks - np.searchsorted(np.sort(np.asarray(junk, np.int64)), ranks)


def oxford_ap(ranks: ArrayLike, num_positives: int | None = None) -> float:
    """Average precision with trapezoids: ``sum_i (i / r_i + (i + 1) / (r_i + 1)) / 2 / n``, where ``0 / 0`` is 1.

    Args:
      ranks: 0-based ranks of the positives that were found, increasing.
      num_positives: number of all positives; positives outside the ranking count as never found. None for as many as
        were found.

    Returns:
      A number in [0, 1]; 0 when there are no positives.

    Two positives at ranks 0 and 2: the trapezoids are (1 + 1) / 2 and (1/2 + 2/3) / 2.

    >>> round(oxford_ap([0, 2]), 6) == round((1 + 7 / 12) / 2, 6)
    True
    """
    r = np.asarray(ranks, np.float64)
    n = len(r) if num_positives is None else num_positives
    if n == 0:
        return 0.0
    i = np.arange(len(r))
    before = np.where(r == 0, 1.0, i / np.maximum(r, 1.0))
    return float(np.sum((before + (i + 1) / (r + 1)) / 2) / n)


def precision_at(ranks: ArrayLike, k: int, num_positives: int | None = None) -> float:
    """Share of positives in the first ``min(k, last positive's position)`` results, as released.

    Args:
      ranks: 0-based ranks of the positives that were found, increasing.
      k: length of the scored list.
      num_positives: number of all positives; if some were not found, the last position lies beyond every ``k``. None
        for as many as were found.

    Returns:
      A number in [0, 1]; 0 when none was found.

    >>> precision_at([0, 2], 10)
    0.6666666666666666
    """
    r = np.asarray(ranks, np.int64)
    if len(r) == 0:
        return 0.0
    depth = k if num_positives is not None and len(r) < num_positives else min(k, int(r[-1]) + 1)
    return float(np.count_nonzero(r < depth) / depth)


def recall_at(ranks: ArrayLike, k: int, num_positives: int | None = None) -> float:
    """Share of the positives among the first ``k`` results.

    >>> recall_at([0, 2], 1)
    0.5
    """
    r = np.asarray(ranks, np.int64)
    n = len(r) if num_positives is None else num_positives
    return float(np.count_nonzero(r < k) / n) if n else 0.0


def cut_ap(ranks: ArrayLike, k: int, num_positives: int | None = None) -> float:
    """Average precision of the first ``k`` results as in the code of MSLS: a finite sum over ``min(n, k)``.

    Source: ``apk`` of `mapillary_sls/utils/eval.py`.

    Args:
      ranks: 0-based ranks of the positives that were found, increasing.
      k: length of the scored list.
      num_positives: number of all positives; None for as many as were found.

    Returns:
      A number in [0, 1]; 0 when there are no positives.

    >>> cut_ap([0, 2, 7], 5) == (1 + 2 / 3) / 3
    True
    """
    r = np.asarray(ranks, np.int64)
    n = min(len(r) if num_positives is None else num_positives, k)
    r = r[r < k]
    return float(np.sum(np.arange(1, len(r) + 1) / (r + 1)) / n) if n else 0.0


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of the rankings of all queries under one protocol, as fractions.

    Attributes:
      ap: ``(Q,)`` average precision of each query; NaN without positives.
      precisions: ``(Q, len(ks))`` precisions, see :func:`precision_at`.
      recalls: ``(Q, len(ks))`` recalls, see :func:`recall_at`.
      ks: the list lengths of the columns.
      cut_aps: ``(Q, len(ks))``, see :func:`cut_ap`; None where unknown.
    """

    ap: Values
    precisions: Values
    recalls: Values
    ks: tuple[int, ...] = KS
    cut_aps: Values | None = None

    @property
    def map(self) -> float:
        """Mean average precision; NaN when no query has a positive."""
        return float(_mean(self.ap))

    def mean_precisions(self) -> Values:
        """``(len(ks),)`` mean precision at each ``k``."""
        return _mean(self.precisions)

    def mean_recalls(self) -> Values:
        """``(len(ks),)`` mean recall at each ``k``."""
        return _mean(self.recalls)

    def hits(self, count_all: bool = False) -> Values:
        """``(Q, len(ks))``: 1 where any positive is in the first ``k``, else 0.

        Args:
          count_all: whether queries without positives get 0 instead of NaN.
        """
        return np.where(np.isnan(self.recalls) & (not count_all), np.nan, self.recalls > 0)

    def any_recalls(self, count_all: bool = False) -> Values:
        """``(len(ks),)`` Recall@k of place recognition: the share of queries with any positive in the first ``k``.

        The measure of NetVLAD (arXiv 1511.07247, section 5.1).

        Args:
          count_all: whether queries without positives count as failures, as in VPR-methods-evaluation. Otherwise the
            mean leaves them out, as in the code of MSLS; NaN when no query remains.
        """
        return _mean(self.hits(count_all))

    def metrics(self, *, any_recall: bool = False, count_all: bool = False, cut_map: bool = False) -> dict[str, Metric]:
        """The metrics of a report, in percent and full precision.

        Args:
          any_recall: whether R@k is returned, see :meth:`any_recalls`.
          count_all: see :meth:`any_recalls`.
          cut_map: whether mAP@k is returned, the means of :func:`cut_ap`.

        Returns:
          mAP; mP@k; optionally R@k and mAP@k; mR@k, which tables leave out.
        """
        metrics = {"mAP": Metric(100 * self.map, 100 * self.ap)}
        metrics |= self._means("mP", self.precisions)
        if any_recall:
            hits = self.hits(count_all)
            columns = zip(self.ks, self.any_recalls(count_all), hits.T)
            metrics |= {f"R@{k}": Metric(100 * float(mean), 100 * hit, compared=True) for k, mean, hit in columns}
        if cut_map and self.cut_aps is not None:
            metrics |= self._means("mAP", self.cut_aps)
        return metrics | self._means("mR", self.recalls, in_table=False)

    def _means(self, name: str, values: Values, in_table: bool = True) -> dict[str, Metric]:
        """The means of ``(Q, len(ks))`` values, ``NAME@k``."""
        return {f"{name}@{k}": Metric(100 * float(v), in_table=in_table) for k, v in zip(self.ks, _mean(values))}


def _mean(values: Values) -> Values:
    """Mean over the queries that have a value."""
    valid = ~np.isnan(values.reshape(len(values), -1)).any(axis=1)
    return values[valid].mean(axis=0) if valid.any() else np.full(values.shape[1:], np.nan)


def evaluate(
    rows: Sequence[ArrayLike], truths: Sequence[Truth], ks: Sequence[int] = KS, *, cut: str = CUTS[0]
) -> Scores:
    """Scores a ranking against a protocol's truths.

    The released evaluators expect rankings of the whole database. They take one that is cut, such as the answer of an
    index, in ways of their own, by which a list scores more the sooner it ends: one result, if right, has a precision
    of 1 at every ``k``. By default a positive that is not in the list counts as standing behind it, so that the values
    are those of the whole ranking wherever the list is at least ``k`` long.

    Args:
      rows: for each query the database rows, best first; junk may still be in it. Rows below 0 are filling.
      truths: for each query its positives and its junk.
      ks: list lengths of precision and recall.
      cut: the rule for rankings that lack positives: ``"whole"``, see above; ``"revisited"`` as in the evaluator of the
        revisited benchmarks, precision at ``min(k, place of the last found positive)``; ``"delg"`` as in DELG's
        evaluator, the same precision, and average precision and recall over found positives only.

    Returns:
      The scores of every query.

    Raises:
      InputError: an unknown ``cut``.
    """
    ranks = []
    for row, truth in zip(rows, truths, strict=True):
        order = np.asarray(row, np.int64)
        order = order[order >= 0]
        ranks.append((np.flatnonzero(np.isin(order, truth.positives)), np.flatnonzero(np.isin(order, truth.junk))))
    return of_ranks(ranks, [len(truth.positives) for truth in truths], ks, cut=cut)


def of_ranks(
    ranks: Sequence[tuple[ArrayLike, ArrayLike]],
    num_positives: Sequence[int],
    ks: Sequence[int] = KS,
    *,
    cut: str = CUTS[0],
) -> Scores:
    """Scores queries by the ranks of their positives and of their junk.

    Args:
      ranks: for each query the 0-based ranks of the found positives, and of the junk.
      num_positives: for each query the number of all positives.
      ks: list lengths of precision and recall.
      cut: see :func:`evaluate`.

    Returns:
      The scores of every query.

    Raises:
      InputError: an unknown ``cut``.
    """
    if cut not in CUTS:
        raise InputError(f"Unknown cut {cut!r}; the choices are {', '.join(CUTS)}.")
    columns = tuple(ks)
    ap = np.full(len(ranks), np.nan)
    precisions, recalls, cut_aps = np.full((3, len(ranks), len(columns)), np.nan)
    for q, ((positives, junk), n) in enumerate(zip(ranks, num_positives, strict=True)):
        if n == 0:
            continue
        moved = adjusted_ranks(positives, junk)
        expected = None if cut == "delg" else n
        ap[q] = oxford_ap(moved, expected)
        precisions[q] = [precision_at(moved, k, n if cut == CUTS[0] else None) for k in columns]
        recalls[q] = [recall_at(moved, k, expected) for k in columns]
        cut_aps[q] = [cut_ap(moved, k, n) for k in columns]
    return Scores(ap, precisions, recalls, columns, cut_aps)

"""The weight of ``fused`` and the limit of ``gated`` that suit photos with labels, by mean average precision."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from delg.common import spec
from delg.common.errors import InputError
from extraction.formats.base import FeatureSource
from matching.indexes.exact import search
from matching.ranking import Ranking
from matching.rerankers.base import Scores
from matching.rerankers.table import INNER, build_reranker, links, suited
from matching.source import Slice

MOST = 300  # photos that are queried with
WEIGHTS = [0.0, *(float(f"{weight:.2g}") for weight in np.geomspace(1e-3, 10, 41))]
LIMITS = 101  # of a gate: quantiles of the queries' values, rounded up
DIGITS = 4  # after the point, of a limit

Truth = NDArray[np.bool_]


@dataclass(frozen=True)
class Learned:
    """What was learned.

    Attributes:
      text: the reranker with the learned argument.
      before: mAP in percent of the first stage.
      inner: of the inner reranker alone.
      after: of the text, on the same photos.
      queries: how many photos it was learned from.
    """

    text: str
    before: float
    inner: float
    after: float
    queries: int


@dataclass(frozen=True)
class _Query:
    """A query's first candidates, by both rankings, and what the order is worth."""

    first: Scores
    inner: Scores
    evidence: Scores
    truth: Truth  # of all photos, in the order of the first stage

    def precision(self, scores: Scores) -> float:
        """Average precision of the order by new scores of the candidates."""
        order = np.argsort(-scores, kind="stable")
        truth = np.concatenate([self.truth[order], self.truth[len(order) :]])
        places = np.flatnonzero(truth)
        return float(np.mean(np.arange(1, len(places) + 1) / (places + 1)))


def learn(text: str, database: FeatureSource, labels: Sequence[Hashable]) -> Learned:
    """Chooses the number of a ``fused`` or ``gated`` reranker.

    Photos of the database query all others, up to 300 of them, spread over all, that have another photo of their label.

    Args:
      text: ``fused(reranker="...")`` or ``gated(reranker="...")``; other arguments are learned anew.
      database: features of photos.
      labels: of the photos; those of one label show the same thing.

    Returns:
      The text with the ``weight``, or with the ``similarity`` or ``gap``, of the largest mAP; of equal ones with the
      least change of the first stage.

    Raises:
      InputError: the text is another one, no label has two photos, or the features cannot be compared.
    """
    parts = links(text)
    name, given = parts[0]
    if len(parts) > 1 or name not in ("fused", "gated") or not isinstance(given.get(INNER), str):
        raise InputError(f'Expected fused(reranker="...") or gated(reranker="..."). Received: {text!r}')
    queries = list(_queries(suited(given[INNER], database.settings), database, labels))
    before = np.array([query.precision(query.first) for query in queries])
    inner = np.array([query.precision(query.inner) for query in queries])
    if name == "fused":
        means = [np.mean([q.precision(q.first + weight * q.evidence) for q in queries]) for weight in WEIGHTS]
        best = int(np.argmax(means))
        argument, value, after = "weight", WEIGHTS[best], float(means[best])
    else:
        argument, value, after = _gate(queries, before, inner)
    learned = spec.render(name, {INNER: given[INNER], argument: value})
    return Learned(learned, 100 * float(before.mean()), 100 * float(inner.mean()), 100 * after, len(queries))


def _gate(queries: Sequence[_Query], before: Scores, inner: Scores) -> tuple[str, float, float]:
    """The argument of ``gated``, its value, and the mean precision with it."""
    choices = []
    for argument, values in (
        ("similarity", np.array([q.first[0] for q in queries])),
        ("gap", np.array([q.first[0] - q.first[1] if len(q.first) > 1 else np.inf for q in queries])),
    ):
        finite = values[np.isfinite(values)]
        limits = np.ceil(np.quantile(finite, np.linspace(0, 1, LIMITS)) * 10**DIGITS + 0.5) / 10**DIGITS
        for limit in [0.0, *(round(float(limit), DIGITS) for limit in np.maximum(limits, 0))]:
            weak = values < limit
            choices.append((float(np.where(weak, inner, before).mean()), -int(weak.sum()), argument, limit))
    after, _, argument, limit = max(choices, key=lambda choice: choice[:2])
    return argument, limit, after


def _queries(text: str, database: FeatureSource, labels: Sequence[Hashable]) -> Iterator[_Query]:
    """The queries, one after the other."""
    if len(labels) != len(database):
        raise InputError(f"Expected a label for each of {len(database)} photos. Received: {len(labels)}")
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    classes = np.array([places[label] for label in labels])
    rows = np.flatnonzero(np.bincount(classes)[classes] > 1)
    if not len(rows):
        raise InputError("Expected two photos or more of one label.")
    reranker = build_reranker(text)
    for row in rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST)).astype(np.int64))].tolist():
        vector = np.asarray(database.global_descriptors[row], np.float32)[None]
        first = search(vector, database.global_descriptors, len(database)).without([{row}])
        n = len(first.row(0))
        ranking = Ranking(first.indices[:, :n], first.scores[:, :n])
        query, head = Slice(database, range(row, row + 1)), ranking.top(reranker.top_k)
        scores = np.asarray(next(iter(reranker.scores(query, database, head))), np.float64)
        evidence = reranker.evidence(scores)
        yield _Query(head.scores[0].astype(np.float64), scores, evidence, classes[ranking.row(0)] == classes[row])

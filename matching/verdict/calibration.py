"""From evidence to a probability and a verdict, at a rate of false matches that the user chooses."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources import files
from math import exp, log1p, log2, log10, tanh
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import read_json, write_json
from extraction.formats.checks import matching_of, parts_of
from matching.checks import number
from matching.rerankers.ransac import Ransac
from matching.verdict.evidence import Evidence
from matching.verdict.fitting import logistic, threshold

SAME, UNSURE, ABSENT = LABELS = ("same", "unsure", "not in the collection")
FALSE_MATCH_RATE = 0.01
DOUBT = 0.2  # probability below which a photo is said to be absent
GENERIC = "generic"
SHIPPED = "calibrations.json"
SURE = 10.0  # surprise beyond which spread and shape of the inliers count fully
FAR = 10.0  # gap
MAX_STRETCH = 6.0
GLOBAL, LOCAL = "global", "local"
TERMS: dict[str, str | None] = {
    "surprise": LOCAL,
    "coverage": LOCAL,
    "shape": LOCAL,
    "gap": GLOBAL,
    "similarity": GLOBAL,
}
"""What a probability depends on, each with the head that gives the term."""


@dataclass(frozen=True)
class Verdict:
    """What is said about a query, or about a query and one database image.

    Attributes:
      label: ``same``, ``unsure`` or ``not in the collection``; of a pair the latter means "another thing".
      probability: that it is the same thing.
      false_match_rate: share of the queries without a true photo in the collection that may be answered ``same``.
    """

    label: str
    probability: float
    false_match_rate: float = FALSE_MATCH_RATE


@dataclass(frozen=True)
class Judged:
    """The verified candidates of a query, with the truth: what a calibration is learned from.

    Attributes:
      evidence: of each candidate.
      same: whether each shows the same thing.
    """

    evidence: tuple[Evidence, ...]
    same: tuple[bool, ...]


def terms_of(evidence: Evidence) -> list[float]:
    """The terms of :data:`TERMS`, larger where more speaks for the same thing; 0 for what was not compared."""
    sure = tanh(evidence.surprise / SURE)
    stretch = min(max(log2(evidence.stretch) / log2(MAX_STRETCH), 0.0), 1.0)
    return [
        log1p(evidence.surprise),
        sure * evidence.coverage,
        sure * (1 - stretch),
        0.0 if evidence.gap is None else min(max(evidence.gap, 0.0), FAR) / FAR,
        0.0 if evidence.similarity is None else evidence.similarity,
    ]


@dataclass(frozen=True)
class Calibration:
    """Probability and verdict from evidence.

    The logarithm of the odds is a sum of terms with weights. A query is falsely answered ``same`` when any of its
    verified candidates is, so the threshold comes from the largest log-odds of queries that have no true photo, one
    value a query, by a bound that holds with a probability of 95 % (Clopper-Pearson). These values belong to
    ``verified`` candidates from a collection of ``images``: for more of either, the rate that the threshold is made for
    falls in proportion to the candidates, and to the square root of the images, as the candidates then come closer.

    Attributes:
      extractor: whose features these are, see :func:`extractor_of`; ``generic`` for any.
      heads: ``global``, ``local`` or both.
      weights: of the terms by name.
      bias: of the sum.
      absent: largest log-odds of queries without a true photo, decreasing.
      present: largest log-odds of true candidates of queries with a true photo, decreasing.
      verified: number of candidates of each query.
      images: of the collection that these queries searched.
      source: what it was learned from, in words.
      matching: arguments of ``ransac`` that the local features were matched with.
    """

    extractor: str
    heads: tuple[str, ...]
    weights: dict[str, float]
    bias: float
    absent: tuple[float, ...]
    present: tuple[float, ...]
    verified: int
    images: int
    source: str
    matching: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, Any], heads: Sequence[str] = (GLOBAL, LOCAL)) -> "Calibration":
        """The shipped calibration for features.

        Args:
          settings: of the feature store.
          heads: which features it holds.

        Returns:
          That of the extractor; the generic one, whose ``extractor`` says so, where none was learned for it. It matches
          as the features record, see :func:`extraction.formats.checks.matching_of`.
        """
        wanted, kind = tuple(sorted(heads)), extractor_of(settings)
        fitting = [one for one in shipped() if one.heads == wanted]
        if not fitting:
            raise InputError("A verdict expects global descriptors, local features, or both.")
        best = next((one for one in fitting if one.extractor == kind), None)
        best = best or next(one for one in fitting if one.extractor == GENERIC)
        return replace(best, matching=matching_of(settings))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Calibration":
        """Reads a calibration that :meth:`save` wrote.

        Raises:
          InputError: the file is absent or holds no calibration.
        """
        return _from_json(read_json(Path(path)), os.fspath(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the calibration as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def learn(
        cls,
        judged: Sequence[Judged],
        *,
        extractor: str,
        images: int,
        source: str,
        matching: Mapping[str, Any] | None = None,
    ) -> "Calibration":
        """Learns from queries of which the truth is known: some with a true photo, and others without.

        Every query has the same weight. A second fit, to the best candidate of each query with both kinds of queries
        weighing the same, corrects the bias and the scale: the probability of an answer is that of half of the queries
        having a true photo.

        Args:
          judged: the queries; see :mod:`matching.verdict.learning` for how to get them.
          extractor: see :class:`Calibration`, as for the others. ``generic`` leaves out the similarity, whose range
            differs between extractors.
          images: of the collection.
          source: in words.
          matching: arguments of ``ransac``.

        Raises:
          InputError: there are no queries with, or none without a true photo.
        """
        rows = [
            (i, terms_of(evidence), same, evidence)
            for i, one in enumerate(judged)
            for evidence, same in zip(one.evidence, one.same, strict=True)
        ]
        if not rows:
            raise InputError("A calibration expects examples of the same thing and of different things.")
        query, same = np.array([row[0] for row in rows]), np.array([row[2] for row in rows], bool)
        heads = tuple(
            head
            for head, there in (
                (GLOBAL, any(row[3].similarity is not None for row in rows)),
                (LOCAL, any(row[3].tentative is not None for row in rows)),
            )
            if there
        )
        used = [head in heads and (name != "similarity" or extractor != GENERIC) for name, head in TERMS.items()]
        terms = np.array([row[1] for row in rows]) * used
        each = 1.0 / np.bincount(query)[query]
        weights, bias = logistic(terms, same, each)
        odds = terms @ weights + bias
        best = np.array([max(np.flatnonzero(query == q), key=odds.__getitem__) for q in np.unique(query)])
        has = np.bincount(query, same)[query] > 0
        present, absent = has[best], ~has[best]
        if not present.any() or not absent.any():
            raise InputError("A calibration expects queries with a true photo, and queries without.")
        balance = np.where(present, 0.5 / present.sum(), 0.5 / absent.sum())
        (factor,), shift = logistic(odds[best][:, None], same[best], balance)
        factor = max(float(factor), 1e-3)
        odds = factor * odds + shift
        true = [odds[(query == q) & same].max() for q in np.unique(query[has])]
        return cls(
            extractor,
            heads,
            {name: round(float(factor * weight), 5) for name, weight in zip(TERMS, weights) if weight},
            round(float(factor * bias + shift), 5),
            _decreasing(odds[best][absent]),
            _decreasing(true),
            int(np.median(np.bincount(query)[np.unique(query)])),
            images,
            source,
            dict(matching or {}),
        )

    def matcher(self) -> Ransac:
        """Finds inliers as the calibration expects.

        Raises:
          InputError: ``matching`` holds something else than arguments of ``ransac``.
        """
        try:
            return Ransac(**self.matching)
        except TypeError as error:
            raise InputError(f"The matching of a calibration is none of ransac: {error}.") from error

    def log_odds(self, evidence: Evidence) -> float:
        """Logarithm of the odds of the same thing; what a reranker sorts by."""
        named = dict(zip(TERMS, terms_of(evidence)))
        return self.bias + sum(weight * named[name] for name, weight in self.weights.items())

    def probability(self, evidence: Evidence) -> float:
        """Probability of the same thing, 0 to 1."""
        return probability_of(self.log_odds(evidence))

    def threshold(self, false_match_rate: float, verified: int | None = None, images: int | None = None) -> float:
        """The log-odds that a candidate has to reach for ``same``.

        Args:
          false_match_rate: share of the queries without a true photo that may be answered ``same``, above 0, below 1.
          verified: number of candidates of a query; None for that of the calibration, as for ``images``.
          images: of the collection.

        Raises:
          InputError: the rate is out of range.
        """
        if number("false_match_rate", false_match_rate, above=True, most=1) == 1:
            raise InputError("false_match_rate expects a number below 1.")
        more = max(1.0, (verified or 0) / self.verified) * max(1.0, (images or 0) / self.images) ** 0.5
        return max(threshold(np.array(self.absent), false_match_rate / more), 0.0)

    def true_match_rate(self, false_match_rate: float = FALSE_MATCH_RATE) -> float:
        """Share of the queries learned from whose true photo was among the candidates and reaches the threshold.

        Raises:
          InputError: the rate is out of range.
        """
        return float(np.mean(np.array(self.present) >= self.threshold(false_match_rate))) if self.present else 0.0

    def rule(
        self,
        false_match_rate: float = FALSE_MATCH_RATE,
        verified: int | None = None,
        images: int | None = None,
    ) -> "Rule":
        """The rule of verdicts at a rate of false matches, see :meth:`threshold` for the arguments.

        Raises:
          InputError: the rate is out of range.
        """
        limit = self.threshold(false_match_rate, verified, images)
        return Rule(limit, log10(max(verified or self.verified, 1) / false_match_rate), false_match_rate)

    def verdict(
        self,
        evidence: Evidence,
        false_match_rate: float = FALSE_MATCH_RATE,
        verified: int | None = None,
        images: int | None = None,
    ) -> Verdict:
        """The verdict on a candidate, see :class:`Rule`; :meth:`threshold` for the arguments.

        Raises:
          InputError: the rate is out of range.
        """
        return self.rule(false_match_rate, verified, images).verdict(evidence, self.log_odds(evidence))


@dataclass(frozen=True)
class Rule:
    """When a candidate is called ``same``, ``not in the collection``, or ``unsure``.

    ``same`` needs log-odds from the threshold on and a probability of one half. Where local features were compared,
    they must also agree so well that of all candidates of a query as many agree by chance as the rate of false matches
    allows: photos of one kind, such as two churches, are similar without any being the other. ``not in the collection``
    is said below a probability of 0.2.

    Attributes:
      log_odds: the threshold.
      surprise: least surprise, see :class:`matching.verdict.evidence.Evidence`.
      false_match_rate: that the rule is made for.
    """

    log_odds: float
    surprise: float
    false_match_rate: float

    def verdict(self, evidence: Evidence, odds: float) -> Verdict:
        """The verdict on a candidate by its evidence and log-odds."""
        agrees = evidence.tentative is None or evidence.surprise >= self.surprise
        probability = probability_of(odds)
        label = SAME if odds >= self.log_odds and agrees else ABSENT if probability < DOUBT else UNSURE
        return Verdict(label, probability, self.false_match_rate)

    def of_query(self, verdicts: Sequence[Verdict]) -> Verdict:
        """The verdict on a query: the most probable ``same`` of its candidates, or else the most probable verdict."""
        nothing = Verdict(ABSENT, 0.0, self.false_match_rate)
        return max(verdicts, key=lambda one: (one.label == SAME, one.probability), default=nothing)


def probability_of(odds: float) -> float:
    """The probability of log-odds."""
    return 1 / (1 + exp(-odds)) if odds > -500 else 0.0


def extractor_of(settings: Mapping[str, Any]) -> str:
    """The kind of an extractor as a short text, such as ``pair(delg 0123456789ab, rootsift)``.

    Limits and versions are left out; of a network its weights are named.
    """
    parts = parts_of(dict(settings))
    kind = str(settings.get("extractor", GENERIC))
    if parts:
        return f"{kind}({', '.join(extractor_of(part) for part in parts.values())})"
    weights = str(settings.get("weights_sha256", ""))[:12]
    return f"{kind} {weights}" if weights else kind


@cache
def shipped() -> tuple[Calibration, ...]:
    """The calibrations of the package."""
    text = files("matching.verdict").joinpath(SHIPPED).read_text(encoding="utf-8")
    return tuple(_from_json(one, SHIPPED) for one in json.loads(text))


def _from_json(document: Any, place: str) -> Calibration:
    try:
        lists = {name: tuple(document[name]) for name in ("heads", "absent", "present")}
        learned = Calibration(**document | lists)
        usable = set(learned.weights) <= set(TERMS) and np.isfinite(learned.absent).all() and learned.absent
        if not usable or min(learned.verified, learned.images) < 1:
            raise ValueError
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{place} holds no calibration of verdicts; learn it again.") from error
    return learned


def _decreasing(values: Any) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in sorted(values, reverse=True))

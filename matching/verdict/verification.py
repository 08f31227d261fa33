"""The verified candidates of a query: evidence, probability and verdict of each, and the verdict on the query."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features
from extraction.formats.base import FeatureSource
from matching.checks import whole
from matching.local.matching import Inliers
from matching.local.transforms import Matrix
from matching.source import check_dimensions
from matching.threads import available, single_threaded
from matching.verdict.calibration import FALSE_MATCH_RATE, LOCAL, Calibration, Verdict
from matching.verdict.evidence import Background, Evidence, evidence_of

TOP_K = 20
NO_INLIERS = Inliers(np.zeros((0, 2), np.int64), None)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A verified database image.

    Attributes:
      row: of the database; -1 for a pair alone.
      evidence: of the query and this image.
      log_odds: of the same thing.
      verdict: on this image, at the false-match rate of the query.
      inliers: the local features that agree, and the transform from the database image to the query.
    """

    row: int
    evidence: Evidence
    log_odds: float
    verdict: Verdict
    inliers: Inliers

    @property
    def similarity(self) -> float | None:
        """Of the global descriptors; None without them."""
        return self.evidence.similarity

    @property
    def probability(self) -> float:
        """Of the same thing."""
        return self.verdict.probability

    @property
    def transform(self) -> Matrix | None:
        """Pixels of the database image to pixels of the query, see :class:`matching.local.matching.Inliers`."""
        return self.inliers.transform


@dataclass(frozen=True, eq=False)
class Answer:
    """The verified candidates of a query.

    Attributes:
      candidates: the first ones of the ranking, in its order.
      verdict: on the query, see :meth:`matching.verdict.calibration.Rule.of_query`.
    """

    candidates: tuple[Candidate, ...]
    verdict: Verdict

    @property
    def order(self) -> list[int]:
        """Places of the candidates, the best evidence first; of equal evidence the ranking decides."""
        return sorted(range(len(self.candidates)), key=lambda place: -self.candidates[place].log_odds)


class Verifier:
    """Verifies the candidates of queries in one database. Several threads may call.

    Making one reads 256 global descriptors of the database; make a new one when the database changes.
    """

    def __init__(
        self, database: FeatureSource, calibration: Calibration, *, top_k: int = TOP_K, threads: int | None = None
    ):
        """Takes the database.

        Args:
          database: its features.
          calibration: for these features.
          top_k: number of candidates of each query that are verified; 20 to 50 is usual.
          threads: that verify at once; None for one a core. The result does not depend on it.

        Raises:
          InputError: a number is out of range.
        """
        self.database, self.calibration = database, calibration
        self.top_k, self.threads = whole("top_k", top_k), available(threads)
        self._matcher = calibration.matcher() if LOCAL in calibration.heads else None
        self._background = Background.of(database.global_descriptors)

    def __call__(
        self,
        query: Features,
        rows: NDArray[np.int64],
        similarities: NDArray[np.floating] | Sequence[float] | None = None,
        false_match_rate: float = FALSE_MATCH_RATE,
        *,
        chosen_from: int | None = None,
    ) -> Answer:
        """Verifies the first candidates of a query.

        Args:
          query: its features.
          rows: of the database, best first, as of :meth:`matching.ranking.Ranking.row`; more than ``top_k`` are left
            out.
          similarities: ``(K,)`` of the global descriptors; None computes them from the database, also where a reranker
            has replaced the scores of a ranking.
          false_match_rate: see :class:`matching.verdict.calibration.Verdict`.
          chosen_from: number of candidates that a geometric reranker chose these from, which has had as many chances
            of a false match; None for the number of ``rows``.

        Returns:
          The answer.

        Raises:
          InputError: the features cannot be compared, or the rate is out of range.
        """
        rows = np.asarray(rows[: self.top_k], np.int64)
        rule = self.calibration.rule(false_match_rate, chosen_from or len(rows), len(self.database))
        with single_threaded():
            if similarities is None and self._compares(query):
                similarities = self.database.global_descriptors[rows] @ query.global_descriptor
            given = [None] * len(rows) if similarities is None else [float(one) for one in similarities[: len(rows)]]
            work = partial(self._of_row, query)
            if min(self.threads, len(rows)) < 2 or self._matcher is None:
                verified = list(map(work, rows, given))
            else:
                with ThreadPoolExecutor(min(self.threads, len(rows)), thread_name_prefix="verdict") as pool:
                    verified = list(pool.map(work, rows, given))
        candidates = tuple(
            Candidate(int(row), evidence, odds, rule.verdict(evidence, odds), inliers)
            for row, (evidence, inliers) in zip(rows, verified)
            for odds in [self.calibration.log_odds(evidence)]
        )
        return Answer(candidates, rule.of_query([candidate.verdict for candidate in candidates]))

    def pair(self, query: Features, index: Features, false_match_rate: float = FALSE_MATCH_RATE) -> Candidate:
        """Verifies two images alone, with the database as the background of similarities.

        Raises:
          InputError: the features cannot be compared, or the rate is out of range.
        """
        rule = self.calibration.rule(false_match_rate)
        similarity = float(query.global_descriptor @ index.global_descriptor) if query.global_descriptor.size else None
        with single_threaded():
            evidence, inliers = self._evidence(query, index, similarity)
        odds = self.calibration.log_odds(evidence)
        return Candidate(-1, evidence, odds, rule.verdict(evidence, odds), inliers)

    def _compares(self, query: Features) -> bool:
        """Whether both sides have global descriptors, which then must have one length."""
        there = query.global_descriptor.size > 0 and self.database.global_descriptors.shape[1] > 0
        if there:
            check_dimensions(query.global_descriptor[None], self.database.global_descriptors)
        return there

    def _of_row(self, query: Features, row: int, similarity: float | None) -> tuple[Evidence, Inliers]:
        """The evidence of a row of the database."""
        return self._evidence(query, self.database.features(int(row)) if self._matcher else None, similarity)

    def _evidence(self, query: Features, index: Features | None, similarity: float | None) -> tuple[Evidence, Inliers]:
        """The evidence of a pair, and its inliers; without the features of the second, that of the similarity."""
        gap = None if similarity is None else self._background.gap(query.global_descriptor, similarity)
        if self._matcher is None or index is None:
            return Evidence(similarity, gap), NO_INLIERS
        inliers, residual = self._matcher.inliers(query, index), self._matcher.residual(query)
        model = self._matcher.model
        evidence = evidence_of(query, index, inliers, residual=residual, model=model, similarity=similarity, gap=gap)
        return evidence, inliers

"""Whether a photo of the collection shows the same thing as a query, as a probability and a verdict.

A search that has a first stage asks a :class:`Verifier`, which is made once for a database::

    calibration = Calibration.of(database.settings)  # shipped; or Calibration.load(path), learned from own photos
    verifier = Verifier(database, calibration, top_k=20)
    answer = verifier(query, ranking.row(q), ranking.scores[q])  # Features, (K,) rows, (K,) similarities
    answer.verdict  # of the query: Verdict(label="same", probability=0.98), at a false-match rate of 1 %
    for candidate in answer.candidates:  # the first top_k rows, in the order of the ranking
        candidate.row, candidate.similarity, candidate.probability, candidate.verdict
        candidate.inliers, candidate.transform  # matching.local.matching.Inliers; its transform, database to query
        candidate.evidence  # the numbers behind it
    answer.order  # places of the candidates, best evidence first

Two images alone: ``verifier.pair(query, index)`` gives a candidate.
"""

from matching.verdict.calibration import ABSENT, LABELS, SAME, UNSURE, Calibration, Verdict
from matching.verdict.evidence import Background, Evidence
from matching.verdict.verification import Answer, Candidate, Verifier

__all__ = [
    "ABSENT",
    "LABELS",
    "SAME",
    "UNSURE",
    "Answer",
    "Background",
    "Calibration",
    "Candidate",
    "Evidence",
    "Verdict",
    "Verifier",
]

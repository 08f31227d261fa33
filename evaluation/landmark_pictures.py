"""Pictures of GLDv2 retrieval: the first answers to the queries that are answered worst or hurt most, and inliers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.gldv2_files import RetrievalSolution, Solution, read_retrieval_predictions
from evaluation.benchmarks.gldv2_votes import image_id
from evaluation.benchmarks.protocols import Truth
from evaluation.metrics.ranking import Scores
from evaluation.report import files as written
from evaluation.report import gallery
from evaluation.report.model import Report
from evaluation.run.method import SHOWN, Method, Outcome
from matching.rerankers.base import Reranker
from matching.rerankers.table import build_reranker

NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Shown:
    """Of what pictures are shown.

    Attributes:
      images: queries and index, named by id (folders before it do not count).
      method: their features, of the model under test.
      rerankers: row suffix to the reranker's text.
    """

    images: Benchmark
    method: Method
    rerankers: Mapping[str, str]


def pictures(
    shown: Shown, solution: Solution, report: Report, files: Mapping[str, str]
) -> tuple[list[gallery.Card], list[gallery.Overlay]]:
    """The strips and the inlier matches, of the part that the page shows.

    Args:
      shown: of what.
      solution: the relevant images; of recognition, whose answers are classes, nothing is shown.
      report: the average precision of each query.
      files: the submission file of each row.

    Returns:
      See :func:`evaluation.report.files.pictures`.
    """
    if not isinstance(solution, RetrievalSolution):
        return [], []
    images, part = shown.images, report.main_protocol
    row_of = {image_id(image.name): row for row, image in enumerate(images.database)}
    names = [image_id(image.name) for image in images.queries]
    relevant = getattr(solution, part)
    truths = [Truth(_rows(row_of, relevant.get(name, ())), NOTHING) for name in names]
    outcomes: list[tuple[Outcome, Reranker | None]] = []
    for row, path in files.items():
        method, _, suffix = row.partition("+")
        if method == shown.method.name:
            found = dict(zip(report.queries["names"], report.queries["ap"][row][part], strict=True))
            ap = np.array([found.get(name, np.nan) for name in names]) / 100
            answers = {name: ids for half in read_retrieval_predictions(path, solution) for name, ids in half.items()}
            top = np.full((len(names), SHOWN), -1, np.int64)
            for q, name in enumerate(names):
                rows = _rows(row_of, answers.get(name, ())[:SHOWN])
                top[q, : len(rows)] = rows
            nothing = np.zeros((len(names), 0))
            outcome = Outcome(row, {part: Scores(ap, nothing, nothing, ())}, {part: top}, {}, {})
            outcomes.append((outcome, build_reranker(shown.rerankers[suffix]) if suffix else None))
    return written.pictures(replace(images, protocols={part: truths}), shown.method, outcomes)


def _rows(row_of: Mapping[str, int], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Rows of those images that are in the index."""
    return np.array([row_of[name] for name in names if name in row_of], np.int64)

"""Ranking strips of GLDv2 retrieval: the first answers to the queries that are answered worst, or hurt most."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.base import Benchmark
from evaluation.landmark_files import RetrievalSolution, Solution, read_retrieval_predictions
from evaluation.landmark_votes import image_id
from evaluation.metrics import Scores
from evaluation.protocols import Truth
from evaluation.report import gallery
from evaluation.report.model import Report
from evaluation.runner import SHOWN, Outcome

NOTHING = np.zeros(0, np.int64)


def cards(images: Benchmark, solution: Solution, report: Report, files: Mapping[str, str]) -> list[gallery.Card]:
    """The strips, of the part that the page shows.

    Args:
      images: queries and index, named by id (folders before it do not count).
      solution: the relevant images; of recognition, whose answers are classes, nothing is shown.
      report: the average precision of each query.
      files: the submission file of each row.

    Returns:
      See :func:`evaluation.report.gallery.cards`; strips of the model under test.
    """
    if not isinstance(solution, RetrievalSolution):
        return []
    part = report.main_protocol
    row_of = {image_id(image.name): row for row, image in enumerate(images.database)}
    known = {image_id(image.name): image for image in images.queries}
    relevant = getattr(solution, part)
    names = [name for name in relevant if name in known]
    truths = [Truth(_rows(row_of, relevant[name]), NOTHING) for name in names]
    first, outcomes = report.rows[0].method, []
    for row, path in files.items():
        if row.partition("+")[0] == first:
            found = dict(zip(report.queries["names"], report.queries["ap"][row][part], strict=True))
            ap = np.array([found[name] for name in names]) / 100
            answers = {name: ids for half in read_retrieval_predictions(path, solution) for name, ids in half.items()}
            top = np.full((len(names), SHOWN), -1, np.int64)
            for q, name in enumerate(names):
                rows = _rows(row_of, answers.get(name, ())[:SHOWN])
                top[q, : len(rows)] = rows
            nothing = np.zeros((len(names), 0))
            outcomes.append(Outcome(row, {part: Scores(ap, nothing, nothing, ())}, {part: top}, {}, {}))
    shown = replace(images, queries=[known[name] for name in names], protocols={part: truths})
    return gallery.cards(shown, outcomes)


def _rows(row_of: Mapping[str, int], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Rows of those images that are in the index."""
    return np.array([row_of[name] for name in names if name in row_of], np.int64)

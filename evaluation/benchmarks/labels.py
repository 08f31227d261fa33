"""Truths of benchmarks with one label for each image."""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from delg.common.text_files import nfc
from evaluation.metrics.truth import Truth
from extraction.images import ImageRef

PROTOCOL = "all"


def by_label(
    queries: Sequence[ImageRef], query_labels: Sequence[str], database: Sequence[ImageRef], labels: Sequence[str]
) -> list[Truth]:
    """The images of the query's label are right; a file that is the query itself is junk (leave one out).

    Labels are compared in one Unicode normal form.

    Args:
      queries: the query images.
      query_labels: a label for each query.
      database: the database images.
      labels: a label for each database image.

    Returns:
      A truth for each query; a query without positives has a label that no other database image has.
    """
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(nfc(label), []).append(row)
    truths = []
    for own_rows, label in zip(own_files(queries, database), query_labels, strict=True):
        truths.append(Truth(np.setdiff1d(np.array(rows.get(nfc(label), []), np.int64), own_rows), own_rows))
    return truths


def own_files(queries: Sequence[ImageRef], database: Sequence[ImageRef]) -> list[NDArray[np.int64]]:
    """For each query the database rows of the query's own file."""
    files: dict[str, list[int]] = {}
    for row, image in enumerate(database):
        files.setdefault(os.path.realpath(image.path), []).append(row)
    return [np.array(files.get(os.path.realpath(query.path), []), np.int64) for query in queries]

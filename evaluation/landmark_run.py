"""GLDv2 retrieval and recognition from features: search in blocks, answers as submission files, scores.

Retrieval answers with the most similar index images. Recognition votes: each of the ``k`` most similar index images
adds its similarity to its class, and the class with the largest sum is the answer, with that sum as its score.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from evaluation.csv_files import rows
from evaluation.landmark_metrics import MAX_PREDICTIONS
from evaluation.landmark_scores import Config as ScoreConfig
from evaluation.landmark_scores import JsonObject, challenge_of, score
from extraction.store import FeatureStore
from matching.index import search
from matching.ranking import Ranking
from protos.errors import InputError
from protos.files import atomic_path, check_writable
from protos.progress import progress_bar

RETRIEVAL, RECOGNITION = "gldv2_retrieval", "gldv2_recognition"
PREDICTIONS = "predictions.csv"
QUERIES = 256  # searched at once
NEIGHBOURS = 3
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Config:
    """What is asked for.

    Attributes:
      benchmark: ``gldv2_retrieval`` or ``gldv2_recognition``.
      query_features_dir: feature store of the test images, named by id (folders before it do not count).
      index_features_dir: of the index images, or for recognition of the training images.
      solution_file: of the challenge.
      output_dir: for ``predictions.csv`` and the report.
      labels_file: for recognition, CSV ``id,landmark_id`` of the training images (further columns do not count).
      neighbours: how many vote.
    """

    benchmark: str
    query_features_dir: str
    index_features_dir: str
    solution_file: str
    output_dir: str
    labels_file: str | None = None
    neighbours: int = NEIGHBOURS


def image_id(name: str) -> str:
    """The id of an image: its name without folders.

    >>> image_id("0/0/0/000a0aee5e90cbaf")
    '000a0aee5e90cbaf'
    """
    return PurePosixPath(name).name


def knn_vote(ranking: Ranking, labels: Labels) -> list[tuple[int, float]]:
    """A class and its score for each query.

    Args:
      ranking: ``(Q, k)`` the neighbours and their similarities.
      labels: ``(N,)`` class of each index image.

    Returns:
      For each query the class with the largest sum, of equal ones the one whose neighbour comes first.

    >>> found = Ranking(np.array([[2, 0, 1]]), np.array([[0.9, 0.6, 0.5]], np.float32))
    >>> [(label, round(score, 4)) for label, score in knn_vote(found, np.array([7, 7, 4]))]
    [(7, 1.1)]
    """
    answers = []
    for q in range(len(ranking)):
        sums: dict[int, float] = {}
        for row, similarity in zip(ranking.row(q), ranking.scores[q]):
            label = int(labels[row])
            sums[label] = sums.get(label, 0.0) + float(similarity)
        answers.append(max(sums.items(), key=lambda entry: entry[1]))
    return answers


def read_labels(path: str, names: Sequence[str]) -> Labels:
    """``(N,)`` the class of each image.

    Raises:
      InputError: the file is not of its form, or gives an image no class.
    """
    known: dict[str, int] = {}
    for where, row in rows(path, ("id", "landmark_id")):
        try:
            known[row["id"]] = int(row["landmark_id"])
        except ValueError as error:
            raise InputError(f"{where}: expected a whole number. Received: {row['landmark_id']!r}") from error
    missing = [name for name in names if image_id(name) not in known]
    if missing:
        raise InputError(f"{path} gives {len(missing)} of {len(names)} index images no class, such as {missing[0]}.")
    return np.array([known[image_id(name)] for name in names], np.int64)


def answers(queries: FeatureStore, index: FeatureStore, top_k: int) -> Iterator[tuple[list[str], Ranking]]:
    """Ids of some queries and their best index images, block by block; what is held does not grow with the queries."""
    for start in progress_bar(range(0, len(queries), QUERIES), desc="search", unit="block"):
        block = slice(start, start + QUERIES)
        found = search(queries.global_descriptors[block], index.global_descriptors, top_k)
        yield [image_id(name) for name in queries.names[block]], found


def run(config: Config, say: Callable[[str], None] = print) -> JsonObject:
    """Searches, writes ``predictions.csv``, and scores it.

    Args:
      config: what is asked for.
      say: is given the lines for the user.

    Returns:
      The report, see :func:`evaluation.landmark_scores.score`.

    Raises:
      InputError: a file or store is missing or wrong, or the stores were made differently.
    """
    if (name := challenge_of(config.solution_file).name) != config.benchmark:
        raise InputError(f"{config.solution_file} is a solution of {name}, not of {config.benchmark}.")
    if config.neighbours < 1:
        raise InputError(f"--neighbours expects 1 or more. Received: {config.neighbours}")
    queries, index = FeatureStore.open(config.query_features_dir), FeatureStore.open(config.index_features_dir)
    queries.check_compatible(index)
    recognition = config.benchmark == RECOGNITION
    if recognition and not config.labels_file:
        raise InputError(f"{RECOGNITION} expects --labels_file, CSV with id,landmark_id.")
    labels = read_labels(str(config.labels_file), index.names) if recognition else None
    folder = check_writable(config.output_dir)
    with atomic_path(folder / PREDICTIONS) as place, place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "landmarks" if recognition else "images"])
        known = [image_id(name) for name in index.names]
        for ids, found in answers(queries, index, config.neighbours if recognition else MAX_PREDICTIONS):
            writer.writerows(zip(ids, _texts(found, known, labels), strict=True))
    return score(ScoreConfig(config.solution_file, str(folder / PREDICTIONS), str(folder)), say)


def _texts(found: Ranking, known: Sequence[str], labels: Labels | None) -> list[str]:
    """The answers as the files hold them."""
    if labels is None:
        return [" ".join(known[row] for row in found.row(q)) for q in range(len(found))]
    return [f"{label} {value:.9g}" for label, value in knn_vote(found, labels)]

"""GLDv2 recognition by neighbours: the classes of the index images, and their vote."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.image_lists import read_landmarks
from delg.common.text_files import columns
from matching.ranking import Ranking

Labels = NDArray[np.int64]
PARTING = re.compile(r'[\s,"]')


def image_id(name: str) -> str:
    """The id of an image: its name without folders.

    >>> image_id("0/0/0/000a0aee5e90cbaf")
    '000a0aee5e90cbaf'
    """
    return PurePosixPath(name).name


def check_plain(names: Iterable[str], writer: str) -> None:
    """Proves that the ids of images can stand in a submission file as they are.

    Args:
      names: of the images.
      writer: what would write them, for the message.

    Raises:
      InputError: an id holds what parts ids, columns or rows.
    """
    for name in names:
        if PARTING.search(image_id(name)):
            raise InputError(
                f"{writer} cannot write the image {name!r}: an id of a submission file holds no blank, comma, quote or "
                "newline."
            )


def knn_vote(ranking: Ranking, labels: Labels, neighbours: int) -> list[tuple[int, float]]:
    """A class and its score for each query: each of the first images adds its score to its class.

    Args:
      ranking: ``(Q, K)`` images and their scores: similarities, or what a reranker gave them.
      labels: ``(N,)`` class of each index image.
      neighbours: how many vote.

    Returns:
      For each query the class with the largest sum, of equal ones the one whose image comes first.

    >>> found = Ranking(np.array([[2, 0, 1]]), np.array([[0.9, 0.6, 0.5]], np.float32))
    >>> [(label, round(score, 4)) for label, score in knn_vote(found, np.array([7, 7, 4]), neighbours=3)]
    [(7, 1.1)]
    """
    answers = []
    for q in range(len(ranking)):
        sums: dict[int, float] = {}
        for row, score in zip(ranking.row(q)[:neighbours], ranking.scores[q]):
            label = int(labels[row])
            sums[label] = sums.get(label, 0.0) + float(score)
        answers.append(max(sums.items(), key=lambda entry: entry[1]))
    return answers


def read_classes(path: str) -> dict[str, int]:
    """The class of each image id, from ``id,landmark_id`` (train.csv) or ``landmark_id,images`` (train_clean.csv).

    Raises:
      InputError: the file is not of its form.
    """
    classes = read_landmarks(path, clean="images" in columns(path), whole=True)
    return {image: int(label) for image, label in classes.items()}


def labels_of(classes: dict[str, int], names: Sequence[str], path: str) -> Labels:
    """``(N,)`` the class of each image.

    Args:
      classes: of :func:`read_classes`.
      names: of the images.
      path: the file that the classes are from, for the message.

    Raises:
      InputError: an image has no class.
    """
    missing = [name for name in names if image_id(name) not in classes]
    if missing:
        raise InputError(f"{path} gives {len(missing)} of {len(names)} index images no class, such as {missing[0]}.")
    return np.array([classes[image_id(name)] for name in names], np.int64)

"""GLDv2 recognition by neighbours: the classes of the index images, and the vote of the nearest ones."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.image_lists import read_landmarks
from delg.common.text_files import columns

Labels = NDArray[np.int64]
PARTING = re.compile(r'[\s,"]')


def image_id(name: str) -> str:
    """The id of an image: its name without folders.

    >>> image_id("0/0/0/000a0aee5e90cbaf")
    '000a0aee5e90cbaf'
    """
    return name.rpartition("/")[2]


def check_plain(names: Iterable[str], writer: str) -> None:
    """Checks that the ids of images can be written to a submission file without quotes.

    Args:
      names: names of the images.
      writer: name of the writer, for the message.

    Raises:
      InputError: an id holds a separator of ids, columns or rows.
    """
    for name in names:
        if PARTING.search(image_id(name)):
            raise InputError(
                f"{writer} cannot write the image {name!r}: an id of a submission file holds no blank, comma, quote or "
                "newline."
            )


def knn_vote(labels: Labels, scores: NDArray[np.float32]) -> tuple[int, float]:
    """The class that the neighbours of a query vote for: each neighbour adds its score to its class.

    Args:
      labels: ``(K,)`` classes of the nearest index images, nearest first; at least one.
      scores: ``(K,)`` similarities, or the scores of a reranker.

    Returns:
      The class with the largest sum, and the sum; of equal sums the class whose image comes first wins.

    >>> label, score = knn_vote(np.array([4, 7, 7]), np.array([0.9, 0.6, 0.5], np.float32))
    >>> label, round(score, 4)
    (7, 1.1)
    """
    sums: dict[int, float] = {}
    for label, score in zip(labels.tolist(), scores.tolist()):
        sums[label] = sums.get(label, 0.0) + score
    return max(sums.items(), key=lambda entry: entry[1])


def read_classes(path: str) -> dict[str, int]:
    """The class of each image id, from ``id,landmark_id`` (train.csv) or ``landmark_id,images`` (train_clean.csv).

    Raises:
      InputError: the file is malformed.
    """
    classes = read_landmarks(path, clean="images" in columns(path), whole=True)
    return {image: int(label) for image, label in classes.items()}


def labels_of(classes: dict[str, int], names: Sequence[str], path: str) -> Labels:
    """``(N,)`` the class of each image.

    Args:
      classes: the result of :func:`read_classes`.
      names: names of the images.
      path: the file of the classes, for the message.

    Raises:
      InputError: an image has no class.
    """
    missing = [name for name in names if image_id(name) not in classes]
    if missing:
        raise InputError(f"{path} gives {len(missing)} of {len(names)} index images no class, such as {missing[0]}.")
    return np.array([classes[image_id(name)] for name in names], np.int64)

"""Triplets for the training of a reranker: an image, one of the same class, and one of another, both among the nearest.

The sampler is that of ELViS (arXiv 2603.28603): candidates of an image are its 300 nearest by global descriptors, and
are drawn in proportion to the third power of their similarity, so that those which a first stage confuses are seen
most.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Floats
from matching.indexes.table import search

NEAREST = 300
POWER = 3

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Triplets:
    """What triplets are drawn from.

    Attributes:
      anchors: ``(A,)`` rows of images that have a near image of the same class, and one of another.
      positives: for each anchor, rows of the same class and the chances of each to be drawn.
      negatives: the same of other classes.
    """

    anchors: Rows
    positives: Sequence[tuple[Rows, Floats]]
    negatives: Sequence[tuple[Rows, Floats]]

    @classmethod
    def of(cls, descriptors: Floats, labels: Sequence[str]) -> "Triplets":
        """Finds the nearest images.

        Args:
          descriptors: ``(N, D)`` global descriptors of unit norm.
          labels: the class of each image.

        Raises:
          InputError: no image has near images both of the same class and of another.
        """
        nearest = search(descriptors, descriptors, min(NEAREST + 1, len(descriptors)))
        classes = np.unique(np.asarray(labels), return_inverse=True)[1]
        anchors: list[int] = []
        sides: tuple[list[tuple[Rows, Floats]], ...] = ([], [])
        for i in range(len(descriptors)):
            rows, scores = nearest.indices[i], nearest.scores[i]
            fine = (rows != i) & (scores > 0)
            rows, scores = rows[fine], scores[fine]
            same = classes[rows] == classes[i]
            if same.any() and not same.all():
                anchors.append(i)
                for side, wanted in zip(sides, (same, ~same)):
                    chances = scores[wanted].astype(np.float64) ** POWER
                    side.append((rows[wanted], chances / chances.sum()))
        if not anchors:
            raise InputError("No photo has near photos both of its own class and of another; nothing can be learned.")
        return cls(np.array(anchors), *sides)

    def batches(self, size: int, random: np.random.Generator) -> Iterator[Rows]:
        """One epoch: ``(size, 3)`` rows of anchor, positive and negative, each anchor at most once.

        The last, smaller batch is left out, unless there is no other.
        """
        order = random.permutation(len(self.anchors))
        size = min(size, len(order))
        for start in range(0, len(order) - size + 1, size):
            batch = [
                [self.anchors[i], *(random.choice(rows, p=p) for rows, p in (self.positives[i], self.negatives[i]))]
                for i in order[start : start + size]
            ]
            yield np.array(batch, np.int64)

"""What an adaptation of global descriptors gains on photos of classes that it was not learned from.

The classes are divided into folds. Each fold is held out once: every recipe learns from the other classes, and each
photo of the fold queries the others of the fold. The recipe that a fold is judged with is the one that gained most on
the *other* folds, so that the gain is not that of a lucky choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from delg.common.errors import InputError
from evaluation.metrics.ranking import oxford_ap
from evaluation.statistics.bootstrap import PairedChange, compare, within
from extraction.adaptation import Softmax
from extraction.calibration import spread
from extraction.pca import Floats

FOLDS, LEAST_CLASSES = 5, 4
QUERIES = 2000  # most of a fold
SEED = 0  # of the order of the classes


@dataclass(frozen=True)
class Gain:
    """The result.

    Attributes:
      recipe: the one that gains most over all folds.
      before: mAP of the descriptors as they are, percent.
      change: of the mAP, with an interval over classes.
      classes: how many were held out, each once.
      folds: their number.
    """

    recipe: Softmax
    before: float
    change: PairedChange
    classes: int
    folds: int

    def __str__(self) -> str:
        """``mAP 61.2 -> 66.3 on classes held out, change +5.1 [+2.0, +8.3] ...``."""
        c, groups = self.change, f"{self.classes} classes in {self.folds} folds"
        return (
            f"mAP {self.before:.1f} -> {self.before + c.difference:.1f} on classes held out, change "
            f"{c.difference:+.1f} [{c.low:+.1f}, {c.high:+.1f}] (95 % over {groups})"
        )


def gain(descriptors: Floats, labels: ArrayLike, recipes: Sequence[Softmax]) -> Gain:
    """Measures what recipes gain on classes held out, and finds the best.

    Args:
      descriptors: ``(N, D)`` of unit norm.
      labels: ``(N,)`` classes, of any kind; classes of one photo are learned from alone.
      recipes: the choice.

    Raises:
      InputError: fewer than 4 classes of two photos or more.
    """
    names, targets, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    classes = np.flatnonzero(counts > 1)
    if len(classes) < LEAST_CLASSES:
        raise InputError(
            f"An adaptation expects {LEAST_CLASSES} classes of two photos or more, so that some can be held out. "
            f"Received: {len(classes)} such classes among {len(names)}."
        )
    folds = min(FOLDS, len(classes) // 2)
    order = np.random.default_rng(SEED).permutation(classes)
    before, after, groups = [], [], []  # of each fold: (Q,), (recipes, Q), (Q,)
    for fold in range(folds):
        held = np.isin(targets, order[fold::folds])
        queries = np.array(spread(int(held.sum()), QUERIES))
        x, y = descriptors[held], targets[held]
        before.append(average_precisions(x, y, queries))
        learned = (recipe(descriptors[~held], targets[~held]) for recipe in recipes)
        after.append(np.stack([average_precisions(adaptation(x), y, queries) for adaptation in learned]))
        groups.append(y[queries])
    gains = np.stack([values.sum(axis=1) for values in after])  # (folds, recipes), up to a constant
    of_others = gains.sum(axis=0) - gains
    judged = [values[best] for values, best in zip(after, of_others.argmax(axis=1), strict=True)]
    plain = np.concatenate(before)
    change = within(compare(plain, np.concatenate(judged), np.concatenate(groups)), -100.0)
    return Gain(recipes[int(gains.sum(axis=0).argmax())], float(plain.mean()), change, len(classes), folds)


def average_precisions(descriptors: Floats, labels: NDArray[np.int64], queries: NDArray[np.int64]) -> Floats:
    """Average precision of some photos that query all others, in percent.

    Args:
      descriptors: ``(N, D)``.
      labels: ``(N,)``.
      queries: ``(Q,)`` rows, each of a class with another photo.
    """
    values = np.zeros(len(queries))
    for place, row in enumerate(queries):
        order = np.argsort(-(descriptors @ descriptors[row]), kind="stable")
        ranks = np.flatnonzero(labels[order[order != row]] == labels[row])
        values[place] = 100 * oxford_ap(ranks)
    return values

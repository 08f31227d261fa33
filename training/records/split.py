"""The split of a training set into train and validation, per class, and the order in which it is written."""

from collections.abc import Sequence

import numpy as np

from training.records.sources import Photo


def split_and_shuffle(
    photos: Sequence[Photo], validation_split_size: float, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Splits every class by the same fraction and shuffles both parts.

    As released, ``max(1, int(fraction * n))`` of a class's ``n`` images go to validation; here its last image always
    stays in training, so that a class with a single image is trained.

    Args:
      photos: all images.
      validation_split_size: fraction in [0, 1); 0 leaves validation empty.
      seed: of the shuffles.

    Returns:
      The training and the validation images, shuffled.
    """
    generator = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    groups: dict[int, list[Photo]] = {}
    for photo in photos:
        groups.setdefault(photo.label, []).append(photo)
    train: list[Photo] = []
    validation: list[Photo] = []
    for label in sorted(groups):
        group = _shuffled(groups[label], generator)
        count = min(max(1, int(validation_split_size * len(group))), len(group) - 1) if validation_split_size else 0
        validation += group[:count]
        train += group[count:]
    return _shuffled(train, generator), _shuffled(validation, generator)


def _shuffled(photos: Sequence[Photo], generator: np.random.RandomState) -> list[Photo]:
    return [photos[i] for i in generator.permutation(len(photos))]

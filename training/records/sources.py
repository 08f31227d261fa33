"""Training images: from a folder per class, a CSV ``path,label`` or Google Landmarks v2; their labels and split.

Labels are always contiguous, ``0 .. C-1``, in the sorted order of the class names (numerically when every name is a
whole number), as in the released ``build_image_dataset.py``.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from delg.common.errors import InputError
from delg.common.files import files_below
from delg.common.image_files import is_image_name
from delg.common.image_lists import read_labelled, read_landmarks
from delg.common.text_files import as_utf8, nfc, rows


@dataclass(frozen=True)
class Photo:
    """One labelled image file.

    Attributes:
      id: its name in the records and in every list: the path relative to the source's folder, or the GLDv2 id;
        bytes of a file name that are not UTF-8 are written as escapes.
      path: the file.
      label: class in ``0 .. C-1``.
    """

    id: str
    path: Path
    label: int


@dataclass(frozen=True)
class LabelledPhotos:
    """The labelled images of a training set.

    Attributes:
      photos: the images, in the order of their source.
      class_names: the name of every class; the position is the label.
      strays: images outside the folders of the classes, which are listed as skipped.
    """

    photos: tuple[Photo, ...]
    class_names: tuple[str, ...]
    strays: tuple[Path, ...] = ()


def from_folders(images_dir: str | os.PathLike[str]) -> LabelledPhotos:
    """Reads a folder whose sub-folders are the classes; images may lie at any depth below a class's folder.

    Hidden files and folders are left out; links are followed, each folder once in a class.

    Raises:
      InputError: the folder is missing, or has no sub-folder with images.
    """
    root = _folder(images_dir)
    pairs, strays = [], []
    for folder in sorted(root.iterdir()):
        if folder.is_file() and is_image_name(folder.name):
            strays.append(folder)
        if folder.is_dir() and not folder.name.startswith("."):
            pairs += [(path, folder.name) for path in _images_below(folder, root)]
    if not pairs:
        raise InputError(
            f"{root} holds no training images: expected one sub-folder per class with images such as .jpg or .png."
        )
    labelled = _labelled((path.relative_to(root).as_posix(), path, name) for path, name in pairs)
    return replace(labelled, strays=tuple(strays))


def from_csv(csv_path: str | os.PathLike[str], images_dir: str | os.PathLike[str] | None = None) -> LabelledPhotos:
    """Reads a CSV with the columns ``path`` and ``label``; see :func:`delg.common.image_lists.read_labelled`.

    Args:
      csv_path: the file; further columns are ignored. A label is any text.
      images_dir: the folder that relative paths start from; by default the CSV's own folder.

    Raises:
      InputError: the file, a column or a value is missing, an image has two labels, or a path without suffix can be any
        of several images.
    """
    root = Path(csv_path).parent if images_dir is None else _folder(images_dir)
    listed = read_labelled(csv_path, root, lambda row, where: None)
    return _labelled((image.path, root / image.path, image.label) for image in listed)


def from_gldv2(
    images_dir: str | os.PathLike[str],
    train_csv_path: str | os.PathLike[str] | None = None,
    train_clean_csv_path: str | os.PathLike[str] | None = None,
) -> LabelledPhotos:
    """Reads Google Landmarks v2: ``train.csv`` (``id,url,landmark_id``) or the clean list (``landmark_id,images``).

    Args:
      images_dir: images as ``0/1/2/0123456789abcdef.jpg`` (the published layout) or all in one folder.
      train_csv_path: the full training list.
      train_clean_csv_path: the clean list, images separated by spaces; overrides ``train_csv_path``.

    Raises:
      InputError: a file, a column or a value is missing, or no listed image lies in the folder.
    """
    root = _folder(images_dir)
    csv_path = train_clean_csv_path or train_csv_path
    if csv_path is None:
        raise InputError("Google Landmarks v2 needs --train_csv_path or --train_clean_csv_path.")
    listed = read_landmarks(csv_path, clean=train_clean_csv_path is not None)
    nested = _is_nested(root, listed, csv_path)
    return _labelled((image, gldv2_path(root, image, nested), label) for image, label in listed.items())


def relabeled(source: LabelledPhotos, path: str | os.PathLike[str]) -> LabelledPhotos:
    """Gives the classes of a source the labels of a ``relabeling.csv``.

    Args:
      source: labelled images.
      path: CSV with the columns ``new_label`` (0, 1, ...) and ``old_label``, the class name, as ``delg-records`` and
        the released builder write it.

    Returns:
      The same images; ``class_names`` are all classes of the file, also classes without images.

    Raises:
      InputError: the file cannot be read, its labels are not 0, 1, ..., or a class of the source is not in it.
    """
    names: dict[str, int] = {}
    wanted = ("new_label", "old_label")
    for where, row in rows(path, wanted, filled=wanted):
        name = nfc(row["old_label"])
        if row["new_label"] != str(len(names)) or name in names:
            raise InputError(
                f"{where}: expected the new_label {len(names)} and an old_label that was not there before. "
                f"Received: {row['new_label']},{row['old_label']}"
            )
        names[name] = len(names)
    unknown = sorted(set(source.class_names) - names.keys())
    if unknown:
        raise InputError(f"{len(unknown)} classes are not in {path}: {', '.join(unknown[:5])}.")
    labels = [names[name] for name in source.class_names]
    photos = tuple(replace(photo, label=labels[photo.label]) for photo in source.photos)
    return replace(source, photos=photos, class_names=tuple(names))


def split_and_shuffle(
    photos: Sequence[Photo], validation_split_size: float, seed: int
) -> tuple[list[Photo], list[Photo]]:
    """Splits every class by the same fraction and shuffles both parts.

    As released, ``max(1, int(fraction * n))`` of a class's ``n`` images go to validation; but a class with a single
    image stays in training.

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


def gldv2_path(root: Path, image: str, nested: bool) -> Path:
    """The file of a GLDv2 image: under its first three characters in the published layout, or directly in ``root``."""
    name = f"{image}.jpg"
    return root.joinpath(*image[:3], name) if nested else root / name


def _is_nested(root: Path, images: Iterable[str], csv_path: str | os.PathLike[str]) -> bool:
    """Whether the first existing image lies in the published layout."""
    for image in images:
        for nested in (True, False):
            if gldv2_path(root, image, nested).is_file():
                return nested
    raise InputError(
        f"None of the images of {csv_path} is in {root}: expected {root}/0/1/2/0123456789abcdef.jpg or "
        f"{root}/0123456789abcdef.jpg."
    )


def _labelled(items: Iterable[tuple[str, Path, str]]) -> LabelledPhotos:
    """Turns ``(id, path, class name)`` into photos with contiguous labels."""
    listed = [(as_utf8(identity), path, nfc(as_utf8(name))) for identity, path, name in items]
    names = {name for _, _, name in listed}
    ordered = sorted(names, key=int) if all(map(_is_number, names)) else sorted(names)
    if len(ordered) < 2:
        raise InputError(f"Training needs at least two classes. Received: {', '.join(ordered) or 'none'}.")
    labels = {name: label for label, name in enumerate(ordered)}
    photos = tuple(Photo(identity, path, labels[name]) for identity, path, name in listed)
    return LabelledPhotos(photos, tuple(ordered))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text


def _folder(path: str | os.PathLike[str]) -> Path:
    place = Path(path)
    if not place.is_dir():
        raise InputError(f"The image folder {place} does not exist or is not a folder.")
    return place


def _images_below(folder: Path, root: Path) -> list[Path]:
    """Image files below the folder of a class, sorted; links to a parent folder are not followed."""
    return sorted(path for path in files_below(folder, above=[root]) if is_image_name(path.name))

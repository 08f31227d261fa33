"""Labels taken from an earlier set, so that a class has the same number in both."""

import os
from dataclasses import replace

from delg.common.errors import InputError
from delg.common.text_files import nfc, rows
from training.records.sources import Source


def relabeled(source: Source, path: str | os.PathLike[str]) -> Source:
    """Gives the classes of a source the labels of a ``relabeling.csv``.

    Args:
      source: labelled images.
      path: CSV with the columns ``new_label`` (0, 1, ...) and ``old_label``, the class name, as ``delg-records`` and
        the released builder write it.

    Returns:
      The same images; ``class_names`` are all of the file, also those without an image here.

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

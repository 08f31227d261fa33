"""Lists of images: the file of each line, and the classes of images; all packages read lists alike."""

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Generic, TypeVar

from delg.common.errors import InputError
from delg.common.image_files import suffixes
from delg.common.text_files import Place, nfc, read_lines, rows

T = TypeVar("T")


@dataclass(frozen=True)
class Labelled(Generic[T]):
    """An image of a list ``path,label``.

    Attributes:
      where: its first line in the list, for messages.
      path: relative to the root of the list, spelled as on disk where the file exists.
      label: in the composed normal form.
      part: a further part of the image's identity, such as a box.
    """

    where: str
    path: str
    label: str
    part: T


class Finder:
    """Finds the files of the paths in a list; lists each folder at most once."""

    def __init__(self, root: Place):
        """Takes the folder.

        Args:
          root: where relative paths start.
        """
        self.root, self.suffixes = Path(root), tuple(suffixes())
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def __call__(self, path: str, where: str) -> str:
        """The path, spelled as on disk.

        A file with exactly this name is preferred. Otherwise names are compared in both Unicode normal forms (macOS
        writes other bytes for an "ü" than Linux and Windows), and a name without the suffix of an image stands for
        the one image that has this name before its suffix.

        Args:
          path: as written in the list.
          where: the place in the list, for messages.

        Returns:
          The path with ``/``; unchanged where no file is found.

        Raises:
          InputError: several images have the name, with different suffixes.
        """
        plain = PurePath(path).as_posix()
        ends = plain.lower().endswith(self.suffixes)
        if ends and plain.isascii():
            return plain
        found = spelled(self.root, plain)
        if ends or os.path.isfile(self.root / found):  # noqa: PTH113 -- a name may be too long for the disk
            return found
        folder = PurePath(spelled(self.root, PurePath(plain).parent.as_posix()))
        names = self._images(self.root / folder).get(nfc(PurePath(plain).name), [])
        if len(names) > 1:
            raise InputError(f"{where}: {path!r} can be any of {', '.join(names)}; expected the suffix, too.")
        return (folder / names[0]).as_posix() if names else plain

    def _images(self, folder: Path) -> dict[str, list[str]]:
        """Names of the image files of a folder, by the name before the suffix."""
        if folder not in self._folders:
            found = self._folders[folder] = {}
            names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
            for name in names:
                if name.lower().endswith(self.suffixes):
                    found.setdefault(nfc(os.path.splitext(name)[0]), []).append(name)  # noqa: PTH122
        return self._folders[folder]


def spelled(root: Place, path: str) -> str:
    """A path below a folder, spelled as on disk in either Unicode normal form; unchanged where no file is found.

    Args:
      root: the folder.
      path: relative to it.
    """
    if path.isascii() or os.path.exists(Path(root) / path):  # noqa: PTH110
        return path
    found = Path()
    for part in PurePath(path).parts:
        forms = (part, nfc(part), unicodedata.normalize("NFD", part))
        form = next((form for form in forms if os.path.lexists(Path(root) / found / form)), None)
        if form is None:
            return path
        found /= form
    return found.as_posix()


def read_paths(path: Place, root: Place) -> list[str]:
    """The images of a text file with a path a line; see :class:`Finder`. A path that is repeated is read once.

    Args:
      path: the text file.
      root: where relative paths start.

    Returns:
      The paths in the order of the file.

    Raises:
      InputError: the file cannot be read or names no image, or a path can be any of several images.
    """
    find = Finder(root)
    listed = [find(line, f"{path}, line {number}") for number, line in read_lines(path, "The image list")]
    if not listed:
        raise InputError(f"The image list {os.fspath(path)} is empty; expected the path of one image a line.")
    return list(dict.fromkeys(listed))


def read_labelled(path: Place, root: Place, part: Callable[[dict[str, str], str], T]) -> list[Labelled[T]]:
    """The images of a CSV file with the columns ``path`` and ``label``; see :class:`Finder`.

    A row that repeats an earlier one, part and label the same, is read once.

    Args:
      path: the CSV file; further columns may be there. A label is any text.
      root: where relative paths start.
      part: distinguishes images of one path, such as a box, from a row and its place; hashable.

    Returns:
      The images in the order of the file.

    Raises:
      InputError: the file, a column or a value is missing, an image has two labels, or a path can be any of several
        images.
    """
    find = Finder(root)
    known: dict[tuple[str, T], Labelled[T]] = {}
    for where, row in rows(path, ("path", "label"), filled=("path", "label")):
        one = Labelled(where, find(row["path"], where), nfc(row["label"]), part(row, where))
        first = known.setdefault((one.path, one.part), one)
        if first.label != one.label:
            raise InputError(f"{where}: {one.path} has the label {one.label!r} here and {first.label!r} before.")
    return list(known.values())


def read_landmarks(path: Place, clean: bool, whole: bool = False) -> dict[str, str]:
    """The class of each image id of Google Landmarks v2.

    Args:
      path: ``train.csv`` (``id,url,landmark_id``), or the clean list (``landmark_id,images``, ids separated by blanks).
      clean: which of the two it is.
      whole: refuse classes that are not whole numbers.

    Returns:
      The classes in the order of the file.

    Raises:
      InputError: the file, a column or a value is missing, or an image has two classes.
    """
    known: dict[str, str] = {}
    wanted = ("landmark_id", "images") if clean else ("id", "landmark_id")
    for where, row in rows(path, wanted, filled=wanted):
        label = row["landmark_id"]
        if whole and not label.removeprefix("-").isdecimal():
            raise InputError(f"{where}: expected a whole number. Received: {label!r}")
        for image in row["images"].split() if clean else [row["id"]]:
            if known.setdefault(image, label) != label:
                raise InputError(f"{where}: the image {image} has the class {label} here and {known[image]} before.")
    return known

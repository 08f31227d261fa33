"""Image files: lists of images, and how an image is read."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from threading import Lock
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from delg.common import options
from delg.common.decoding import MAX_PIXELS, BadImageError, Photo, opened, resized
from delg.common.errors import InputError
from delg.common.files import files_below
from delg.common.image_files import is_image_name
from delg.common.image_lists import read_paths, spelled
from delg.common.text_files import as_utf8

DECODER = f"pillow {PIL.__version__}"
EXIF = dict(zip(options.EXIF, ("orientation applied", "orientation ignored")))  # to the text that a store records
TRUNCATED = ("skip", "describe")
CROP_RULES: dict[str, Callable[[float], int]] = {"round": round, "truncate": int}
BORDERS = ("cut", "pad")

LARGE = 24_000_000  # pixels; a larger image is shrunk while it is decoded, one image at a time

Crop = tuple[float, float, float, float]
Size = tuple[int, int]

_one_large = Lock()


@dataclass(frozen=True)
class Reading:
    """How a file becomes pixels.

    Attributes:
      exif: ``"apply"`` turns a photo as its orientation tag says, ``"ignore"`` takes the pixels as they are stored (all
        released programs).
      truncated: ``"describe"`` takes a truncated file with grey for the missing part of a JPEG, black for other files
        (released DELG); ``"skip"`` refuses it.
      crop_rule: ``"round"`` rounds the sides of a crop, halves to even (released DELG); ``"truncate"`` cuts their
        fractions off (released CVNet and SuperGlobal).
      crop_border: a crop beyond the photo is cut at its border (``"cut"``), or filled with black (``"pad"``, released
        DELG).

    Raises:
      InputError: an unknown choice.
    """

    exif: str = "apply"
    truncated: str = "skip"
    crop_rule: str = "round"
    crop_border: str = "cut"

    def __post_init__(self) -> None:
        choices = {"exif": EXIF, "truncated": TRUNCATED, "crop_rule": CROP_RULES, "crop_border": BORDERS}
        for name, values in choices.items():
            if getattr(self, name) not in values:
                raise InputError(f"Unknown {name} {getattr(self, name)!r}; the choices are {', '.join(values)}.")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Reading":
        """How the images of an extractor or of features were read; the released way where that is not recorded."""
        recorded = str(settings.get("exif", EXIF["ignore"]))
        return cls(
            {text: name for name, text in EXIF.items()}.get(recorded, recorded),
            settings.get("truncated", "skip"),
            settings.get("crop_rule", "round"),
            settings.get("crop_border", "cut"),
        )

    def settings(self) -> dict[str, str]:
        """The settings that a store records, without the rule of crops, which belongs to the model."""
        return {"exif": EXIF[self.exif], "truncated": self.truncated, "crop_border": self.crop_border}


OWN = Reading()
"""How a user's own photos are read."""


@dataclass(frozen=True)
class ImageRef:
    """An image by name, before it is read.

    Attributes:
      name: unique in its list.
      path: the file.
      crop: ``(x1, y1, x2, y2)`` in pixels of the whole photo, None for the whole photo.
    """

    name: str
    path: str
    crop: Crop | None = None


def list_images(folder: str | os.PathLike[str]) -> list[ImageRef]:
    """All images below a folder, sorted by path.

    A name is the path below the folder, with ``/``, without the suffix; images that differ only in the suffix
    keep it. Hidden files and folders are left out; links are followed, each folder once.

    Args:
      folder: searched with all its subfolders for files with the name of an image (any case, see
        :mod:`delg.common.image_files`); files without a decoder in Pillow are listed, too, and skipped later.

    Returns:
      At least one image.

    Raises:
      InputError: the folder is missing, or holds no image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"The image folder {root} does not exist or is not a folder.")
    paths = sorted(
        (path for path in files_below(root) if is_image_name(path.name)),
        key=lambda path: path.relative_to(root).as_posix(),
    )
    if not paths:
        raise InputError(f"The image folder {root} holds no image; expected files such as .jpg, .png, .webp or .tif.")
    return named((path.relative_to(root), path) for path in paths)


def read_image_list(path: str | os.PathLike[str], images_dir: str | os.PathLike[str] | None = None) -> list[ImageRef]:
    """Images of a text file with a path a line.

    Args:
      path: see :func:`delg.common.image_lists.read_paths`; empty and repeated lines are ignored.
      images_dir: where relative paths start; None for the current folder.

    Returns:
      The images in the order of the file; a name is the path in the file, without the suffix.

    Raises:
      InputError: the file cannot be read, or names no image, or a path without suffix fits several images.
    """
    root = Path(images_dir or "")
    return named((PurePath(part), root / part) for part in read_paths(path, root))


def relative_path(ref: ImageRef) -> str:
    """The path of an image below the folder that its name starts in: its name with the suffix of its file.

    Returns:
      The path with ``/``; empty where the file has another name than the image, as when the name includes a crop.
    """
    path = as_utf8(Path(ref.path).as_posix())
    stem, suffix = os.path.splitext(path)  # noqa: PTH122
    for start, end in ((path, ""), (stem, suffix)):
        if start == ref.name or start.endswith(f"/{ref.name}"):
            return ref.name + end
    return ""


def find_image(folder: str | os.PathLike[str], name: str, path: str = "") -> ImageRef:
    """The image below a folder that has a name from :func:`list_images` or :func:`read_image_list`.

    Args:
      folder: where the names start.
      name: of the image.
      path: of the image below the folder, as recorded by its features; empty where that is not known. Then it is the
        image that :func:`list_images` gives the name, or the file of that very name, or the only image that has the
        name before its suffix.

    Returns:
      The image. Where no or several images fit, its path is the folder with the name, which does not open.
    """
    place = Path(folder, spelled(folder, path or name))
    files = [place] if place.is_file() else []
    if path and not files:  # a name of other bytes than UTF-8
        files = [entry for entry in _entries(place.parent) if as_utf8(entry.name) == place.name]
    if not path:
        images = [entry for entry in _entries(place.parent) if is_image_name(entry.name)]
        refs = named((PurePath(entry.name), entry) for entry in images)
        listed = [Path(ref.path) for ref in refs if ref.name == place.name]
        files = listed or files or [entry for entry in images if as_utf8(entry.stem) == place.name]
    return ImageRef(name, os.fspath(files[0] if len(files) == 1 else place))


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder that are not hidden; none where there is no folder."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def named(paths: Iterable[tuple[PurePath, Path]]) -> list[ImageRef]:
    """Gives each file (relative path, path) a unique name: the relative path, with its suffix only where needed.

    Raises:
      InputError: a relative path occurs twice.
    """
    pairs = list(paths)
    stems = [os.path.splitext(part.as_posix())[0] for part, _ in pairs]  # noqa: PTH122
    names, before = stems, [""]
    while names != before:  # a name with suffix can equal one without: a.jpg, a.png and a.jpg.jpg
        count, before = Counter(names), names
        names = [name if count[name] == 1 else part.as_posix() for name, (part, _) in zip(names, pairs)]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(f"Two images have the name {twice[0]!r}; expected each once.")
    return [ImageRef(as_utf8(name), os.fspath(path)) for name, (_, path) in zip(names, pairs)]


def load_image(ref: ImageRef, reading: Reading = OWN) -> tuple[NDArray[np.uint8], Size, Size]:
    """Decodes an image and cuts its crop; the first three results of :func:`load_shrunk`, never shrunk."""
    return load_shrunk(ref, reading)[:3]


def load_shrunk(
    ref: ImageRef, reading: Reading = OWN, shrink: Callable[[Size, float], Size] | None = None
) -> tuple[NDArray[np.uint8], Size, Size, Size]:
    """Decodes an image, see :mod:`delg.common.decoding`, and cuts its crop at whole pixels.

    Args:
      ref: the image; its crop is in pixels of the photo as it is read, upright or stored.
      reading: how a file becomes pixels.
      shrink: size to which an image above :data:`LARGE` pixels is resized while it is decoded (bilinear, antialiased,
        as :func:`extraction.resize.resize`), by a crop's ``(width, height)`` and its longest side over that of the
        whole photo; so memory is at most 4.5 bytes a pixel of the file, and twice that where the photo is turned. None
        for never.

    Returns:
      ``(H, W, 3)`` uint8 RGB of the crop or the whole; ``(width, height)`` of the whole photo; ``(x, y)`` of the
      crop's top-left pixel in it; ``(width, height)`` of the crop before it was shrunk.

    Raises:
      BadImageError: the file is missing, empty, truncated, not an image, or the crop lies outside of it.
    """
    with _opened(ref, reading) as photo:
        if shrink is not None and photo.stored[0] * photo.stored[1] > LARGE:
            with _one_large:
                part, size, offset = _cropped(photo.rgb(), ref, reading)
                smaller = shrink(part.size, max(part.size) / max(size))
                return np.asarray(resized(part, smaller), np.uint8), size, offset, part.size
        part, size, offset = _cropped(photo.rgb(), ref, reading)
        return np.array(part, np.uint8), size, offset, part.size


def crop_size(ref: ImageRef, reading: Reading = OWN) -> tuple[Size, Size]:
    """``(width, height)`` of the crop and of the whole photo, read from the header of the file.

    Raises:
      BadImageError: see :func:`load_shrunk`; damage behind the header is not seen, nor is an orientation there.
    """
    with _opened(ref, reading) as photo:
        box = _box(ref.crop, photo.size, reading)
        return (box[2] - box[0], box[3] - box[1]), photo.size


def _opened(ref: ImageRef, reading: Reading) -> contextlib.AbstractContextManager[Photo]:
    """The file of an image, opened."""
    return opened(ref.path, upright=reading.exif == "apply", tolerant=reading.truncated == "describe")


def _cropped(image: Image.Image, ref: ImageRef, reading: Reading) -> tuple[Image.Image, Size, Size]:
    """The crop of a decoded image; size of the whole; the crop's top-left pixel."""
    box = _box(ref.crop, image.size, reading)
    return image if box == (0, 0, *image.size) else image.crop(box), image.size, box[:2]


def _box(crop: Crop | None, size: Size, reading: Reading) -> tuple[int, int, int, int]:
    """Whole-pixel crop ``(left, top, right, bottom)``, inside the photo unless it is padded."""
    width, height = size
    if crop is None:
        return 0, 0, width, height
    whole = CROP_RULES[reading.crop_rule]
    x1, y1, x2, y2 = (whole(float(side)) for side in crop)
    if reading.crop_border == "cut":
        x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if x1 >= x2 or y1 >= y2:
        raise BadImageError(f"the crop {tuple(crop)} holds no pixel of the {width} x {height} photo")
    if (x2 - x1) * (y2 - y1) > MAX_PIXELS:
        raise BadImageError(f"the crop {tuple(crop)} has more than {MAX_PIXELS // 10**6} million pixels")
    return x1, y1, x2, y2

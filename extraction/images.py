"""Image files: which there are, and how one is decoded (Pillow, orientation tag ignored, as the released code does)."""

import contextlib
import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from threading import Lock

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from delg.common.errors import InputError
from delg.common.files import files_below
from delg.common.image_lists import read_paths, spelled

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif")
DECODER = f"pillow {PIL.__version__}"
EXIF_POLICY = "orientation ignored"
CROP_RULES: dict[str, Callable[[float], int]] = {"round": round, "truncate": int}

MAX_PIXELS = 400_000_000  # of a file; 20,000 x 15,000 passes, what claims to be larger is not decoded
LARGE = 24_000_000  # pixels from which an image is shrunk as it is decoded, one at a time
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow would warn from 89 million on
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # such a file is skipped with its reason

Crop = tuple[float, float, float, float]
Size = tuple[int, int]


_one_large = Lock()


class BadImageError(ValueError):
    """One file that cannot be used as an image; the message is the reason, without the path."""


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
      folder: searched with all its subfolders for files that end in one of :data:`SUFFIXES` (any case);
        those that Pillow has no decoder for are found, too, so that they are named among the skipped.

    Returns:
      At least one image.

    Raises:
      InputError: the folder is missing, or holds no image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"The image folder {root} does not exist or is not a folder.")
    found = _walk(root)
    if not found:
        raise InputError(f"The image folder {root} holds no image; expected files ending in {' '.join(SUFFIXES)}.")
    return named((path.relative_to(root), path) for path in found)


def read_image_list(path: str | os.PathLike[str], images_dir: str | os.PathLike[str] | None = None) -> list[ImageRef]:
    """Images of a text file with a path a line.

    Args:
      path: the text file, see :func:`delg.common.image_lists.read_paths`; empty lines and repeated ones are passed over.
      images_dir: where relative paths start; None for the current folder.

    Returns:
      The images in the order of the file; a name is the path as it stands there, without the suffix.

    Raises:
      InputError: the file cannot be read, or names no image, or a path without suffix can be any of several images.
    """
    root = Path(images_dir or "")
    return named((PurePath(part), root / part) for part in read_paths(path, root, SUFFIXES))


def relative_path(ref: ImageRef) -> str:
    """Where an image lies below the folder that its name starts in: its name with the suffix of its file.

    Returns:
      The path with ``/``; empty where the file is not called as the image is, as when the name tells a crop, too.
    """
    path = _text(Path(ref.path).as_posix())
    stem, suffix = os.path.splitext(path)  # noqa: PTH122
    for start, end in ((path, ""), (stem, suffix)):
        if start == ref.name or start.endswith(f"/{ref.name}"):
            return ref.name + end
    return ""


def find_image(folder: str | os.PathLike[str], name: str, path: str = "") -> ImageRef:
    """The image below a folder that :func:`list_images` or :func:`read_image_list` gives a name.

    Args:
      folder: where the names start.
      name: of the image.
      path: where it lies below the folder, as its feature store tells; empty where that is not known. Then it is the
        image that :func:`list_images` gives the name, or the file of that very name, or the only image that has the
        name before its suffix.

    Returns:
      The image. Where there is none, or one of several, its path is the folder with the name, which does not open.
    """
    place = Path(folder, spelled(folder, path or name))
    found = [place] if place.is_file() else []
    if path and not found:  # a name of other bytes than UTF-8
        found = [entry for entry in _entries(place.parent) if _text(entry.name) == place.name]
    if not path:
        images = [entry for entry in _entries(place.parent) if entry.name.lower().endswith(SUFFIXES)]
        known = named((PurePath(entry.name), entry) for entry in images)
        listed = [Path(ref.path) for ref in known if ref.name == place.name]
        found = listed or found or [entry for entry in images if _text(entry.stem) == place.name]
    return ImageRef(name, os.fspath(found[0] if len(found) == 1 else place))


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, without what is hidden; nothing where there is no folder."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def _walk(root: Path) -> list[Path]:
    """Image files below a folder, sorted."""
    found = [path for path in files_below(root) if path.name.lower().endswith(SUFFIXES)]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def named(paths: Iterable[tuple[PurePath, Path]]) -> list[ImageRef]:
    """Gives each file (relative path, path) a unique name: the relative path, its suffix where another has its name.

    Raises:
      InputError: a relative path is there twice.
    """
    pairs = list(paths)
    stems = [os.path.splitext(part.as_posix())[0] for part, _ in pairs]  # noqa: PTH122
    names, before = stems, [""]
    while names != before:  # with its suffix, an image can be called as one without: a.jpg, a.png and a.jpg.jpg
        count, before = Counter(names), names
        names = [name if count[name] == 1 else part.as_posix() for name, (part, _) in zip(names, pairs)]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(f"Two images have the name {twice[0]!r}; expected each once.")
    return [ImageRef(_text(name), os.fspath(path)) for name, (_, path) in zip(names, pairs)]


def _text(name: str) -> str:
    """A name that can be written as UTF-8 (bytes of a file name that are not UTF-8 become escapes)."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def load_image(ref: ImageRef, crop_rule: str = "round") -> tuple[NDArray[np.uint8], Size, Size]:
    """Decodes an image and cuts its crop; the first three of what :func:`load_shrunk` gives, never shrunk."""
    return load_shrunk(ref, crop_rule)[:3]


def load_shrunk(
    ref: ImageRef, crop_rule: str = "round", shrink: Callable[[Size, float], Size] | None = None
) -> tuple[NDArray[np.uint8], Size, Size, Size]:
    """Decodes an image and cuts its crop.

    The crop is brought to whole pixels and cut at the border of the photo. Grey, CMYK and palette images become RGB,
    transparency is dropped, 16-bit grey is brought to 8 bits, of an animation the first picture is taken.

    Args:
      ref: which image.
      crop_rule: ``"round"`` rounds the sides of the crop, halves to even (released DELG); ``"truncate"`` cuts their
        fractions off (released CVNet and SuperGlobal).
      shrink: of a crop's ``(width, height)``, and its longest side over that of the whole photo, the size to which
        an image above :data:`LARGE` pixels is brought while it is decoded (bilinear, antialiased, as
        :func:`extraction.resize.resize`), so that memory is at most 4.5 bytes a pixel of the file; None for never.

    Returns:
      ``(H, W, 3)`` uint8 RGB of the crop or the whole; ``(width, height)`` of the whole photo; ``(x, y)`` of the
      crop's top-left pixel in it; ``(width, height)`` of the crop before it was shrunk.

    Raises:
      BadImageError: the file is missing, empty, truncated, not an image, or the crop lies outside of it.
    """
    with _opened(ref) as image:
        size = image.size
        box, side = _cut(ref, size, crop_rule)
        if shrink is not None and size[0] * size[1] > LARGE:
            smaller = shrink(side, max(side) / max(size))
            with _one_large:
                return _shrunk(_rgb(image), box, smaller), size, box[:2], side
        rgb = _rgb(image)
        return np.array(rgb if ref.crop is None else rgb.crop(box), np.uint8), size, box[:2], side


def crop_size(ref: ImageRef, crop_rule: str = "round") -> tuple[Size, Size]:
    """``(width, height)`` of the crop and of the whole photo, read from the head of the file.

    Raises:
      BadImageError: see :func:`load_shrunk`; damage behind the head is not seen.
    """
    with _opened(ref) as image:
        return _cut(ref, image.size, crop_rule)[1], image.size


@contextlib.contextmanager
def _opened(ref: ImageRef) -> Iterator[Image.Image]:
    """A file, its pixels not read yet; whatever goes wrong while it is in use becomes a BadImageError."""
    try:
        if not stat.S_ISREG(os.stat(ref.path).st_mode):  # noqa: PTH116 -- a pipe would wait for ever
            raise BadImageError("not a file")
        with Image.open(ref.path) as image:
            if image.size[0] * image.size[1] > MAX_PIXELS:
                raise BadImageError(
                    f"{image.size[0]} x {image.size[1]} pixels, more than {MAX_PIXELS // 10**6} million"
                )
            yield image
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(_no_image(Path(ref.path))) from error
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error
    except Exception as error:  # decoders raise errors of many kinds on damaged files
        raise BadImageError(f"not decodable: {error}") from error


def _cut(ref: ImageRef, size: Size, crop_rule: str) -> tuple[tuple[int, int, int, int], Size]:
    """The crop's box in the photo, and its size."""
    box = _box(ref.crop, size, CROP_RULES[crop_rule])
    return box, (box[2] - box[0], box[3] - box[1])


def _no_image(path: Path) -> str:
    """Why Pillow does not know a file."""
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return "the file is empty"
    if head[4:8] == b"ftyp":
        return f"Pillow has no decoder for {head[8:12].decode('ascii', 'replace').strip()} (HEIC and alike)"
    return "not an image that Pillow can decode"


def _shrunk(image: Image.Image, box: tuple[int, int, int, int], size: Size) -> NDArray[np.uint8]:
    """The box of an image, brought to a size."""
    part = image if box == (0, 0, *image.size) else image.crop(box)
    return np.asarray(part.resize(size, Image.Resampling.BILINEAR), np.uint8)


def _box(crop: Crop | None, size: tuple[int, int], whole: Callable[[float], int]) -> tuple[int, int, int, int]:
    """Whole-pixel crop ``(left, top, right, bottom)`` inside the photo."""
    width, height = size
    if crop is None:
        return 0, 0, width, height
    x1, y1, x2, y2 = (whole(float(side)) for side in crop)
    box = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if box[0] >= box[2] or box[1] >= box[3]:
        raise BadImageError(f"the crop {tuple(crop)} holds no pixel of the {width} x {height} photo")
    return box


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")

"""Photos as the service takes and shows them: paths, checks of uploads, small pictures, overlays of inliers."""

import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.exceptions import HTTPException

from collection.collection import Collection
from collection.files import file_of
from delg.common.decoding import BadImageError, opened
from evaluation.report.thumbs import draw_box
from extraction.features import Floats
from extraction.images import OWN, ImageRef, load_shrunk
from matching.draw import draw_matches

FORMATS = {  # by Pillow: the suffixes of a photo that is added, and the type under which a browser shows it
    "JPEG": ((".jpg", ".jpeg", ".jpe", ".jfif"), "image/jpeg"),
    "MPO": ((".mpo",), "image/jpeg"),
    "PNG": ((".png",), "image/png"),
    "WEBP": ((".webp",), "image/webp"),
    "GIF": ((".gif",), "image/gif"),
    "BMP": ((".bmp",), "image/bmp"),
    "AVIF": ((".avif",), "image/avif"),
    "TIFF": ((".tif", ".tiff"), None),
}
SUFFIXES = frozenset(suffix for suffixes, _ in FORMATS.values() for suffix in suffixes)
SIDE = 2048  # pixels: the longest side of each photo of an overlay
QUALITY = 85
CACHE = 64_000_000  # bytes of small pictures in memory


def check_upload(data: bytes, pixels: int) -> None:
    """Checks the head of an image before anything decodes it.

    Raises:
      HTTPException: 413 for more pixels than the service takes, 415 for what is no photo.
    """
    if not data:
        raise HTTPException(415, "The image is empty.")
    try:
        with Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name != "MPO"]) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise HTTPException(413, f"The image has too many pixels; {pixels / 1e6:g} million are the most.") from error
    except Exception as error:  # damaged files raise errors of many types
        raise HTTPException(415, f"The file is no photo that the service takes: {', '.join(FORMATS)}.") from error
    if width * height > pixels:
        sentence = f"The image has {width} x {height} pixels; {pixels / 1e6:g} million are the most."
        raise HTTPException(413, sentence)


def check_path(path: str) -> str:
    """Checks the path of a new photo.

    Returns:
      The path.

    Raises:
      HTTPException: 422 unless it is a plain path below the folder with the suffix of a photo.
    """
    parts = path.split("/")
    plain = all(part and part[0] != "." and len(part.encode()) <= 200 for part in parts) and path.isprintable()
    if not plain or "\\" in path or len(path) > 1000 or PurePosixPath(path).suffix.lower() not in SUFFIXES:
        raise HTTPException(
            422, "path: expected a path below the folder, such as album/1.jpg, with the suffix of a photo."
        )
    return path


def file_inside(collection: Collection, path: str) -> Path:
    """The file of a photo of the collection.

    Raises:
      HTTPException: 404, the collection has no such photo, its file is gone, or a link leads out of the folder.
    """
    if path in collection.paths:
        file = file_of(collection.folder, path).resolve()
        if file.is_file() and file.is_relative_to(collection.folder.resolve()):
            return file
    raise HTTPException(404, "The collection has no such photo in its folder.")


class Pictures:
    """Small pictures of photos, some of which stay in memory. Threads may share them."""

    def __init__(self, pixels: int):
        """Takes the largest number of pixels of a photo that is decoded."""
        self._pixels, self._bytes, self._lock = pixels, 0, Lock()
        self._cache: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()

    def small(self, file: Path, height: int) -> bytes:
        """A JPEG of at most so many pixels in height and three times as many in width.

        Raises:
          HTTPException: see :meth:`check`.
        """
        key = (str(file), mark(file), height)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        self.check(file)
        box = (3 * height, height)
        try:
            with opened(file, upright=True) as photo:
                photo.image.draft("RGB", box if photo.size == photo.stored else box[::-1])
                image = photo.rgb()
        except BadImageError as error:
            raise HTTPException(415, f"The photo cannot be shown: {error}.") from error
        image.thumbnail(box, Image.Resampling.LANCZOS)
        data = jpeg(image)
        with self._lock:
            self._cache[key] = data
            self._bytes += len(data)
            while self._bytes > CACHE:
                self._bytes -= len(self._cache.popitem(last=False)[1])
        return data

    def whole(self, file: Path) -> tuple[bytes, str]:
        """A photo in full size and its type: the file as it is, or as a JPEG where browsers do not know its format.

        Raises:
          HTTPException: see :meth:`check`.
        """
        kind = FORMATS.get(self.check(file), ((), None))[1]
        if kind is not None:
            return file.read_bytes(), kind
        return jpeg(Image.fromarray(self._pixels_of(file))), "image/jpeg"

    def overlay(self, first: Path, second: Path, pairs: Floats, crop: Sequence[float] | None = None) -> bytes:
        """A JPEG of two photos side by side with a line for each inlier.

        Args:
          first: a photo, on the left.
          second: another one.
          pairs: ``(N, 4)`` pixels ``(x, y)`` of each inlier in the first and in the second photo.
          crop: ``(x1, y1, x2, y2)`` in pixels of the first photo, which is outlined.

        Raises:
          HTTPException: see :meth:`check`.
        """
        images: list[NDArray[np.uint8]] = []
        points: list[Floats] = []
        for file, ends in ((first, pairs[:, :2]), (second, pairs[:, 2:])):
            self.check(file)
            image = Image.fromarray(self._pixels_of(file))
            width = image.width
            image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            factor = image.width / width
            if crop is not None and not images:
                draw_box(image, [side * factor for side in crop])
            images.append(np.array(image))
            points.append(ends * factor)
        return jpeg(Image.fromarray(draw_matches(images[0], images[1], points[0], points[1])))

    def check(self, file: Path) -> str:
        """Checks the head of a file.

        Returns:
          Its format.

        Raises:
          HTTPException: 413 for more pixels than the service shows, 415 for a file that cannot be shown.
        """
        try:
            with opened(file, upright=False) as photo:
                (width, height), kind = photo.stored, str(photo.image.format)
        except BadImageError as error:
            raise HTTPException(415, f"The photo cannot be shown: {error}.") from error
        if width * height > self._pixels:
            raise HTTPException(413, f"The photo has {width} x {height} pixels, more than the service shows.")
        return kind

    def _pixels_of(self, file: Path) -> NDArray[np.uint8]:
        try:
            return load_shrunk(ImageRef("photo", str(file)), OWN)[0]
        except BadImageError as error:
            raise HTTPException(415, f"The photo cannot be shown: {error}.") from error


def mark(file: Path) -> str:
    """A text that changes with a file."""
    now = os.stat(file)  # noqa: PTH116
    return f"{now.st_mtime_ns:x}-{now.st_ctime_ns:x}-{now.st_size:x}"


def jpeg(image: Image.Image) -> bytes:
    """An RGB image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()

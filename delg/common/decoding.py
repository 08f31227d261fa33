"""The one decoder of image files, by Pillow: right to within 1 of 255, or refused with the reason.

Channels of 8 bits are used unchanged; of 16-bit channels and 12-bit grey, the high 8 bits are used. Refused are pixels
without a known white level (32-bit, signed and floating-point numbers), formats that Pillow reads wrongly, and raw data
of cameras, whose thumbnail Pillow would decode in place of the photo.
"""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Condition

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.Image import Transpose

from delg.common.image_files import formats, is_raw_name

MAX_PIXELS = 400_000_000  # of a file; 20,000 x 15,000 passes, larger files are not decoded
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow would warn from 89 million on
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # such a file is skipped with its reason
warnings.filterwarnings("ignore", message="Corrupt EXIF data")  # the photo counts as upright

ORIENTATION = 0x0112
TURNS = {  # by the value of the tag, what makes the stored pixels upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
BACK = {6: 8, 8: 6}  # the value whose turn undoes that of a value; the others undo themselves
ON_SIDE = 5  # from this value on width and height change places
DEEP_GREY = ("PNG", "TIFF", "JPEG2000", "PPM")  # formats whose 16-bit grey is white at the highest value
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, PLANES = 256, 257, 258, 259, 262, 284  # tags of TIFF
SAMPLE_FORMAT, SUBSAMPLING, DNG_VERSION = 339, 530, 50706

Size = tuple[int, int]


class BadImageError(ValueError):
    """One file that cannot be used as an image; the message is the reason, without the path."""


class Photo:
    """An open image file, its pixels not read yet.

    Attributes:
      image: as Pillow opened it.
      stored: ``(width, height)`` as the pixels lie in the file.
    """

    def __init__(self, image: Image.Image, upright: bool):
        """Reads the header.

        Args:
          image: as Pillow opened it.
          upright: whether the orientation tag is applied.
        """
        self.image, self._upright, self._loaded = image, upright, False
        self._tags = image.tag_v2 if image.format == "TIFF" else None  # type: ignore[attr-defined]
        self.stored: Size = (self._tags[WIDTH], self._tags[HEIGHT]) if self._tags is not None else image.size
        self._tag = self._orientation()

    @property
    def turned(self) -> bool:
        """Whether the orientation tag changes the stored pixels."""
        return self._upright and self._tag in TURNS

    @property
    def size(self) -> Size:
        """``(width, height)`` of the upright pixels; of a PNG with the tag at its end, known only after decoding."""
        return self.stored[::-1] if self.turned and self._tag >= ON_SIDE else self.stored

    def rgb(self) -> Image.Image:
        """Decodes the file to 8-bit RGB; drops transparency, and takes the first picture of an animation.

        Raises:
          BadImageError: Pillow reads this kind of pixels wrongly. Damaged files raise errors of many types.
        """
        grey_bits = _check_kind(self.image)
        self.image.load()
        self._loaded = True
        tag = self._tag
        if self._tags is None:
            tag = self._tag = self._orientation()
            turn = TURNS.get(tag) if self._upright else None
        else:  # Pillow has turned it
            turn = None if self._upright else TURNS.get(BACK.get(tag, tag))
        rgb = _rgb(self.image, grey_bits)
        return rgb if turn is None else rgb.transpose(turn)

    def _orientation(self) -> int:
        """The value of the orientation tag; 1 where the tag is missing or unreadable."""
        image = self.image
        if self._tags is None and not self._upright:
            return 1
        if image.format == "PNG" and not self._loaded and "exif" not in image.info:
            return 1  # Pillow would read the whole file
        try:
            value = image.getexif().get(ORIENTATION, 1) if self._tags is None else self._tags.get(ORIENTATION, 1)
        except Exception:  # EXIF data can be damaged in many ways; the pixels are whole
            return 1
        return value if value in TURNS else 1


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], *, upright: bool, tolerant: bool = False) -> Iterator[Photo]:
    """Opens an image file; errors while the file is open become a BadImageError.

    Args:
      path: the file; only suffixes of raw data matter.
      upright: apply the orientation tag of EXIF or TIFF; otherwise pixels stay as stored.
      tolerant: decode truncated files as far as possible; the rest is grey in a JPEG, black in other formats.

    Yields:
      The open file.

    Raises:
      BadImageError: the file is missing, empty, truncated, too large, or not an image that can be decoded.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 -- a pipe would wait for ever
            raise BadImageError("not a file")
        if is_raw_name(os.fspath(path)):
            raise BadImageError(f"raw data of a camera ({Path(path).suffix}); Pillow reads a thumbnail at most")
        with _truncation(tolerant), Image.open(path, formats=formats()) as image:
            photo = Photo(image, upright)
            width, height = photo.stored
            if width * height > MAX_PIXELS:
                raise BadImageError(f"{width} x {height} pixels, more than {MAX_PIXELS // 10**6} million")
            yield photo
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(_no_image(Path(path))) from error
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error
    except Exception as error:  # decoders raise errors of many kinds on damaged files
        raise BadImageError(f"not decodable: {error}") from error


def resized(image: Image.Image, size: Size, method: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    """Resizes antialiased, by default bilinearly: the width first, then the height, 8 bits in between if it has 8 bits.

    Pillow up to version 12, which made the released features, resizes in this order. From version 13 on, Pillow chooses
    the order by the sizes, which changes values by up to 5 of 255.
    """
    for side in ((size[0], image.height), size):
        if image.size != side:
            image = image.resize(side, method)
    return image


class _Truncation:
    """Pillow's switch for truncated files, which is global in a process.

    Threads that need the same value share the switch; threads that need the other value wait.
    """

    def __init__(self) -> None:
        self._free, self._users = Condition(), 0

    @contextlib.contextmanager
    def __call__(self, tolerant: bool) -> Iterator[None]:
        with self._free:
            self._free.wait_for(lambda: not self._users or tolerant == ImageFile.LOAD_TRUNCATED_IMAGES)
            if not self._users:
                self._before = ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = tolerant
            self._users += 1
        try:
            yield
        finally:
            with self._free:
                self._users -= 1
                if not self._users:
                    ImageFile.LOAD_TRUNCATED_IMAGES = self._before
                self._free.notify_all()


_truncation = _Truncation()


def _no_image(path: Path) -> str:
    """The reason why Pillow cannot open a file."""
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return "the file is empty"
    if head[4:8] == b"ftyp":
        return f"Pillow has no decoder for {head[8:12].decode('ascii', 'replace').strip()} (HEIC and alike)"
    return "not an image that Pillow can decode"


def _check_kind(image: Image.Image) -> int:
    """Checks that Pillow decodes the pixels correctly.

    Returns:
      Bits of a grey value, negative where 0 is white; 0 for images that Pillow itself converts to 8 bits.

    Raises:
      BadImageError: Pillow would decode wrong values.
    """
    mode, kind = image.mode, str(image.format)
    if kind == "TIFF":
        _check_tiff(image)
    if mode == "F":
        raise BadImageError("floating-point pixels; the file does not say which value is white")
    if mode == "I" and kind not in ("PNG", "PPM"):
        raise BadImageError("pixels of 32 bits or with a sign; the file does not say which value is white")
    if kind == "JPEG2000" and not mode.startswith("I") and _jpeg2000_bits(image) > 8:
        raise BadImageError("JPEG 2000 of more than 8 bits a colour, whose white Pillow makes black")
    if mode == "LAB":
        raise BadImageError("CIELAB colours, which Pillow brings to RGB in a way of its own")
    if kind == "PSD" and mode == "1":
        raise BadImageError("a Photoshop bitmap, which Pillow makes negative")
    if not mode.startswith("I"):
        return 0
    if kind not in DEEP_GREY:
        raise BadImageError(f"16-bit pixels of {kind}, which does not say which value is white")
    if kind != "TIFF":
        return 16
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = int(tags[BITS][0])
    return -bits if tags.get(PHOTOMETRIC, 0) == 0 else bits


def _check_tiff(image: Image.Image) -> None:
    """Raises BadImageError for kinds of TIFF that Pillow opens but decodes wrongly."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, plain = tags.get(BITS, (1,)), tags.get(COMPRESSION, 1) == 1
    if DNG_VERSION in tags:
        raise BadImageError("raw data of a camera (DNG); Pillow reads a thumbnail at most")
    if any(number not in (1, 3) for number in tags.get(SAMPLE_FORMAT, (1,))):
        raise BadImageError("signed or unusual numbers as pixels; the file does not say which value is white")
    if tags.get(PLANES) == 2 and len(bits) > 1 and max(bits) > 8 and plain:
        raise BadImageError("a TIFF of 16 bits in planes, which Pillow mixes up")
    if tags.get(PHOTOMETRIC) == 6 and plain and len(bits) > 1 and tuple(tags.get(SUBSAMPLING, (2, 2))) != (1, 1):
        raise BadImageError("a TIFF of subsampled YCbCr without compression, which Pillow mixes up")
    arguments = image.tile[0][3] if image.tile else ""  # type: ignore[attr-defined]
    form = arguments[0] if isinstance(arguments, tuple) else arguments
    if image.mode.startswith("I;16") and tags.get(PHOTOMETRIC, 0) == 0 and form not in ("I;16", "I;16N"):
        raise BadImageError("a 16-bit TIFF whose 0 is white, in a form that is not known")


def _jpeg2000_bits(image: Image.Image) -> int:
    """Bits of the first colour, from the head of the code stream (ISO 15444-1, A.5.1)."""
    assert isinstance(image, ImageFile.ImageFile) and image.fp is not None
    place = image.fp.tell()
    image.fp.seek(0)
    head = image.fp.read(1 << 20)
    image.fp.seek(place)
    start = head.find(b"\xff\x4f\xff\x51")
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 99


def _rgb(image: Image.Image, grey_bits: int) -> Image.Image:
    """A decoded image as RGB."""
    if grey_bits:
        grey = (np.asarray(image) >> (abs(grey_bits) - 8)).astype(np.uint8)
        return Image.fromarray(255 - grey if grey_bits < 0 else grey).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    return image if image.mode == "RGB" else image.convert("RGB")

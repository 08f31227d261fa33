"""Which files are images: by their names, and by the formats that Pillow decodes here."""

from functools import lru_cache
from pathlib import PurePath

from PIL import Image

# Formats of Pillow that are no photos: data, metadata and video of which Pillow reads the header alone, drawings that
# need another program, and bitmaps without a record of which of their two values is black.
NO_PHOTOS = frozenset({"BUFR", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "EPS", "WMF", "XBM"})
RAW = frozenset(
    f".{name}"
    for name in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos", "mrw", "nef"),
        *("nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
OTHERS = frozenset(  # images that Pillow does not decode, or not in every build
    f".{name}"
    for name in (
        *("avif", "avifs", "bpg", "emf", "eps", "exr", "hdr", "heic", "heics", "heif", "heifs", "hif", "jp2", "jxl"),
        *("jxr", "psb", "svg", "svgz", "wdp", "webp", "wmf", "xbm", "xcf"),
    )
)


def formats() -> list[str]:
    """Names of the formats that are decoded, in the order in which Pillow tries them."""
    with_suffix = set(Image.registered_extensions().values())  # loads all plug-ins; other formats are of no camera
    return [name for name in Image.ID if name in with_suffix - NO_PHOTOS]


def suffixes() -> frozenset[str]:
    """Lower-case suffixes of image files: formats that Pillow decodes, and further formats, which are skipped."""
    return _suffixes(len(Image.registered_extensions()))  # another package may have added a format


@lru_cache(maxsize=1)
def _suffixes(count: int) -> frozenset[str]:
    decoded = {*formats(), "MPO"}  # Pillow opens this one as JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in decoded) | RAW | OTHERS


def is_image_name(name: str) -> bool:
    """Whether a file has the suffix of an image, in any case; only decoding shows whether the file is an image.

    Hidden files do not count, such as the ``._photo.jpg`` that macOS puts beside a photo and into ``__MACOSX``.
    """
    return not name.startswith(".") and PurePath(name).suffix.lower() in suffixes()


def is_raw_name(name: str) -> bool:
    """Whether a file is a camera's raw data: many are TIFF files whose first picture is a thumbnail."""
    return PurePath(name).suffix.lower() in RAW

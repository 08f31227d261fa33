"""The photos of a folder as files: which there are, and which have changed since the state was written."""

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from collection.images import Image, bytes_of
from collection.state import Photo
from delg.common.errors import InputError, first_line
from delg.common.files import files_below, leads_out
from delg.common.image_files import is_image_name
from delg.common.text_files import as_utf8

REMOVED = "removed from the collection"
"""The reason of a photo that the user took out, whose file is still there."""
OUTSIDE = "a link that leads out of the folder"
FRESH = 2_000_000_000  # nanoseconds: a file read so soon after its last change may change again at the same time


@dataclass(frozen=True)
class Scan:
    """What a folder holds, compared with a state.

    Attributes:
      unchanged: files with the recorded bytes; their times may be new.
      renamed: new path -> old path, of files whose bytes were recorded under a path that is gone.
      added: files of new paths.
      changed: files of known paths, with other bytes.
      removed: paths that are gone, without those of ``renamed``.
      files: where each of the photos lies, by path.
    """

    unchanged: dict[str, Photo] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    added: dict[str, Photo] = field(default_factory=dict)
    changed: dict[str, Photo] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)


def photo_files(folder: Path) -> dict[str, Path]:
    """The photos below a folder by path, sorted; see :func:`extraction.images.list_images` for what counts as one.

    A link that leads out of the folder is not followed, so that nothing outside is searched or shown; of such a link to
    a folder the path of the link stands for all.

    Raises:
      InputError: the folder does not exist, a folder in it cannot be read, or two files have one path as UTF-8.
    """

    def unreadable(error: OSError) -> None:
        raise InputError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error

    if not folder.is_dir():
        raise InputError(f"The image folder {folder} does not exist or is not a folder.")
    files: dict[str, Path] = {}
    for file in files_below(folder, onerror=unreadable, inside=True):
        if is_image_name(file.name) or leads_out(file, folder):
            path = as_utf8(file.relative_to(folder).as_posix())
            if path in files:
                raise InputError(f"Two images have the name {path!r}; expected each once.")
            files[path] = file
    return dict(sorted(files.items()))


def scan(folder: Path, recorded: Iterable[Photo]) -> Scan:
    """Compares the photos below a folder with a state.

    A file of the recorded size and times is not read again, unless it was read so soon after its last change that it
    may have changed once more without a new time. Every other file is read for its SHA-256. A photo that the user took
    out counts as unchanged.

    Args:
      folder: of the photos.
      recorded: all photos of the state.

    Raises:
      InputError: see :func:`photo_files`.
    """
    before = {photo.path: photo for photo in recorded}
    result = Scan(files=photo_files(folder))
    new: dict[str, Photo] = {}
    for path, file in result.files.items():
        known = before.get(path)
        if leads_out(file, folder):
            link = Photo(path, 0, 0, 0, 0, "", reason=OUTSIDE)
            (result.unchanged if known == link else result.changed if known else new)[path] = link
            continue
        settled = known is not None and (known.reason == REMOVED or _same_file(file, known))
        photo = known if settled else read(file, path)
        if photo is None:  # gone since the folder was listed
            continue
        if known is not None and not photo.sha256:  # not readable for now
            photo = known
        if known is None:
            new[path] = photo
        elif known.sha256 == photo.sha256:
            result.unchanged[path] = photo._replace(description=known.description, reason=known.reason)
        else:
            result.changed[path] = photo
    present = result.unchanged.keys() | result.changed.keys()
    gone = {path: photo for path, photo in before.items() if path not in present}
    result.renamed.update(_renamed(new, gone))
    result.added.update({path: photo for path, photo in new.items() if path not in result.renamed})
    result.removed.extend(sorted(gone.keys() - set(result.renamed.values())))
    for path in result.renamed:
        old = gone[result.renamed[path]]
        result.unchanged[path] = new[path]._replace(description=old.description, reason=old.reason)
    return result


def read(file: Path, path: str) -> Photo | None:
    """The record of a file as it is now; None where it is gone. A file that cannot be read gets a reason."""
    try:
        before = file.stat()
        if not stat.S_ISREG(before.st_mode):
            return Photo(path, 0, 0, 0, 0, "", reason="not a file")
        now = time.time_ns()
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        return Photo(path, 0, 0, 0, 0, "", reason=error.strerror or str(error))
    return Photo(path, before.st_size, before.st_mtime_ns, before.st_ctime_ns, now, digest)


def is_as_recorded(file: Path, photo: Photo) -> bool:
    """Whether a file has the recorded size and times; False where it is gone."""
    try:
        now = file.stat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (photo.size, photo.mtime_ns, photo.ctime_ns)


def file_of(folder: Path, path: str) -> Path:
    """The file of a photo, also one whose name is not UTF-8."""
    place = folder / path
    if "\\x" in path and not os.path.lexists(place):
        entries = place.parent.iterdir() if place.parent.is_dir() else ()
        place = next((entry for entry in entries if as_utf8(entry.name) == place.name), place)
    return place


@contextmanager
def image_file(image: Image, folder: Path) -> Iterator[Path]:
    """A file that holds an image; a path that does not exist may be that of a photo below the folder.

    Raises:
      InputError: there is no such file, or the array is no image.
    """
    if isinstance(image, str | os.PathLike):
        if "\0" in os.fspath(image):
            raise InputError(f"Expected the path of a file. Received: {image!r}")
        with in_one_sentence(image):
            file, inside = Path(image), file_of(folder, os.fspath(image))
            file = inside if not file.exists() and inside.exists() else file
        yield file
        return
    data = bytes_of(image)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "query")
        file.write_bytes(data)
        yield file


def new_file(folder: Path, path: str) -> Path:
    """The file of a new photo.

    Raises:
      InputError: the path is not that of an image below the folder.
    """
    parts = PurePosixPath(path).parts
    inside = parts and not path.startswith("/") and not any(part in ("", "..") or part[0] == "." for part in parts)
    target = folder / path
    if not inside or "\\" in path or "\0" in path or not is_image_name(path):
        raise InputError(f"Expected the path of an image below the folder, such as 'album/1.jpg'. Received: {path!r}")
    if not target.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path!r} leads out of the folder by a link.")
    return target


@contextmanager
def in_one_sentence(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within it an error of the file system becomes an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or path!s}: {error.strerror or first_line(error)}.") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path!s}: {first_line(error)}.") from error


def _same_file(file: Path, photo: Photo) -> bool:
    """Whether a file certainly holds the recorded bytes."""
    settled = photo.read_ns - max(photo.mtime_ns, photo.ctime_ns) > FRESH
    return settled and is_as_recorded(file, photo)


def _renamed(new: Mapping[str, Photo], gone: Mapping[str, Photo]) -> dict[str, str]:
    """New path -> old path of files with the same bytes, each old path once."""
    by_content: dict[str, list[str]] = {}
    for path in sorted(gone, reverse=True):
        by_content.setdefault(gone[path].sha256, []).append(path)
    pairs = {}
    for path, photo in new.items():
        if photo.sha256 and by_content.get(photo.sha256):
            pairs[path] = by_content[photo.sha256].pop()
    return pairs

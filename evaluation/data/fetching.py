"""Fetches the files of a catalogue name into a folder: downloads, checks hashes, unpacks, converts."""

import gzip
import hashlib
import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Self

from delg.common.errors import InputError, first_line
from delg.common.files import atomic_path, check_writable, read_json, sha256, write_json, write_text
from delg.common.image_files import is_image_name
from evaluation.benchmarks import groundtruth
from evaluation.data.catalogue import File
from evaluation.data.check import SUMS, read_sums
from evaluation.data.download import download

Converter = Callable[[Path, Path], Iterable[str]]  # converts a file or folder into the output folder; yields lines
MD5 = re.compile(r"([0-9a-f]{32})(?![0-9a-f])")
UNPACKED = ".unpacked-{}"  # marks an archive as completely unpacked
NO_ARCHIVE = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, OverflowError)
CHUNK = 1 << 20


def fetch(
    files: tuple[File, ...],
    output_dir: str,
    *,
    mirror: str | None = None,
    offline: bool = False,
    converters: Mapping[str, Converter] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Downloads files, unpacks and converts them; existing files with the right hash are not downloaded again.

    Args:
      files: the files.
      output_dir: output folder; its ``SHA256SUMS`` records the hashes, published or of the first download.
      mirror: an address with the files below it by name; tried first.
      offline: whether only existing files are used.
      converters: functions that convert a file or unpacked folder, by the names of
        :data:`evaluation.data.catalogue.CONVERT`; None converts nothing.
      say: called with each line for the user.

    Raises:
      InputError: a file cannot be downloaded, has another hash, or is no archive; complete files stay.
    """
    folder = check_writable(output_dir)
    for file in files:
        path = folder / file.name
        _download(file, folder, mirror=mirror, offline=offline, say=say)
        place = unpack(path, path.parent, file.unpack, say) if file.unpack else path
        if file.convert and converters:
            for line in converters[file.convert](place, folder):
                say(line)


def _download(file: File, folder: Path, *, mirror: str | None, offline: bool, say: Callable[[str], None]) -> None:
    """Downloads a file unless it exists with its hash, and records the hash."""
    path, sums = folder / file.name, read_sums(folder)
    expected = file.sha256 or sums.get(file.name)
    if path.is_file() and expected is not None and sha256(path) == expected:
        say(f"{path}: there already, its hash is right.")
        return
    if offline:
        state = "is not of its hash" if expected else f"has no hash in {SUMS} (sha256sum writes such lines)"
        raise InputError(f"{path} {state if path.is_file() else 'is not there'}, and --offline asks no server.")
    published = None if expected else _published_md5(file, folder, mirror)
    actual = download(_addresses(file.name, file.urls, mirror), path, expected, proved=bool(published))
    trust = "as expected" if expected else f"no hash is published; {SUMS} keeps this one, copy it to pin it"
    if published:
        trust = f"its MD5 is the published one; {SUMS} keeps this hash"
        if (received := _md5(path)) != published:
            path.unlink()
            raise InputError(f"{path.name} came with the MD5 {received}, published is {published}; it was removed.")
    lines = sums | {file.name: actual}
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(lines.items())))
    say(f"{path}: SHA-256 {actual} ({trust}).")
    (path.parent / UNPACKED.format(path.name)).unlink(missing_ok=True)


def _addresses(name: str, urls: tuple[str, ...], mirror: str | None) -> tuple[str, ...]:
    return (*([f"{mirror.rstrip('/')}/{name}"] if mirror else []), *urls)


def _published_md5(file: File, folder: Path, mirror: str | None) -> str | None:
    """The MD5 that a file's owner publishes in a separate file; None where there is none."""
    if not file.md5_urls:
        return None
    name = str(PurePosixPath(file.name).with_name(PurePosixPath(file.md5_urls[0]).name))
    download(_addresses(name, file.md5_urls, mirror), folder / name, proved=True)  # MD5 tells a cut
    match = MD5.match((folder / name).read_text(encoding="utf-8", errors="replace"))
    (folder / name).unlink()
    if match is None:
        raise InputError(f"{file.md5_urls[0]} gives no MD5, as md5sum writes it.")
    return match[1]


def _md5(path: Path) -> str:
    """A file's MD5, which detects transmission errors, not forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def unpack(path: Path, folder: Path, rule: str, say: Callable[[str], None]) -> Path:
    """Unpacks an archive; refuses damaged archives, and paths that lead out of the folder.

    Args:
      path: the archive, ``.tar`` with any compression.
      folder: folder of the content.
      rule: ``"jpg"`` or ``"tree"``, see :class:`evaluation.data.catalogue.File`.
      say: called with the line for the user.

    Returns:
      The archive's single top folder, or ``folder`` for an archive without a single top folder.

    Raises:
      InputError: the archive is damaged, or a path leads out of the folder.
    """
    done = folder / UNPACKED.format(path.name)
    if done.is_file():
        return _content(folder, read_json(done))
    count, tops = 0, set()
    try:
        with tarfile.open(path, tarinfo=_Member) as archive:
            for member in archive:
                if rule == "tree":
                    archive.extract(member, folder, filter="data")
                    count += member.isfile()
                    tops |= {PurePosixPath(member.name).parts[:1]}
                elif member.isfile() and is_image_name(PurePosixPath(member.name).name):
                    source = archive.extractfile(member)
                    target = folder / "jpg" / PurePosixPath(member.name).name
                    if source is not None:
                        with atomic_path(target) as place, place.open("wb") as file:
                            shutil.copyfileobj(source, file)
                        count += 1
            _read_on(archive)
    except NO_ARCHIVE as error:
        disk = isinstance(error, OSError) and error.errno is not None
        advice = "" if disk else f"; to bring it again, remove it and its line of {SUMS}"
        raise InputError(f"{path} cannot be unpacked: {first_line(error).rstrip('.:')}{advice}.") from error
    top_folders = sorted(top[0] for top in tops if top)
    write_json(done, {"files": count, "tops": top_folders})
    say(f"{path}: {count} files unpacked.")
    return _content(folder, {"tops": top_folders})


class _Member(tarfile.TarInfo):
    """A member of an archive; an invalid header is damage, and not the end of the archive as by default."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):
                raise tarfile.ReadError(first_line(error)) from error
            raise


def _read_on(archive: tarfile.TarFile) -> None:
    """Reads to the end of a compressed archive, which checks its checksum; bytes after the end are ignored."""
    try:
        while archive.fileobj and archive.fileobj.read(CHUNK):
            pass
    except gzip.BadGzipFile as error:
        if not first_line(error).startswith("Not a gzipped file"):
            raise


def _content(folder: Path, record: Any) -> Path:
    """The single top folder of an archive's content, or ``folder``."""
    tops = record.get("tops", []) if isinstance(record, dict) else []
    return folder / tops[0] if len(tops) == 1 else folder


def convert_ground_truth(path: Path, folder: Path) -> Iterator[str]:
    """Reads and checks a ground truth without running code of the file, and writes the ground truth as JSON.

    Raises:
      InputError: the file is not of the revisited form.
    """
    truth, target = groundtruth.load(path), folder / f"{path.stem}.json"
    write_json(target, groundtruth.to_json(truth))
    yield f"{target}: {len(truth.queries)} queries, {len(truth.database)} database images."

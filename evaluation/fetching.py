"""Brings what a name of the catalogue stands for into a folder: downloads, hashes, unpacks."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from evaluation.catalogue import File
from evaluation.check import SUMS, read_sums
from evaluation.download import download
from extraction.images import SUFFIXES
from protos.errors import InputError, first_line
from protos.files import atomic_path, check_writable, sha256, write_text

UNPACKED = ".unpacked-{}"  # says that an archive's content is all there


def fetch(
    files: tuple[File, ...],
    output_dir: str,
    *,
    mirror: str | None = None,
    offline: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Brings some files; those that are there with the right hash are not brought again.

    Args:
      files: which.
      output_dir: where they go; ``SHA256SUMS`` in it keeps the hashes, known or of the first download.
      mirror: an address below which the files lie by their names, tried first.
      offline: use what is there, and ask no server.
      say: is given the lines for the user.

    Raises:
      InputError: a file cannot be had, is not of its hash, or is no archive; what came whole stays.
    """
    folder = check_writable(output_dir)
    for file in files:
        path = folder / file.name
        sums = read_sums(folder)
        expected = file.sha256 or sums.get(file.name)
        if path.is_file() and expected is not None and sha256(path) == expected:
            say(f"{path}: there already, its hash is right.")
        else:
            if offline:
                state = "is not of its hash" if path.is_file() and expected else "is not there whole"
                raise InputError(f"{path} {state}, and --offline asks no server.")
            urls = (*([f"{mirror.rstrip('/')}/{file.name}"] if mirror else []), *file.urls)
            found = download(urls, path, expected)
            lines = sums | {file.name: found}
            write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(lines.items())))
            trust = "as expected" if expected else "no hash of it is published, this one is kept from now on"
            say(f"{path}: SHA-256 {found} ({trust}).")
            (folder / UNPACKED.format(file.name)).unlink(missing_ok=True)
        if file.unpack:
            unpack(path, folder, file.unpack, say)


def unpack(path: Path, folder: Path, rule: str, say: Callable[[str], None]) -> None:
    """Unpacks an archive; a file in it that leads out of the folder is refused.

    Args:
      path: the archive, ``.tar`` with any compression.
      folder: where its content goes.
      rule: ``"jpg"`` or ``"tree"``, see :class:`evaluation.catalogue.File`.
      say: is given the line for the user.

    Raises:
      InputError: it is damaged, or holds such a file.
    """
    done = folder / UNPACKED.format(path.name)
    if done.is_file():
        return
    count = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if rule == "tree":
                    archive.extract(member, folder, filter="data")
                    count += member.isfile()
                elif member.isfile() and member.name.lower().endswith(SUFFIXES):
                    source = archive.extractfile(member)
                    target = folder / "jpg" / PurePosixPath(member.name).name
                    if source is not None:
                        with atomic_path(target) as place, place.open("wb") as file:
                            shutil.copyfileobj(source, file)
                        count += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be unpacked: {first_line(error)}.") from error
    write_text(done, f"{count}\n")
    say(f"{path}: {count} files unpacked.")

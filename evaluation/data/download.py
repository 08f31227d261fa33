"""Downloads that survive dropped connections: received bytes stay, the rest is requested, the whole file is hashed.

``.NAME.part`` holds the bytes so far, ``.NAME.part.json`` the address and version of the server's file. The download
starts again where a server cannot resume or has changed the file. A response of unknown length is accepted only if the
file's hash is known and agrees.
"""

import contextlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from delg.common.errors import InputError, first_line
from delg.common.files import read_json, sha256, write_json
from delg.common.progress import progress_bar

ATTEMPTS = 6  # attempts in a row without new bytes, for each address
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 18
SCHEMES = ("http://", "https://")
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
CUT = "the connection ends too early"
ENDLESS = "the server does not say how long the file is, and no hash in SHA256SUMS tells a cut from its end"


def download(
    urls: Sequence[str],
    path: Path,
    digest: str | None = None,
    *,
    proved: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Downloads a file from the first address that delivers the whole file.

    Args:
      urls: addresses, mirrors after the first.
      path: path of the file, which appears when it is whole and its hash is right.
      digest: the expected SHA-256; None for any.
      proved: whether the caller checks by other means that the file is whole.
      pause: waits for a number of seconds between attempts.

    Returns:
      The file's SHA-256.

    Raises:
      InputError: no address delivers the file, or the hash differs; bytes that a later call can continue stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in urls:
        if not url.startswith(SCHEMES):
            raise InputError(f"Expected an address that starts with http:// or https://. Received: {url}")
        try:
            _request_until_whole(url, path, proved or digest is not None, pause)
        except _FailedError as error:
            reasons.append(f"{url}: {error}")
            continue
        part = _part(path)
        actual = sha256(part)
        _note(path).unlink(missing_ok=True)
        if digest in (None, actual):
            part.replace(path)
            return actual
        part.unlink()
        reasons.append(f"{url}: its SHA-256 is {actual}, expected is {digest}")
    raise InputError(f"{path.name} cannot be had. {'; '.join(reasons)}.")


class _FailedError(Exception):
    """An address does not deliver its file."""


class _ChangedError(OSError):
    """A server has another version of the file than the part is of."""


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.part.json")


def _request_until_whole(url: str, path: Path, proved: bool, pause: Callable[[float], None]) -> None:
    """Requests bytes until the part is whole; gives up after :data:`ATTEMPTS` attempts in a row without new bytes.

    Bytes are new where the part is larger than ever: a server that cannot resume sends the first bytes again.
    """
    fruitless, largest, reason = 0, _size(path), ""
    while fruitless < ATTEMPTS:
        try:
            if _attempt(url, path, proved):
                return
            reason = CUT
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                if _is_all(error.headers, url, path):
                    return
                _part(path).unlink(missing_ok=True)
                largest = 0
            elif error.code < 500 and error.code != http.client.TOO_MANY_REQUESTS:
                break
        except (ValueError, http.client.InvalidURL) as error:
            reason = f"no address ({first_line(error)})"
            break
        except _ChangedError as error:
            largest, reason = 0, first_line(error)
        except (OSError, http.client.HTTPException) as error:
            reason = CUT if isinstance(error, http.client.IncompleteRead) else first_line(error)
        size = _size(path)
        fruitless = 0 if size > largest else fruitless + 1
        largest = max(size, largest)
        if fruitless:
            pause(min(2.0 ** (fruitless - 1), 30.0))
    raise _FailedError(reason)


def _size(path: Path) -> int:
    return _part(path).stat().st_size if _part(path).is_file() else 0


def _is_all(headers: Any, url: str, path: Path) -> bool:
    """Whether the bytes so far are the server's whole file: an earlier run was killed while hashing."""
    note, size = _recorded_note(url, path), _size(path)
    same = bool(note) and _tag(headers) in (None, note["tag"])
    return same and size > 0 and headers.get("Content-Range") == f"bytes */{size}"


def _attempt(url: str, path: Path, proved: bool) -> bool:
    """Requests the missing bytes once; True when the file is whole."""
    note = _recorded_note(url, path)
    start = _size(path) if note else 0
    headers = {"User-Agent": "delg-fetch"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": note["tag"]}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        resumed = answer.status == http.client.PARTIAL_CONTENT
        total = _total(answer, start if resumed else 0)
        if total is None and not answer.chunked and not proved:
            raise _FailedError(ENDLESS)
        tag = _tag(answer.headers)
        if resumed and tag not in (None, note["tag"]):  # a partial response may lack the date (RFC 9110, 15.3.7)
            _part(path).unlink(missing_ok=True)
            raise _ChangedError("the file changed on the server")
        if not resumed:
            _part(path).unlink(missing_ok=True)  # before the note, which must not describe other bytes
            write_json(_note(path), {"url": url, "tag": tag})
        with _part(path).open("ab" if resumed else "wb") as file:
            _copy(answer, file, start if resumed else 0, total, path.name)
    size = _size(path)
    if total is not None and size > total:
        raise OSError("more bytes came than were announced")
    return total is None or size == total


def _total(answer: Any, start: int) -> int | None:
    """Bytes of the whole file according to the response; None where unknown."""
    match = RANGE.match(answer.headers.get("Content-Range", ""))
    if answer.status == http.client.PARTIAL_CONTENT:
        if match is None or int(match[1]) != start:
            raise OSError("the server sends another part than was asked for")
        if match[2] != "*":
            return int(match[2])
    return None if answer.length is None else int(answer.length) + start


def _recorded_note(url: str, path: Path) -> dict[str, Any]:
    """The note on the bytes so far; empty where this address cannot continue them."""
    with contextlib.suppress(InputError):
        note = read_json(_note(path))
        if isinstance(note, dict) and note.get("url") == url and note.get("tag"):
            return note
    return {}


def _tag(headers: Any) -> str | None:
    """The version of the server's file: a strong ETag, else the date."""
    tag = headers.get("ETag")
    return str(tag) if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _copy(answer: Any, file: BinaryIO, start: int, total: int | None, name: str) -> None:
    """Writes the response while it arrives; bytes before a dropped connection stay in the file."""
    with progress_bar(total=total, initial=start, unit="B", unit_scale=True, desc=name) as bar:
        while chunk := answer.read1(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))

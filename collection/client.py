"""A collection that a service holds, see :mod:`collection.serve`: the same questions, the same answers."""

import http.client
import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from collection.images import Image, bytes_of
from collection.results import Changes, Match, Result, Results
from delg.common.errors import InputError

PAGE = 1000  # paths of an answer
AT_ONCE = 4  # requests of search_many


class Client:
    """The collection of a service. Threads may share it; each question has its own connection.

    Example:
        >>> collection = delg.Client("http://127.0.0.1:8000")
        >>> print(collection.search("query.jpg", k=3))

    Attributes:
      url: of the service.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 120.0):
        """Connects with the first question.

        Args:
          url: of the service, as ``http://127.0.0.1:8000``.
          token: of the service; None for that of the variable ``DELG_TOKEN``, if it is set.
          timeout: seconds that an answer may take.

        Raises:
          InputError: the URL is none of a service.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"Expected the URL of a service, such as http://127.0.0.1:8000. Received: {url!r}")
        self.url = url.rstrip("/")
        self._parts, self._timeout = parts, timeout
        self._token = os.environ.get("DELG_TOKEN") if token is None else token

    def __repr__(self) -> str:
        """The URL."""
        return f"<Client of {self.url}>"

    def __len__(self) -> int:
        """Number of photos that are searched."""
        return int(self._ask("GET", "/images?limit=1")["total"])

    @property
    def paths(self) -> list[str]:
        """Paths of the photos that are searched, sorted."""
        paths: list[str] = []
        while True:
            page = self._ask("GET", f"/images?{urlencode({'offset': len(paths), 'limit': PAGE})}")
            paths += page["images"]
            if not page["images"] or len(paths) >= page["total"]:
                return paths

    @property
    def failed(self) -> dict[str, str]:
        """Reason by path of files that cannot be described, at most a hundred."""
        return dict(self._ask("GET", "/status")["failed"])

    def search(
        self,
        image: Image,
        k: int = 10,
        *,
        crop: Sequence[float] | None = None,
        rerank: str | None = "auto",
        verify: int | None = None,
        false_match_rate: float | None = None,
    ) -> Results:
        """The photos that show what a query shows, see :meth:`collection.collection.Collection.search`.

        Args:
          image: the query.
          k: number of photos in the answer.
          crop: ``(x1, y1, x2, y2)`` in pixels of the query; None for the whole.
          rerank: ``auto``, or None for global descriptors alone.
          verify: number of candidates of ``auto``; None for the usual one.
          false_match_rate: share of the queries that show nothing of the collection which ``auto`` may answer ``same``;
            None for the usual one.

        Returns:
          The answer; each ``file`` is the path in the collection, as the file lies elsewhere.

        Raises:
          InputError: the service refuses the question, or cannot be reached.
        """
        values = {
            "k": k,
            "crop": _crop(crop),
            "rerank": rerank or "none",
            "verify": verify,
            "false_match_rate": false_match_rate,
        }
        answer = self._ask("POST", "/search", self._form(image, values))
        results = tuple(_made(Result, one | {"file": Path(one["path"])}) for one in answer["results"])
        return _made(Results, answer | {"results": results})

    def search_many(self, images: Iterable[Image], k: int = 10, **options: Any) -> Iterator[Results]:
        """Answers of :meth:`search` for several queries, in their order, asked ahead in threads."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(lambda image: self.search(image, k, **options), images)

    def match(self, first: Image, second: str, *, crop: Sequence[float] | None = None) -> Match:
        """Compares a photo with one of the collection.

        Args:
          first: a photo.
          second: the path of a photo of the collection.
          crop: ``(x1, y1, x2, y2)`` in pixels of the first photo; None for the whole.

        Raises:
          InputError: the service refuses the question, or cannot be reached.
        """
        answer = self._ask("POST", "/match", self._form(first, {"photo": second, "crop": _crop(crop)}))
        return _made(Match, answer | {"pairs": np.array(answer["pairs"], np.float32).reshape(-1, 4)})

    def overlay(self, first: Image, second: str, *, crop: Sequence[float] | None = None) -> bytes:
        """The same comparison as a JPEG of both photos with a line for each inlier."""
        return self._bytes("POST", "/overlay", self._form(first, {"photo": second, "crop": _crop(crop)}))

    def photo(self, path: str, height: int | None = None) -> bytes:
        """A photo of the collection as the bytes of an image file, or as a JPEG of at most some height."""
        return self._bytes("GET", f"/images/{quote(path)}" + ("" if height is None else f"?height={height}"))

    def sync(self) -> Changes:
        """Brings the collection in step with its folder, and waits for the end.

        Raises:
          InputError: the folder cannot be used, or the service cannot be reached.
        """
        run = self._ask("POST", "/sync")
        while run["state"] == "running":
            run = self._ask("GET", f"/sync/{run['run']}")
        if run["state"] == "failed":
            raise InputError(run["reason"])
        return _made(Changes, run["changes"])

    def add(self, image: Image, path: str | None = None) -> str:
        """Adds one photo to the folder of the service.

        Args:
          image: the photo.
          path: of the photo below the folder; None for the name of the file.

        Returns:
          The path.

        Raises:
          InputError: the service refuses the photo or the path, or cannot be reached.
        """
        if path is None:
            if not isinstance(image, str | os.PathLike):
                raise InputError("A photo that is not a file needs a path in the collection.")
            path = Path(image).name
        if isinstance(image, str | os.PathLike):
            image = bytes_of(image)
        return str(self._ask("POST", "/images", self._form(image, {"path": path}))["path"])

    def remove(self, path: str, *, delete: bool = False) -> None:
        """Takes a photo out of the collection.

        Args:
          path: of the photo.
          delete: delete its file, too.

        Raises:
          InputError: there is no such photo, or the service cannot be reached.
        """
        self._ask("DELETE", f"/images/{quote(path)}?delete={str(delete).lower()}")

    def _form(self, image: Image, values: Mapping[str, Any]) -> tuple[bytes, str]:
        """A form of an image and values as ``multipart/form-data``, and its type."""
        fields_ = {name: str(value) for name, value in values.items() if value is not None}
        mark = secrets.token_hex(16)
        parts = []
        if isinstance(image, str | os.PathLike) and not Path(image).exists():
            fields_["name"] = os.fspath(image)
        else:
            name = Path(image).name if isinstance(image, str | os.PathLike) else "query"
            head = f'form-data; name="image"; filename="{quote(name, safe=" ()+,;=@[]{}~!$&")}"'
            parts.append(f"{head}\r\nContent-Type: application/octet-stream\r\n\r\n".encode() + bytes_of(image))
        parts += [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields_.items()]
        start = f"--{mark}\r\nContent-Disposition: ".encode()
        body = b"".join(start + part + b"\r\n" for part in parts) + f"--{mark}--\r\n".encode()
        return body, f"multipart/form-data; boundary={mark}"

    def _ask(self, method: str, target: str, form: tuple[bytes, str] | None = None) -> Any:
        """The JSON of an answer."""
        return json.loads(self._bytes(method, target, form))

    def _bytes(self, method: str, target: str, form: tuple[bytes, str] | None = None) -> bytes:
        """The body of an answer.

        Raises:
          InputError: the service refuses, with its sentence, or cannot be reached.
        """
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        body = None
        if form is not None:
            body, headers["Content-Type"] = form
        try:
            connection.request(method, self._parts.path.rstrip("/") + target, body, headers)
            answer = connection.getresponse()
            data, status = answer.read(), answer.status
        except (ConnectionResetError, BrokenPipeError) as error:
            raise InputError(f"{self.url} closed the connection; is the photo larger than it takes?") from error
        except (OSError, http.client.HTTPException, socket.gaierror) as error:
            raise InputError(f"{self.url} cannot be reached: {error}.") from error
        finally:
            connection.close()
        if 200 <= status < 300:
            return data
        raise InputError(_sentence(data) or f"{self.url} answers {status}; expected a service of delg serve.")


def _sentence(data: bytes) -> str:
    """The sentence of a refusal; empty where it is of something else than the service."""
    try:
        document = json.loads(data)
    except ValueError:
        return ""
    return str(document["detail"]) if isinstance(document, dict) and "detail" in document else ""


def _crop(crop: Sequence[float] | None) -> str | None:
    return None if crop is None else ",".join(f"{float(side):.9g}" for side in crop)


def _made(kind: Any, values: Mapping[str, Any]) -> Any:
    """A value of JSON as the same class as here; what a newer service adds is left out."""
    names = {one.name for one in fields(kind)}
    known = {name: value for name, value in values.items() if name in names}
    if known.get("transform") is not None:
        known["transform"] = np.array(known["transform"], np.float64)
    return kind(**known)

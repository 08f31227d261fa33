"""Limits of a request: how many at a time, how large, how long."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

CLOSE = (b"connection", b"close")
RETRY = {"Retry-After": "2"}
LINGER = 2.0  # seconds in which the rest of a refused body is read and thrown away, so that the client sees the answer
FREE = frozenset({"/health"})  # answered however many requests there are


@dataclass(frozen=True)
class Limits:
    """What the service takes.

    Attributes:
      body: bytes of a request.
      pixels: of a photo that is taken, shown or drawn.
      requests: at a time, from all clients.
      of_client: requests at a time from one address.
      seconds: from the head of a request to the end of its answer.
      upload_seconds: from the head of a request to the end of its body.
    """

    body: int = 32_000_000
    pixels: int = 100_000_000
    requests: int = 64
    of_client: int = 32
    seconds: float = 60.0
    upload_seconds: float = 30.0


def refusal(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a request that is refused."""
    return JSONResponse({"detail": sentence}, status, headers)


async def refuse(answer: JSONResponse, receive: Receive, send: Send) -> None:
    """Sends a refusal at once, and closes the connection when the client has seen it."""
    headers = [*answer.raw_headers, CLOSE]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    await _drain(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    """Reads what the client still sends for a moment: it may look at the answer only then."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass


class Limited:
    """Refuses requests beyond the limits; an error that nobody expects becomes an answer, too."""

    def __init__(self, app: App, limits: Limits):
        self._app, self._limits = app, limits
        self._clients: Counter[str] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] in FREE:
            await self._app(scope, receive, send)
            return
        client = (scope.get("client") or ("",))[0]
        if self._clients.total() >= self._limits.requests:
            await refuse(refusal(503, "The service is busy; try again in a moment.", RETRY), receive, send)
        elif self._clients[client] >= self._limits.of_client:
            sentence = f"More than {self._limits.of_client} requests at a time from one address; send fewer."
            await refuse(refusal(429, sentence, RETRY), receive, send)
        else:
            self._clients[client] += 1
            try:
                await self._answered(scope, receive, send)
            finally:
                self._clients[client] -= 1
                if not self._clients[client]:
                    del self._clients[client]

    async def _answered(self, scope: Message, receive: Receive, send: Send) -> None:
        body = _Body(scope, receive, self._limits)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            if not body.open:
                await send(message)
            elif message["type"] == "http.response.start":
                await send({**message, "headers": [*message["headers"], CLOSE]})
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                await _drain(receive)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await send(message)

        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, body, watched)
            return
        except TimeoutError:
            answer = refusal(503, f"The request took more than {self._limits.seconds:g} seconds.", RETRY)
        except Exception:
            logging.getLogger(__name__).exception("%s %s failed", scope["method"], scope["path"])
            answer = refusal(500, "The service made a mistake, which its log describes.")
        if started:
            raise ConnectionError("The answer could not be sent to its end.")
        await refuse(answer, receive, send)


class _Body:
    """The receiving end of a request, which refuses a body that is too large or too slow.

    Attributes:
      open: whether the client has more to send.
    """

    def __init__(self, scope: Message, receive: Receive, limits: Limits):
        self._receive, self._limits, self._taken = receive, limits, 0
        self._deadline = asyncio.get_running_loop().time() + limits.upload_seconds
        headers = Headers(scope=scope)  # type: ignore[arg-type]
        length = headers.get("content-length", "0")
        self.open = length != "0" or "transfer-encoding" in headers
        self._stated = int(length) if length.isdecimal() else 0

    async def __call__(self) -> Message:
        """The next part."""
        if not self.open:
            return await self._receive()
        self._check(self._stated)
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            sentence = f"The request did not arrive within {self._limits.upload_seconds:g} seconds."
            raise HTTPException(408, sentence) from None
        self._taken += len(message.get("body", b""))
        self._check(self._taken)
        self.open = bool(message.get("more_body"))
        return message

    def _check(self, number: int) -> None:
        if number > self._limits.body:
            raise HTTPException(413, f"The request is larger than {self._limits.body / 1e6:g} MB.")

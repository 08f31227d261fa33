"""The HTTP server: uvicorn, with times for clients that send or read too slowly, and a number of connections."""

import asyncio
import json
import os
import secrets
import socket
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from collection.collection import Collection
from collection.options import ServeOptions
from collection.serve.app import create_app
from collection.serve.limits import Limits
from collection.serve.security import Access, is_loopback
from delg.common.errors import InputError

HEAD_SECONDS, READ_SECONDS, KEEP_SECONDS = 10.0, 30.0, 15
CONNECTIONS = 256  # at a time; more are answered with 503
SHORTEST = 16  # characters of a token


class Protocol(H11Protocol):
    """A connection that is closed when the client takes too long for the head of a request or to read an answer."""

    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for the head of a request."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            body = json.dumps({"detail": "The service has too many connections; try again in a moment."}).encode()
            head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 2\r\n"
            transport.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            transport.close()
            return
        self._timer = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Takes what the client sends."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop(self._timer)
            self._timer = None
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Begins to wait for the client to read."""
        super().pause_writing()
        self._reading = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Goes on."""
        self._stop(self._reading)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends."""
        self._stop(self._timer)
        self._stop(self._reading)
        super().connection_lost(exc)

    def _stop(self, timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def access_of(options: ServeOptions) -> Access:
    """Who may ask.

    Raises:
      InputError: other machines could ask, and there is no token, or the token is too short.
    """
    token, names = options.token or os.environ.get("DELG_TOKEN") or None, options.names or ()
    if token is None and (names or not is_loopback(options.host)):
        raise InputError(
            "A service that other machines can reach needs a token, which clients send: "
            f"--token={secrets.token_urlsafe(24)} or the variable DELG_TOKEN."
        )
    if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token):
        raise InputError(f"The token expects {SHORTEST} or more letters, digits or signs.")
    return Access(options.host, token, names)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address, at a free port for 0.

    Raises:
      InputError: the address cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except OSError as error:
        raise InputError(
            f"The address {host}:{port} cannot be used: {error.strerror or error}; --host and --port choose another."
        ) from error


def make_server(app: FastAPI) -> uvicorn.Server:
    """The server of an application, which ``run(sockets=[...])`` starts."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_SECONDS,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


def serve(collection: Collection, options: ServeOptions) -> None:
    """Answers until the process is stopped.

    Raises:
      InputError: see :func:`access_of` and :func:`listen`.
    """
    access, host = access_of(options), options.host
    limits = Limits(
        body=options.max_megabytes * 1_000_000,
        pixels=options.max_megapixels * 1_000_000,
        requests=options.queue,
        of_client=options.queue // 2,
        seconds=options.seconds,
        upload_seconds=options.seconds / 2,
    )
    listener = listen(host, options.port)
    app = create_app(collection, access=access, limits=limits, sync_every=options.sync_every)
    print(f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/", flush=True)
    with suppress(KeyboardInterrupt):
        make_server(app).run(sockets=[listener])

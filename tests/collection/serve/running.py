"""A service on a port of this machine, and a client that sends what it is asked to, also what a browser would not."""

import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from collection.serve.app import create_app
from collection.serve.limits import Limits
from collection.serve.server import listen, make_server

TOKEN = "correct-horse-battery"
LIMITS = Limits(body=200_000, pixels=100_000, requests=16, of_client=8, seconds=120, upload_seconds=2)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def sentence(self) -> str:
        """Of a refusal, which is JSON with nothing else."""
        (text,) = self.json().values()
        assert self.headers["content-type"] == "application/json"
        assert text and "\n" not in text and "/tmp" not in text
        return text


class Service:
    def __init__(self, collection, port):
        self.collection, self.port = collection, port
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, method, target, body=None, headers=()) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            given = dict(headers)
            connection.putrequest(method, target, skip_host="Host" in given)
            if body is not None:
                given.setdefault("Content-Length", str(len(body)))
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            answer = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answer, response.read())
        finally:
            connection.close()

    def post(self, target, image=None, filename="query.png", headers=(), field="image", **values) -> Answer:
        """A form as ``multipart/form-data``; the file's name is sent as it is."""
        parts = [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in values.items()]
        if image is not None:
            head = f'form-data; name="{field}"; filename="{filename}"\r\nContent-Type: image/png\r\n\r\n'
            parts.append(head.encode() + image)
        body = b"".join(b"--limit\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + b"--limit--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=limit"}
        return self.ask("POST", target, body, kind | dict(headers))


@contextmanager
def running(collection, **settings):
    """Runs the service in a thread of this process, by the server of the command."""
    listener = listen("127.0.0.1", 0)
    server = make_server(create_app(collection, **({"limits": LIMITS} | settings)))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    service = Service(collection, listener.getsockname()[1])
    try:
        token = settings["access"].token if "access" in settings else None
        assert service.ask("GET", "/sync/1", headers={"Authorization": f"Bearer {token}"}).json()["state"] == "done"
        yield service
    finally:
        server.should_exit = True
        thread.join()
        collection.close()

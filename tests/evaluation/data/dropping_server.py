"""A local HTTP server that drops connections, as the tests of downloads need it."""

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


class Server(ThreadingHTTPServer):
    """Serves bytes by path; drops every connection after a random number of bytes while ``drops`` is set."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.drops, self.ranges, self.version = {}, [], True, True, "1"
        self.dated = True  # says of the rest of a file, too, which one it is of
        self.careful = True  # gives the rest of a file only where it is still the one that was begun
        self.framing = "length"  # or "chunked", or "close": the end of the connection is that of the file
        self.random = np.random.default_rng(0)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, name, wanted = self.server, self.path[1:], self.headers.get("Range")
        server.asked.append((name, wanted))
        if name not in server.files:
            self.send_error(404, "Not Found")
            return
        data, tag = server.files[name], f'"{server.version}"'
        resume = wanted and server.ranges and (self.headers.get("If-Range") == tag or not server.careful)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if resume else 0
        if resume and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if resume else 200)
        if resume:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if server.dated or not resume:
            self.send_header("ETag", tag)
        framing = {"length": ("Content-Length", str(len(data) - start)), "chunked": ("Transfer-Encoding", "chunked")}
        if server.framing in framing:
            self.send_header(*framing[server.framing])
        self.end_headers()
        left = data[start:]
        if server.framing == "chunked":
            pieces = [left[i : i + 1000] for i in range(0, len(left), 1000)]
            left = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        if server.drops:
            left = left[: int(server.random.integers(1, 60_000))]
        self.wfile.write(left)

    def log_message(self, *given):
        pass

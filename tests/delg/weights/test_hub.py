"""Weights on the Hugging Face Hub, of which a local server stands for the part that is asked."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.importers.job import imported
from extraction.extractors.table import build_extractor

TINY = Path(__file__).parents[2] / "golden" / "data2" / "safetensors"
COMMIT = "1234567890123456789012345678901234567890"
FILES = {"config.json": b"{}", "model.safetensors": b"\x02\0\0\0\0\0\0\0{}", "run.py": b"raise SystemExit"}
SCRIPT = """
import json, os, sys
import delg.weights
from delg.common.errors import InputError
from delg.weights import UnavailableError, hub
for source, offline in json.loads(sys.argv[1]):
    try:
        folder = delg.weights.path(source, offline=offline)
        print(folder.name, *sorted(os.listdir(folder)), hub.digest(source, folder))
    except InputError as error:
        print(type(error).__name__, error)
"""


class Hub(BaseHTTPRequestHandler):
    """The API for the list of files of a revision, and the files."""

    protocol_version = "HTTP/1.1"

    def do_GET(self, with_body: bool = True):
        path = self.path.partition("?")[0]
        if path in (f"/api/models/org/name/revision/{revision}" for revision in ("main", "v1", COMMIT)):
            body = json.dumps({"id": "org/name", "sha": COMMIT, "siblings": [{"rfilename": n} for n in FILES]}).encode()
        elif path == f"/api/models/org/name/tree/{COMMIT}":
            listed = [(name, len(data), hashlib.sha1(data).hexdigest()) for name, data in FILES.items()]
            body = json.dumps(
                [{"type": "file", "path": n, "size": size, "oid": oid} for n, size, oid in listed]
            ).encode()
        elif path.startswith(f"/org/name/resolve/{COMMIT}/") and (name := path.rpartition("/")[2]) in FILES:
            body = FILES[name]
            self.server.fetched.add(name)
        else:
            gated = path.startswith("/api/models/org/gated/")
            self.send_response(403 if gated else 404)
            self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET(with_body=False)

    def log_message(self, *given):
        pass


def asked(tmp_path, endpoint: str, *sources: tuple[str, bool]) -> list[str]:
    """What the script prints of some sources, with the cache in a folder."""
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(sources)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not find_spec("huggingface_hub"), reason="the extra hub is not installed")
def test_a_snapshot_is_fetched_and_kept(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.fetched = set()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    endpoint, source = f"http://127.0.0.1:{server.server_port}", "hf://org/name"
    lines = asked(
        tmp_path, endpoint, (source, True), (source, False), (f"{source}@v1", False), (source, True),
        ("hf://org/gated", False), ("hf://org/missing", False),
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    assert len(lines) == 6 and server.fetched == {"config.json", "model.safetensors"}, "one sentence each"
    assert lines[0].startswith("UnavailableError hf://org/name ")
    assert lines[1].startswith(f"{COMMIT} config.json model.safetensors hf://org/name@{COMMIT}:")
    assert lines[1] == lines[2] == lines[3]
    assert lines[4].startswith("UnavailableError hf://org/gated ") and "HF_TOKEN" in lines[4]
    assert lines[5].startswith("UnavailableError hf://org/missing ")
    (line,) = asked(tmp_path / "other", "http://127.0.0.1:9", (source, False))  # nobody answers
    assert line.startswith("UnavailableError hf://org/name ")


@pytest.mark.skipif(not find_spec("huggingface_hub"), reason="the extra hub is not installed")
def test_a_repository_in_the_cache_is_a_model(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("DELG_OFFLINE", "1")
    folder = tmp_path / "models--org--tiny" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(COMMIT)
    shutil.copy(TINY / "dinov2.safetensors", folder / "model.safetensors")
    config = json.loads((TINY / "verdicts.json").read_text())["models"]["dinov2"]["config"]
    (folder / "config.json").write_text(json.dumps(config))
    model, other = delg.load("hf://org/tiny"), imported(folder)
    assert model.weights and model.config == other.config
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))
    extractor = build_extractor("hf://org/tiny@main")
    assert extractor.settings["weights_sha256"].startswith(f"hf://org/tiny@{COMMIT}:")


def test_the_extra_and_the_form_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"\[hub\]"):
        delg.weights.path("hf://org/name")
    for text in ("hf://name", "hf://org/name@", "hf://org/../name", "hf://org/name@a b"):
        with pytest.raises(InputError, match="hf://org/name@revision"):
            delg.weights.path(text)

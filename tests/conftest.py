"""Options of the test command, and the path of the processes that tests start."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from delg.quiet import skip_optional_imports
from tests.processes import free_ports

skip_optional_imports()

# Models of tests name backbones of tests, which a command in another folder has to find, too.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.getenv("PYTHONPATH")]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        help="Folder of golden files of the same names and fields, instead of those kept with the tests.",
    )
    parser.addoption("--golden2-dir", help="The same for the files of the second set, kept in tests/golden/data2.")
    parser.addoption("--golden-salt", default="", help="Salt of the rule that made the weights of the files given.")
    parser.addoption("--golden-report", help="Markdown file for the table of the largest differences.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that at the end no core waits for one of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a standalone server of Milvus; all processes of a run share it, since two need the same port."""
    for package in ("pymilvus", "milvus"):
        pytest.importorskip(package, reason="needs pip install '.[milvus]', and for the server pip install milvus")
    from milvus import MilvusServer

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    address = shared / "milvus_address"
    server = MilvusServer(wait_for_started=False)
    with (shared / "milvus_start").open("w") as start, (shared / "milvus_use").open("w") as use:
        fcntl.flock(start, fcntl.LOCK_EX)
        try:
            if not address.exists():
                server.set_base_dir(str(tmp_path_factory.mktemp("milvus")))
                server.listen_port = free_ports(1)[0]
                server.start()
                while not is_ready(server):
                    assert server.server_proc.poll() is None, "Milvus has ended; another run of the tests has one?"
                address.write_text(f"http://127.0.0.1:{server.listen_port}", encoding="utf-8")
            fcntl.flock(use, fcntl.LOCK_SH)
            fcntl.flock(start, fcntl.LOCK_UN)
            yield address.read_text(encoding="utf-8")
        finally:
            if server.running:
                fcntl.flock(start, fcntl.LOCK_EX)
                fcntl.flock(use, fcntl.LOCK_EX)  # when no other process uses the server any more
                address.unlink(missing_ok=True)
                server.stop()


def is_ready(server: Any) -> bool:
    """Whether a server of Milvus answers, after a second at most."""
    try:
        server.wait_started(1000)
    except TimeoutError:
        return False
    return True

"""Options of the test command, and the path of the processes that tests start."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from delg.quiet import skip_optional_imports
from tests.processes import HANGS, free_ports

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
    """The URL of a standalone server of Milvus that runs in a temporary folder."""
    for package in ("pymilvus", "milvus"):
        pytest.importorskip(package, reason="needs pip install '.[milvus]', and for the server pip install milvus")
    from milvus import MilvusServer

    server = MilvusServer(wait_for_started=False)
    server.set_base_dir(str(tmp_path_factory.mktemp("milvus")))
    server.listen_port = free_ports(1)[0]
    try:
        server.start()
        server.wait_started(1000 * HANGS)
        yield f"http://127.0.0.1:{server.listen_port}"
    finally:
        server.stop()

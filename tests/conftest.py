"""Options of the test command, and the path of the processes that tests start."""

import os
from pathlib import Path

import pytest

from delg.quiet import skip_optional_imports

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

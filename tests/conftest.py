"""Options of the test command."""

import pytest


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

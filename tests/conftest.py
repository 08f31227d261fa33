"""Options of the test command."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden-dir",
        help="Folder of golden files of the same names and fields, instead of those kept with the tests.",
    )
    parser.addoption("--golden-salt", default="", help="Salt of the rule that made the weights of those files.")
    parser.addoption("--golden-report", help="Markdown file for the table of the largest differences.")

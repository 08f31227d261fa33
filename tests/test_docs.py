"""The pages that a reader opens: links lead somewhere, and nothing was left to be filled in."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"@[A-Z]+@|TODO|FIXME", text)
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:tests|scripts|docs|delg|extraction|matching|training|evaluation)/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`((?:delg|extraction|matching|training|evaluation|protos)\.[a-z_0-9.]+)`", text):
        place = ROOT / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").exists() or place.parent.with_suffix(".py").exists(), name


def test_the_walks_name_what_is_there():
    """The types and the steps of docs/architecture.md: each name is defined in the file beside it."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    types = [(file, name) for name, file in re.findall(r"^- `(\w+)`, `([\w/]+\.py)`:", text, re.MULTILINE)]
    steps: list[tuple[str, str]] = []
    for places in re.findall(r"^\d+\. (`.*?):", text, re.MULTILINE | re.DOTALL):
        file = ""
        for word in re.findall(r"`([\w/.]+)`", places):
            file, name = (word, "") if "/" in word else (file, word)
            steps += [(file, name)] if name else []
    assert len(types) == 6 and len(steps) > 40
    for file, name in [*types, *steps]:
        code = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(?:def|class) {name}\b", code, re.MULTILINE), f"{file} defines no {name}"

"""The words of sources and pages: no phrase of a private dialect, no long line, no wide table, no commit hash."""

import re
from pathlib import Path

import pytest

from delg.common.sources import PACKAGES

ROOT = Path(__file__).parents[1]
BANNED = re.compile(r"\b(proves that|goes with|goes before|told|of what)\b", re.IGNORECASE)
HASH = re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}\b")
WIDTH, WRAPPED = 120, {".md", ".py", ".sh"}
TEXTS = [  # without generated code, and without this file, which names the phrases
    path
    for folder in (*PACKAGES, "tests", "scripts", "docs")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {*WRAPPED, ".css", ".html", ".js"} and "_pb2" not in path.name and path != Path(__file__)
] + sorted([*ROOT.glob("*.md"), *ROOT.glob("*.py")])
PAGES = [path for path in TEXTS if path.suffix == ".md"]


def test_no_phrase_of_a_private_dialect():
    for path in TEXTS:
        text = re.sub(r"\s+(?:#\s)?", " ", path.read_text(encoding="utf-8"))  # phrases that a line end divides, too
        phrases = [text[max(0, hit.start() - 30) : hit.end() + 30] for hit in BANNED.finditer(text)]
        assert not phrases, f"{path.relative_to(ROOT)}: {phrases}"


def test_no_long_line():
    for path in TEXTS:
        lines = path.read_text(encoding="utf-8").splitlines()
        too_long = [number for number, line in enumerate(lines, 1) if len(line) > WIDTH]
        assert not too_long or path.suffix not in WRAPPED, f"{path.relative_to(ROOT)}: lines {too_long}"


def test_no_wide_table():
    for path in PAGES:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL).replace("\\|", "")
        wide = [
            line for line in re.findall(r"^\|.*", text, re.MULTILINE) if re.sub(r"`[^`]*`", "", line).count("|") > 8
        ]
        assert not wide, f"{path.relative_to(ROOT)}: {wide[:2]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_commit_hash_in_a_page(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not HASH.findall(prose)

"""The pages that a reader opens: links, named files, commands and flags exist, no gap is left, the site builds."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import delg
from delg.commands import MODULES
from scripts.site_pages import commands_with_flags
from tests.extraction.pictures import write_picture

ROOT = Path(__file__).parents[1]
# Flags of pytest, of studies and of other programs.
ELSEWHERE = {"help", "version", "golden", "golden2", "only", "multiscale", "whitening"}
COMMAND = re.compile(r"(?<![\w./'\"-])delg[ -]([a-z]+(?:-[a-z]+)*)(?![\w.])(.*?)(?=\bdelg[ -]|$)")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Targets of links within a page: its headings in the form of a link."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"@[A-Z]+@|TODO|FIXME", text)
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text):
        place = page.parent / target if target else page
        if place.parent.name == "commands" and place.stem in (*MODULES, "index"):
            continue  # made when the site is built
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"
    packages = "delg|collection|extraction|matching|training|evaluation"
    for name in re.findall(rf"`((?:tests|scripts|docs|{packages})/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(rf"`((?:{packages}|protos)\.[a-z_0-9.]+)`", text):
        place = ROOT / name.replace(".", "/")
        assert (
            name.removeprefix("delg.") in dir(delg)
            or place.is_dir()
            or place.with_suffix(".py").exists()
            or place.parent.with_suffix(".py").exists()
        ), name


@pytest.fixture(scope="module")
def commands():
    """Flags of each command."""
    read = commands_with_flags()
    assert set(read) == set(MODULES)
    return {name: {flag["name"] for flag in command["flags"]} for name, command in read.items()}


def code_of(text: str) -> list[str]:
    """Lines of blocks of code, with continued ones as one, and code within a sentence."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$|^((?:    .+\n)+)", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(first or second for first, second in blocks).replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return lines + [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_flags_exist(page, commands):
    known = {flag for flags in commands.values() for flag in flags}
    for line in code_of(page.read_text(encoding="utf-8")):
        for name, rest in COMMAND.findall(line):
            if name not in ("retrieval", "completion"):
                assert name in commands, line
                for flag in set(re.findall(r"(?<![\w-])--(\w+)", rest)) - ELSEWHERE:
                    assert {flag, flag.removeprefix("no")} & commands[name], f"delg {name} --{flag}: {line}"
        if line.startswith("--"):
            flag = re.match(r"--(\w*)", line)[1]
            assert {flag, flag.removeprefix("no")} & (known | ELSEWHERE), line


def test_the_site_builds_without_a_network(tmp_path):
    """Strictly: mkdocs ends with an error where a link, an anchor or a page is missing."""
    for package in ("material", "mkdocstrings"):
        pytest.importorskip(package, reason="needs pip install '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", f"--site-dir={tmp_path}"]
    proxy = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **proxy, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, flags in commands_with_flags().items():
        page = (tmp_path / "reference" / "commands" / f"{name}.html").read_text(encoding="utf-8")
        assert all(f"--{flag['name']}" in page for flag in flags["flags"]), name
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=.?https?:|<link rel=.?stylesheet.? href=.?https?:", text)
        assert page.parent.name != "reference" or not re.search(r":(class|func|data):", text), page


def test_the_python_of_the_readme(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        picture = Image.fromarray(random.integers(0, 255, (15, 20, 3), np.uint8)).resize((240, 180))
        picture.save(tmp_path / "photos" / name)
    Image.open(tmp_path / "photos" / "b.png").save(tmp_path / "query.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("same ") and lines[1].startswith("b.png ")


def test_the_notebook(tmp_path, monkeypatch):
    """Its cells in their order, with an extractor that is quicker to start."""
    for seed in range(24):
        write_picture(tmp_path / "photos" / f"{seed}.png", 150, 200, seed)
    Image.open(tmp_path / "photos" / "7.png").save(tmp_path / "query.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    values: dict[str, object] = {}
    for cell in json.loads((ROOT / "docs" / "collection.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"]).replace('open("photos")', 'open("photos", "rootsift")')
            exec(compile(code, "collection.ipynb", "exec"), values)
    assert values["answer"][0].path == "7.png"
    assert values["match"].inliers > 20
    assert (tmp_path / "features" / "manifest.json").is_file()


def test_each_page_says_who_it_is_for_and_what_comes_next():
    for page in PAGES:
        title, *paragraphs = page.read_text(encoding="utf-8").strip().split("\n\n")
        assert title.startswith("# "), page
        assert paragraphs[0].startswith("For "), page
        assert paragraphs[-1].startswith("Next: "), page


def test_the_version_of_the_citation():
    assert f"\nversion: {delg.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


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

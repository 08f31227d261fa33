"""The pages that a reader opens: links and named files exist, no gap is left, and the README's Python runs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.extraction.pictures import write_picture

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


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
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"
    packages = "delg|collection|extraction|matching|training|evaluation"
    for name in re.findall(rf"`((?:tests|scripts|docs|{packages})/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(rf"`((?:{packages}|protos)\.[a-z_0-9.]+)`", text):
        place = ROOT / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").exists() or place.parent.with_suffix(".py").exists(), name


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

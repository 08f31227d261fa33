"""The source files that something is made of: none is missed, and an edit of any of them changes the hash."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from delg.common.sources import FETCHING, PACKAGES, ROOT, clear_caches, source_files, source_sha256

MAKERS = ("evaluation.run.pipeline", "evaluation.run.search", "matching.rerankers.ransac", "training.job")


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path):
    """What the parser finds, in every corner of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_no_import_of_ours_is_missed():
    modules = {module(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    known = {name: path for name, path in modules.items() if not name.startswith(FETCHING)}
    for name, path in known.items():
        expected = {target for target in imported(path) if target in known}
        assert expected <= source_files(name).keys(), name


@pytest.mark.parametrize("maker", MAKERS)
def test_what_an_import_loads_is_found(maker):
    code = f"import sys, {maker}; print(*(name for name in sys.modules if name.partition('.')[0] in {PACKAGES}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith(FETCHING)}
    assert loaded <= source_files(maker).keys()


def test_where_weights_lie_changes_no_hash():
    assert "extraction.extractors.xfeat" in source_files("extraction.extractors.xfeat")
    assert not [name for name in source_files("extraction.extractors.xfeat") if name.startswith(FETCHING)]


def test_what_is_only_named_does_not_count():
    files = source_files("matching.rerankers.ransac")
    assert "delg" in files and "delg.model" not in files, "the package names its exports, and imports none"
    assert not any(name.startswith(("evaluation", "delg.importers", "delg.heads")) for name in files)
    table = source_files("matching.rerankers.table")
    assert "matching.rerankers.base" in table and "matching.rerankers.ransac" not in table
    assert source_sha256("matching.rerankers.ransac:Ransac") == source_sha256("matching.rerankers.ransac")
    assert ROOT / "evaluation" / "report" / "__init__.py" in source_files("evaluation.run.pipeline").values()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's package: a class, what it imports in a function, relatively, and by its place beside the package."""
    files = {
        "mine/__init__.py": "",
        "mine/table.txt": "1",
        "mine/base.py": "class Base:\n    pass\n",
        "mine/late.py": "VALUE = 1\n",
        "mine/made.py": "from . import (  # )\n    base,\n)\n\nclass Mine(base.Base):\n    def __call__(self):\n"
        "        from . import late\n        import beside_mine as other, json\n        return late, other, json\n",
        "beside_mine.py": "VALUE = 1\n",
        "stranger_of_mine.py": "VALUE = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "beside_mine")]:
        del sys.modules[name]


def fresh(*makers):
    """The hash as another process would find it."""
    clear_caches()
    return source_sha256(*makers)


def test_an_edit_of_any_file_of_a_plug_in_counts(own):
    from mine.made import Mine

    names = {"mine", "mine.base", "mine.late", "mine.made", "beside_mine"}
    assert source_files("mine.made").keys() == names
    first = fresh(Mine)
    assert first == fresh(Mine()) == fresh("mine.made") != fresh("mine.base")
    for file in ("mine/made.py", "mine/base.py", "mine/late.py", "mine/table.txt", "beside_mine.py"):
        before = (own / file).read_text()
        (own / file).write_text(before + "# more\n")
        assert fresh(Mine) != first, file
        (own / file).write_text(before)
    (own / "stranger_of_mine.py").write_text("VALUE = 2\n")
    assert fresh(Mine) == first


def test_a_class_without_a_file_is_never_the_same():
    space = {"__name__": "typed_in"}
    exec("class Typed:\n    pass\n", space)
    assert fresh(space["Typed"]) != fresh(space["Typed"])
    assert len(fresh(space["Typed"])) == len(fresh(Path)) == 64

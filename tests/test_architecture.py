"""The import rules between the packages, read from the code itself."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

from delg.commands import MODULES
from delg.common.sources import PACKAGES

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {  # besides delg.common, which every package may import
    "protos": set(),
    "delg": {"protos"},
    "training": {
        "delg",
        "extraction.features",
        "extraction.formats",
        "matching.indexes",
        "matching.rerankers",
        "protos",
    },
    "extraction": {"delg", "protos"},
    "matching": {"extraction.features", "extraction.formats", "extraction.store", "protos"},
    "evaluation": {"matching", "extraction", "protos"},
    "collection": {"delg.quiet", "matching", "extraction", "evaluation.report"},
}
NUMPY_ONLY = ("extraction/features.py", "extraction/store/reader.py", "extraction/images.py")
LONGER = ("extraction/extract.py", "evaluation/benchmark.py")  # commands with many flags
COMMAND_MODULES = set(MODULES.values())
TENSORFLOW_FORMATS = ("delg.exporting.", "delg.importers.", "extraction.extractors.saved_model")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def sources() -> list[Path]:
    return [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.stem.endswith("_pb2")
    ]


@cache
def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {
                f"{node.module}.{alias.name}" for alias in node.names if (ROOT / node.module.replace(".", "/")).is_dir()
            }
    return names


def test_packages_import_only_what_they_may():
    for path in sources():
        package, name = path.relative_to(ROOT).parts[0], module_name(path)
        if name in COMMAND_MODULES or name in ("delg.commands", "delg.__main__"):
            continue
        for target in imported(path):
            other = target.split(".")[0]
            if other not in PACKAGES or other == package:
                continue
            allowed = MAY_IMPORT[package] | {"delg.common"}
            fine = any(f"{target}.".startswith(f"{a}.") or a.startswith(f"{target}.") for a in allowed)
            assert fine, f"{name} imports {target}"


def test_inner_packages_of_the_evaluation_are_layers():
    """No two inner packages import each other."""
    edges = set()
    for path in sorted((ROOT / "evaluation").glob("*/*.py")):
        for target in imported(path):
            parts = target.split(".")
            if parts[0] == "evaluation" and (ROOT / "evaluation" / parts[1]).is_dir():
                edges.add((path.parent.name, parts[1]))
    assert {one for one, _ in edges} >= {"benchmarks", "report", "run"}
    assert not [(one, other) for one, other in edges if one < other and (other, one) in edges]


def test_commands_are_leaves():
    for path in sources():
        assert not imported(path) & COMMAND_MODULES, f"{module_name(path)} imports a command"


def test_the_value_objects_need_no_framework():
    for name in NUMPY_ONLY:
        targets = {target for target in imported(ROOT / name) if not target.startswith("delg.common")}
        heavy = {target.split(".")[0] for target in targets} & {"tensorflow", "keras", "cv2", "delg"}
        assert not heavy, f"{name} imports {heavy}"


def test_tensorflow_appears_only_where_it_may():
    for path in sources():
        package = path.relative_to(ROOT).parts[0]
        if any(target.split(".")[0] == "tensorflow" for target in imported(path)):
            name = module_name(path)
            assert package == "training" or name.startswith(TENSORFLOW_FORMATS), f"{name} imports tensorflow"


def test_matching_leaves_tensorflow_out():
    modules = [module_name(p) for p in sources() if p.is_relative_to(ROOT / "matching")]
    commands = [name for name in modules if name in COMMAND_MODULES]
    assert commands
    for together in ([name for name in modules if name not in COMMAND_MODULES], *([name] for name in commands)):
        lines = ["import sys, importlib", f"for name in {together}: importlib.import_module(name)"]
        code = "\n".join([*lines, "print({'tensorflow', 'keras'} & set(sys.modules))"])
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()", together


def test_every_command_has_its_module():
    for module in MODULES.values():
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module

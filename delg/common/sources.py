"""The source files that a result depends on, and their SHA-256, so that changes of the code are noticed.

Imports are read from the text, also inside functions, and followed through our packages and the user's own modules.
Installed libraries do not count: their versions are recorded where they matter. Modules that a table names do not count
by themselves: callers name the entry that they use as a maker. Files may be included without need; a result is then
computed once more than necessary. Where weights lie and how they are fetched does not count: results depend on the
weights themselves, whose hashes are recorded.
"""

import hashlib
import importlib.util
import re
import secrets
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("collection", "delg", "evaluation", "extraction", "matching", "protos", "training")
LIBRARIES = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
FETCHING = "delg.weights"
CODE = (".py", ".pyc", ".pyi", *EXTENSION_SUFFIXES)
_FROM = re.compile(r"^[ \t]*from[ \t]+([\w.]+)[ \t]+import\b[ \t]*(\([^)]*\)|.*)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+(.*)", re.MULTILINE)


def source_sha256(*makers: Any) -> str:
    """Hexadecimal SHA-256 of the source of the given modules and of everything they import.

    Args:
      *makers: names of modules such as ``"evaluation.run.search"``, names ``"module:Class"``, classes, functions, or
        objects, which stand for their class.

    Returns:
      The hash of the files when the process first asks for it. A class without a file, such as one typed into an
      interpreter, has another hash in each process.
    """
    names = [maker.partition(":")[0] if isinstance(maker, str) else _module_of(maker) for maker in makers]
    return _sha256(tuple(sorted(set(names))))


def source_files(*names: str) -> dict[str, Path]:
    """The given modules and all modules that they import, with their files; of imports without :data:`FETCHING`.

    A package includes its files that are no code, such as templates.

    Raises:
      ModuleNotFoundError: a name is no module.
    """
    modules: dict[str, Path] = {}
    todo = []
    for name in names:
        path = _file_of_root(name)
        if path is None:
            raise ModuleNotFoundError(f"No source file of the module {name!r} is found.")
        modules[name] = path
        todo.append(name)
    own = {*PACKAGES, *(name.partition(".")[0] for name in names)}
    while todo:
        name = todo.pop()
        for target in _targets(name, modules[name]):
            left_out = target in modules or f"{target}.".startswith(f"{FETCHING}.")
            path = None if left_out else _file(target, own)
            if path is not None:
                modules[target] = path
                todo.append(target)
    return modules


@cache
def _sha256(names: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    try:
        files = source_files(*names)
    except (ModuleNotFoundError, OSError):
        return secrets.token_hex(32)
    for name, path in sorted(files.items()):
        digest.update(f"{name} {_file_sha256(path)}\n".encode())
        if path.name == "__init__.py":
            data = sorted(
                p for p in path.parent.iterdir() if p.is_file() and not p.name.startswith(".") and p.suffix not in CODE
            )
            digest.update("".join(f"{name}/{p.name} {_file_sha256(p)}\n" for p in data).encode())
    return digest.hexdigest()


@cache
def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def clear_caches() -> None:
    """Makes the process read files anew that it has read before."""
    for cached in (_sha256, _file_sha256, _targets, _place):
        cached.cache_clear()


def _module_of(maker: Any) -> str:
    """The module in which a class or function is written, or the class of an object."""
    named = maker if isinstance(maker, type) or hasattr(maker, "__qualname__") else type(maker)
    return str(named.__module__)


@cache
def _targets(name: str, path: Path) -> tuple[str, ...]:
    """Names that may be modules: all imports of a module, and its parent packages."""
    if path.suffix != ".py":
        return tuple(_parents(name))
    text = path.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ").replace(";", "\n")
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    code, modules = re.sub("#.*", "", text), set()
    for line in _IMPORT.findall(code):
        modules |= {part.strip().partition(" ")[0] for part in line.split(",")}
    for module, imported in _FROM.findall(code):
        base = _absolute(module, package)
        modules |= {base, *(f"{base}.{word}" for word in re.findall(r"\w+", imported))}
    return tuple(sorted({part for target in (name, *modules) if target for part in (target, *_parents(target))}))


def _absolute(module: str, package: str) -> str:
    """The full name of a module that a package imports with or without leading dots."""
    inside = module.lstrip(".")
    if inside == module:
        return module
    above = package.split(".")[: len(package.split(".")) - (len(module) - len(inside) - 1)]
    return ".".join([*above, *([inside] if inside else [])])


def _parents(name: str) -> Iterator[str]:
    """``a.b`` and ``a`` of ``a.b.c``."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _file_of_root(name: str) -> Path | None:
    """The file of a named module, which may be the program itself."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    return Path(loaded) if loaded else _file(name, {name.partition(".")[0]})


@cache
def _place(top: str) -> Path | None:
    """Folder of a package, or file of a module, of top level; None where there is none with source. Imports nothing."""
    if top in PACKAGES:
        return ROOT / top
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin in (None, "built-in", "frozen"):
        return None if spec is None or not spec.submodule_search_locations else Path(spec.submodule_search_locations[0])
    return Path(spec.origin).parent if spec.submodule_search_locations else Path(str(spec.origin))


def _file(name: str, own: set[str]) -> Path | None:
    """The file of a module of ours, of one of the packages ``own``, or of the user's; None of others."""
    top, _, rest = name.partition(".")
    if top in sys.stdlib_module_names:
        return None
    place = _place(top)
    if place is None or (top not in own and any(place.is_relative_to(folder) for folder in LIBRARIES)):
        return None
    if place.is_file():
        return None if rest else place
    base = place.joinpath(*rest.split(".")) if rest else place
    choices = [base / "__init__.py", *(base.parent / f"{base.name}{suffix}" for suffix in (".py", *EXTENSION_SUFFIXES))]
    return next((path for path in choices if path.is_file()), None)

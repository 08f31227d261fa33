"""Keeps the import of TensorFlow quiet, and that of TensorFlow and Keras short; no setting of either does."""

import gc
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OPTIONAL = "jax", "matplotlib", "pandas", "sklearn"
"""Packages that TensorFlow and Keras import where they are installed, for functions that no command calls."""


@contextmanager
def _stderr_held() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and shows it only when the block fails."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextmanager
def _quietly() -> Iterator[None]:
    """Around the import of ``tensorflow``."""
    with _stderr_held():
        yield
        sys.modules["tensorflow"].config.list_physical_devices()  # the complaint about a missing GPU comes here
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # or each new image size is a warning


@contextmanager
def _without_optional() -> Iterator[None]:
    """The block finds no :data:`OPTIONAL` package that is not imported yet; later code does.

    The garbage collector rests meanwhile: it would go over modules again and again, which all stay.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    hidden = [name for name in OPTIONAL if name not in sys.modules and (name != "jax" or backend == "tensorflow")]
    collects = gc.isenabled()
    gc.disable()
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
        if collects:
            gc.enable()


class _Around(MetaPathFinder):
    """Finds a package as Python would, with a loader that runs it in a context."""

    def __init__(self, package: str, context: Callable[[], AbstractContextManager[None]]) -> None:
        self.package, self.context = package, context

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answers for the package only, until it is run; others may ask where it lies before."""
        if fullname != self.package:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        run = loader.exec_module

        def exec_module(module: Any) -> None:
            sys.meta_path.remove(self)
            with self.context():
                run(module)

        loader.exec_module = exec_module
        return spec


def _import_in(package: str, context: Callable[[], AbstractContextManager[None]]) -> None:
    """The next import of a package that is not imported yet runs in a context."""
    waiting = [(finder.package, finder.context) for finder in sys.meta_path if isinstance(finder, _Around)]
    if package not in sys.modules and (package, context) not in waiting:
        sys.meta_path.insert(0, _Around(package, context))


def silence_tensorflow() -> None:
    """Makes the next import of TensorFlow quiet; nothing is imported now."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _import_in("tensorflow", _quietly)


def skip_optional_imports() -> None:
    """Makes the next imports of TensorFlow and Keras short, where :data:`OPTIONAL` packages are installed.

    For commands of ours and not for programs of users: Keras then draws nothing with matplotlib, wraps nothing for
    scikit-learn and takes no data frame.
    """
    for package in ("tensorflow", "keras"):
        _import_in(package, _without_optional)

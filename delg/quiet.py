"""Keeps the lines that TensorFlow prints while it is imported off the terminal; no setting of its own does."""

import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


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


class QuietTensorFlow(MetaPathFinder):
    """Finds ``tensorflow`` as Python would, with a loader that runs it under :func:`_stderr_held`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answers for ``tensorflow`` only, until it is run; others may ask where it lies before."""
        if fullname != "tensorflow":
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
            with _stderr_held():
                run(module)
                module.config.list_physical_devices()  # the complaint about a missing GPU comes here
            logging.getLogger("tensorflow").setLevel(logging.ERROR)  # or each new image size is a warning

        loader.exec_module = exec_module
        return spec


def silence_tensorflow() -> None:
    """Makes the next import of TensorFlow quiet; nothing is imported now."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules and not any(isinstance(one, QuietTensorFlow) for one in sys.meta_path):
        sys.meta_path.insert(0, QuietTensorFlow())

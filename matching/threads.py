"""Threads: a pool over image pairs is fastest when the libraries below it use one thread each."""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from delg.common.errors import InputError

_SUFFIXES = ("", "64_")
_PREFIXES = ("scipy_openblas_", "openblas_")
_lock = Lock()
_users = 0
_before: tuple[int, int] = (1, 1)


def available(threads: int | None = None) -> int:
    """Number of threads: the argument, or for None the processor cores that this process may run on.

    Raises:
      InputError: ``threads`` is not a whole number of at least 1.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise InputError(f"threads expects 1 or more. Received: {threads!r}")
    return threads


@cache
def openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Reads and sets the thread count of the OpenBLAS inside NumPy's wheel; None with another BLAS."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for library in sorted(folder.glob("*openblas*")):
            with contextlib.suppress(OSError):
                loaded = ctypes.CDLL(str(library))
                for name in (f"{prefix}%s_num_threads{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES):
                    if hasattr(loaded, name % "set"):
                        read, write = getattr(loaded, name % "get"), getattr(loaded, name % "set")
                        read.restype, write.argtypes, write.restype = ctypes.c_int, [ctypes.c_int], None
                        return read, write
    return None


def _set(blas_threads: int, cv2_threads: int) -> tuple[int, int]:
    """Sets both thread counts of the process; returns those before."""
    blas = openblas()
    before = (blas[0]() if blas else 1), cv2.getNumThreads()
    if blas:
        blas[1](blas_threads)
    cv2.setNumThreads(cv2_threads)
    return before


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Within it NumPy's matrix products and OpenCV use one thread each; afterwards as many as before.

    The settings are the process's, so nested and simultaneous uses share them and the last one out restores.
    Besides the speed, results do not depend on the number of cores.
    """
    global _users, _before  # noqa: PLW0603
    with _lock:
        if _users == 0:
            _before = _set(1, 1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _set(*_before)


@contextlib.contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Within it calls of FAISS from this thread, whose own setting it is, use so many threads; then as before."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)

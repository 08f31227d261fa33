"""Versions of the software that a report was made with."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from delg.common.distribution import __version__

PACKAGES = (
    "numpy",
    "scipy",
    "faiss-cpu",
    "opencv-python-headless",
    "pillow",
    "keras",
    "tensorflow",
)


def packages(names: Sequence[str] | None = None) -> dict[str, str]:
    """Versions of Python, of this package and of other packages, by default all that a benchmark may use."""
    package_versions = {"python": platform.python_version(), "delg": __version__}
    for package in PACKAGES if names is None else names:
        try:
            package_versions[package] = version(package)
        except PackageNotFoundError:
            package_versions[package] = "not installed"
    return package_versions


def versions() -> dict[str, str]:
    """:func:`packages`, the platform, and the number of CPUs."""
    return packages() | {"platform": platform.platform(), "cpus": str(os.cpu_count())}

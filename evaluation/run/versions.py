"""What the numbers were made with."""

import os
import platform
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


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that have a part in a benchmark; imports none."""
    found = {"python": platform.python_version(), "delg": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def versions() -> dict[str, str]:
    """:func:`packages`, and the machine's kind."""
    return packages() | {"platform": platform.platform(), "cpus": str(os.cpu_count())}

"""What the numbers were made with."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "delg",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "keras",
    "tensorflow",
)


def versions() -> dict[str, str]:
    """Versions of Python, the packages that have a part in a benchmark, and the machine's kind; imports none."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["platform"] = platform.platform()
    found["cpus"] = str(os.cpu_count())
    return found

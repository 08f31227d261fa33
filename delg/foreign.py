"""Finds other distributions that have a module ``delg``: the package index has one of another author."""

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions

from delg.common.distribution import NAME

MODULE = "delg"


def overwritten() -> str | None:
    """The sentence that names the distribution whose files lie over those of this package; None when all is well."""
    if hasattr(sys.modules[MODULE], "_EXPORTS"):
        return None
    others = sorted({name for name in packages_distributions().get(MODULE, ()) if name != NAME})
    return (
        f"The module '{MODULE}' at {sys.modules[MODULE].__file__} is not of {NAME} but of "
        f"{' or '.join(others) or 'another distribution'}; uninstall both and install {NAME} again."
    )


def beside() -> str | None:
    """The sentence that names an installed distribution called ``delg`` that is not an earlier one of this package.

    (A search for distributions of all names takes longer than the help of a command may.)
    """
    try:
        other = distribution(MODULE)
    except PackageNotFoundError:
        return None
    if _is_ours(other):
        return None
    return (
        f"The distribution '{MODULE}' {other.version} at {other.locate_file('')} is another author's and has a module "
        f"of the same name as {NAME}; uninstall it, then install {NAME} again if files are missing."
    )


def _is_ours(other: Distribution) -> bool:
    """Whether it is this package, which had the name of its module at first."""
    return any(entry.value.startswith("delg.commands:") for entry in other.entry_points)

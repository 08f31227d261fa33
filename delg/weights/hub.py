"""Weights on the Hugging Face Hub: ``hf://org/name``, or ``hf://org/name@revision``.

The cache, tokens, proxies and offline mode are those of ``huggingface_hub``. Only safetensors, JSON and NumPy's arrays
are fetched, nothing that could be run. The licence that a repository names is shown before it is fetched.
"""

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from delg.common.errors import InputError, first_line
from delg.common.extras import needs_extra
from delg.common.files import json_sha256, sha256
from delg.weights import HUB, UnavailableError

FILES = ("*.json", "*.safetensors", "local_whitening.npz", "adaptation.npz")  # the last two of models of ours
_FORM = re.compile(rf"{HUB}(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


@cache
def snapshot(source: str, *, offline: bool = False) -> Path:
    """The folder of a repository at a revision, fetched where it is not there yet.

    Args:
      source: ``hf://org/name``, or with ``@revision``: a branch, a tag or a commit. A process keeps the commit that it
        finds first.
      offline: take what the cache holds.

    Returns:
      A folder of the cache, named by the commit.

    Raises:
      delg.weights.UnavailableError: no access, no network, or offline and not there.
      InputError: the text is of another form, or the extra ``hub`` is not installed.
    """
    form = _FORM.fullmatch(source)
    if form is None:
        raise InputError(f"Expected {HUB}org/name or {HUB}org/name@revision. Received: {source!r}")
    try:
        import huggingface_hub as hub
        from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
    except ImportError as error:
        raise needs_extra(f"{source}", "hub") from error
    repository = form["repository"]
    arguments: dict[str, Any] = {"revision": form["revision"], "allow_patterns": list(FILES)}
    there = None
    try:
        there = Path(hub.snapshot_download(repository, local_files_only=True, **arguments))
    except LocalEntryNotFoundError as error:  # before ValueError, which it is in huggingface_hub 0
        if offline:
            raise UnavailableError(
                f"{source} is not in the cache of the Hub, and nothing is fetched offline."
            ) from error
    except ValueError as error:
        raise InputError(f"{source}: {first_line(error)}") from error
    if offline:
        return Path(str(there))
    try:
        if there is None:
            page = f"{hub.constants.ENDPOINT}/{repository}"
            licence = _licence(hub.model_info(repository, revision=form["revision"]).card_data)
            print(f"Fetching {source}, {licence}; see {page}.", file=sys.stderr, flush=True)
        return Path(hub.snapshot_download(repository, **arguments))
    except GatedRepoError as error:
        raise UnavailableError(
            f"{source} is given to those alone who accept its licence on its page, and set HF_TOKEN."
        ) from error
    except Exception as error:  # of several packages beneath
        raise UnavailableError(f"{source} cannot be fetched: {first_line(error).rstrip('.')}.") from error


def _licence(card: Any) -> str:
    """What the card of a repository says of the licence, in words."""
    values = card.to_dict() if card is not None else {}
    named = values.get("license_name") or values.get("license")
    return f"licence {named}" if isinstance(named, str) else "whose card names no licence"


def digest(source: str, folder: Path) -> str:
    """The identity of the weights in a snapshot: repository, commit, and SHA-256 over its weights."""
    hashes = {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    return f"{source.partition('@')[0]}@{folder.name}:{json_sha256(hashes)}"

"""The rerankers by name, and how one, or a chain of them, is built from text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from delg.common import spec
from delg.common.errors import InputError
from delg.common.files import files_below, sha256
from delg.common.sources import source_sha256
from matching.rerankers.alpha_dba import AlphaDBA
from matching.rerankers.alpha_qe import AlphaQE
from matching.rerankers.base import Reranker
from matching.rerankers.chain import Chain
from matching.rerankers.diffusion import Diffusion
from matching.rerankers.k_reciprocal import KReciprocal
from matching.rerankers.ransac import Ransac
from matching.rerankers.superglobal import SuperGlobal

__all__ = ["RERANKERS", "Reranker", "build_reranker", "identity", "links"]

RERANKERS: dict[str, Callable[..., Reranker]] = {
    "alpha_dba": AlphaDBA,
    "alpha_qe": AlphaQE,
    "diffusion": Diffusion,
    "k_reciprocal": KReciprocal,
    "ransac": Ransac,
    "superglobal": SuperGlobal,
}


def links(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The rerankers of a chain, names and arguments, first to last; one for a text without ``|``.

    >>> links("superglobal | ransac(top_k=50)")
    [('superglobal', {}), ('ransac', {'top_k': 50})]

    Raises:
      InputError: the text is not of that form.
    """
    parts = spec.split(text, "|", keep_empty=True)
    if len(parts) > 1 and not all(parts):
        raise InputError(f"Expected rerankers with one '|' between each two. Received: {text!r}")
    return [spec.parse(part) for part in parts]


def build_reranker(text: str) -> Reranker:
    """Builds a reranker from ``name(argument=value)``, such as ``superglobal(k=9, beta=0.15)``.

    ``superglobal | ransac(top_k=50)`` builds a chain: each link reranks what the one before it returns.

    Raises:
      InputError: a name is unknown, or an argument does not fit.
    """
    built = [spec.build(spec.render(*link), RERANKERS, "reranker") for link in links(text)]
    return built[0] if len(built) == 1 else Chain(built)


def identity(text: str) -> list[Any]:
    """What the order that a reranker, or a chain, gives depends on besides the features.

    Args:
      text: see :func:`build_reranker`.

    Returns:
      For each link a JSON value: its name, its arguments, the SHA-256 of each file that an argument names or that lies
      in a folder which it names, such as weights, and that of its source, which holds the defaults. It changes with
      any of them.

    Raises:
      InputError: see :func:`build_reranker`.
    """
    built = build_reranker(text)
    makers = built.links if isinstance(built, Chain) else [built]
    parts = [
        [name, arguments, _contents(arguments), source_sha256(RERANKERS[name], maker)]
        for (name, arguments), maker in zip(links(text), makers, strict=True)
    ]
    return parts if len(parts) == 1 else [*parts, source_sha256(Chain)]


def _contents(arguments: dict[str, Any]) -> dict[str, list[list[str]]]:
    """Of the arguments that name a file or a folder, names and SHA-256 of what lies there."""
    found = {}
    for key, value in arguments.items():
        place = Path(value) if isinstance(value, str) else None
        if place is not None and place.exists():
            files = sorted(files_below(place)) if place.is_dir() else [place]
            found[key] = [[file.relative_to(place).as_posix(), sha256(file)] for file in files]
    return found

"""The rerankers by name, and how one, or a chain of them, is built from text."""

from collections.abc import Callable
from typing import Any

from delg.common import spec
from delg.common.errors import InputError
from matching.rerankers.alpha_dba import AlphaDBA
from matching.rerankers.alpha_qe import AlphaQE
from matching.rerankers.base import Reranker
from matching.rerankers.chain import Chain
from matching.rerankers.diffusion import Diffusion
from matching.rerankers.k_reciprocal import KReciprocal
from matching.rerankers.ransac import Ransac
from matching.rerankers.superglobal import SuperGlobal

__all__ = ["RERANKERS", "Reranker", "build_reranker", "links"]

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

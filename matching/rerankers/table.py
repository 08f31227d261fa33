"""The rerankers by name, and how one, or a chain of them, is built from text."""

from typing import Any

from delg.common import spec
from delg.common.errors import InputError
from matching.rerankers.base import Reranker

RERANKERS: dict[str, str] = {
    "alpha_dba": "matching.rerankers.alpha_dba:AlphaDBA",
    "alpha_qe": "matching.rerankers.alpha_qe:AlphaQE",
    "diffusion": "matching.rerankers.diffusion:Diffusion",
    "k_reciprocal": "matching.rerankers.k_reciprocal:KReciprocal",
    "ransac": "matching.rerankers.ransac:Ransac",
    "superglobal": "matching.rerankers.superglobal:SuperGlobal",
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


def build_reranker(text: str, *, own_photos: bool = False) -> Reranker:
    """Builds a reranker from ``name(argument=value)``, such as ``superglobal(k=9, beta=0.15)``.

    ``superglobal | ransac(top_k=50)`` builds a chain: each link reranks the ranking of the link before. A name of the
    form ``module:Class`` is that of a :class:`Reranker` outside of the package.

    Args:
      text: the reranker, or the chain.
      own_photos: whether ``ransac`` counts inliers that share a place once (``one_per_place=True``) where the text says
        nothing else, since repeated places prove little; the released rule, of all benchmarks, counts each.

    Raises:
      InputError: a name is unknown, or an argument does not fit.
    """
    built = []
    for name, arguments in links(text):
        once = own_photos and name == "ransac" and not arguments.get("released")
        link = spec.render(name, ({"one_per_place": True} if once else {}) | arguments)
        built.append(spec.build(link, RERANKERS, "reranker", base=Reranker))
    if len(built) == 1:
        return built[0]
    from matching.rerankers.chain import chain

    return chain(built)

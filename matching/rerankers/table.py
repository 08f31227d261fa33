"""The rerankers by name, and how one, or a chain of them, is built from text."""

from collections.abc import Mapping
from typing import Any

from delg.common import spec
from delg.common.errors import InputError
from extraction.formats.checks import matching_of
from matching.rerankers.base import Reranker

RERANKERS: dict[str, str] = {
    "alpha_dba": "matching.rerankers.alpha_dba:AlphaDBA",
    "alpha_qe": "matching.rerankers.alpha_qe:AlphaQE",
    "ames": "matching.rerankers.ames:Ames",
    "auto": "matching.rerankers.auto:Auto",
    "chamfer_ot": "matching.rerankers.chamfer_ot:ChamferOT",
    "diffusion": "matching.rerankers.diffusion:Diffusion",
    "elvis": "matching.rerankers.elvis:Elvis",
    "fused": "matching.rerankers.wrapped:Fused",
    "gated": "matching.rerankers.wrapped:Gated",
    "k_reciprocal": "matching.rerankers.k_reciprocal:KReciprocal",
    "ransac": "matching.rerankers.ransac:Ransac",
    "superglobal": "matching.rerankers.superglobal:SuperGlobal",
}
INNER = "reranker"  # the argument of a wrapper, fused or gated, that is itself the text of a reranker


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


def suited(text: str, settings: Mapping[str, Any]) -> str:
    """The text of a reranker of the user's own photos, with the arguments of ``ransac`` that suit their features.

    The text inside a wrapper, ``fused`` or ``gated``, gets the same.

    Published protocols leave their texts as they are, and so keep the released values. Arguments of the text take
    precedence. Inliers that share a place count once, since repeated places prove little; the released rule counts
    each.

    Args:
      text: the reranker, or the chain.
      settings: of the features, see :func:`extraction.formats.checks.matching_of`.

    Raises:
      InputError: the text is not of that form.
    """
    matching = {"one_per_place": True} | matching_of(settings)
    rendered = []
    for name, given in links(text):
        arguments = given
        if name == "ransac" and not given.get("released"):
            left_out = "residual_share" if "residual" in given else None
            arguments = {key: value for key, value in matching.items() if key != left_out} | given
        elif name == "auto":
            arguments = {"matching": matching} | given
        elif isinstance(given.get(INNER), str):
            arguments = given | {INNER: suited(given[INNER], settings)}
        rendered.append(spec.render(name, arguments))
    return " | ".join(rendered)


def build_reranker(text: str) -> Reranker:
    """Builds a reranker from ``name(argument=value)``, such as ``superglobal(k=9, beta=0.15)``.

    ``superglobal | ransac(top_k=50)`` builds a chain: each link reranks the ranking of the link before.
    ``fused(reranker="ransac", weight=0.1)`` and ``gated(reranker="ransac", gap=0.1)`` wrap another reranker. A name of
    the form ``module:Class`` is that of a :class:`Reranker` outside of the package.

    Args:
      text: the reranker, or the chain; of the user's own photos see :func:`suited`.

    Raises:
      InputError: a name is unknown, or an argument does not fit.
    """
    built = [spec.build(spec.render(*link), RERANKERS, "reranker", base=Reranker) for link in links(text)]
    if len(built) == 1:
        return built[0]
    from matching.rerankers.chain import Chain

    return Chain(built)

"""The reranked rows of a report: names of the rerankers, and their recorded arguments."""

import inspect
from collections.abc import Mapping, Sequence

from delg.common import spec
from delg.common.errors import InputError
from evaluation.report.model import JsonObject
from matching.rerankers.table import RERANKERS, build_reranker, links


def reranker_names(texts: Sequence[str]) -> dict[str, str]:
    """Row suffix to the reranker's text; the suffix is the name, or the text where a name is used more than once.

    A chain's name joins the names of its links: ``superglobal|ransac``.

    Raises:
      InputError: an unknown reranker, a wrong argument, or the same text twice.
    """
    for text in texts:
        build_reranker(text)
    names = ["|".join(name for name, _ in links(text)) for text in texts]
    whole = ["|".join(spec.render(*link) for link in links(text)) for text in texts]
    text_by_name = {name if names.count(name) == 1 else full: text for name, full, text in zip(names, whole, texts)}
    if len(text_by_name) < len(texts):
        raise InputError(f"A reranker is named twice: {', '.join(texts)}.")
    return text_by_name


def global_only(rerankers: Mapping[str, str]) -> dict[str, str]:
    """The rerankers, by row suffix, that work without local features."""
    return {name: text for name, text in rerankers.items() if not build_reranker(text).uses_local}


def check_local(rerankers: Mapping[str, str], features: object) -> None:
    """Checks that no reranker matches local features where features hold none.

    Args:
      rerankers: texts of the rerankers by row suffix.
      features: the features, in words.

    Raises:
      InputError: a reranker matches local features; its row would be a copy of the first stage's.
    """
    local = [text for name, text in rerankers.items() if name not in global_only(rerankers)]
    if local:
        raise InputError(f"--rerank={', '.join(local)} matches local features; {features} holds none.")


def hyper_parameters(text: str) -> JsonObject:
    """A reranker's arguments, defaults included; ``threads`` is left out where the machine decides.

    The arguments of a chain are grouped by the places of its links, from 1.
    """
    parameters = [_of_link(name, arguments) for name, arguments in links(text)]
    if len(parameters) == 1:
        return parameters[0]
    return {"name": "|".join(link["name"] for link in parameters)} | {
        str(place): link for place, link in enumerate(parameters, 1)
    }


def _of_link(name: str, arguments: JsonObject) -> JsonObject:
    """Name and arguments of one reranker."""
    factory = spec.factory_of(name, RERANKERS, "reranker")
    defaults = {key: parameter.default for key, parameter in inspect.signature(factory).parameters.items()}
    parameters = {"name": name, **defaults, **arguments}
    return {key: value for key, value in parameters.items() if key != "threads" or value is not None}

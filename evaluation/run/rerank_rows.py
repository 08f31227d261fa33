"""Which rows of a report are reranked: the names of the rerankers, and what they are recorded with."""

import inspect
from collections.abc import Mapping, Sequence

from delg.common import spec
from delg.common.errors import InputError
from evaluation.report.model import JsonObject
from matching.rerankers.table import RERANKERS, build_reranker, links


def reranker_names(texts: Sequence[str]) -> dict[str, str]:
    """Row suffix to the reranker's text: the name alone, or the text where a name is used more than once.

    A chain's name is those of its links: ``superglobal|ransac``.

    Raises:
      InputError: an unknown reranker, a wrong argument, or the same text twice.
    """
    for text in texts:
        build_reranker(text)
    names = ["|".join(name for name, _ in links(text)) for text in texts]
    whole = ["|".join(spec.render(*link) for link in links(text)) for text in texts]
    found = {name if names.count(name) == 1 else full: text for name, full, text in zip(names, whole, texts)}
    if len(found) < len(texts):
        raise InputError(f"A reranker is named twice: {', '.join(texts)}.")
    return found


def global_only(rerankers: Mapping[str, str]) -> dict[str, str]:
    """The rerankers, by row suffix, that work without local features."""
    return {name: text for name, text in rerankers.items() if not build_reranker(text).uses_local}


def check_local(rerankers: Mapping[str, str], features: object) -> None:
    """Checks that no reranker matches local features where features hold none.

    Args:
      rerankers: their texts by row suffix.
      features: which features, in words.

    Raises:
      InputError: one does; its row would be a copy of the first stage's.
    """
    local = [text for name, text in rerankers.items() if name not in global_only(rerankers)]
    if local:
        raise InputError(f"--rerank={', '.join(local)} matches local features; {features} holds none.")


def hyper_parameters(text: str) -> JsonObject:
    """A reranker's arguments, defaults included, without those that leave the choice to the machine.

    Those of a chain stand under the places of its links, from 1.
    """
    chosen = [_of_link(name, arguments) for name, arguments in links(text)]
    if len(chosen) == 1:
        return chosen[0]
    return {"name": "|".join(link["name"] for link in chosen)} | {
        str(place): link for place, link in enumerate(chosen, 1)
    }


def _of_link(name: str, arguments: JsonObject) -> JsonObject:
    """What one reranker is recorded with."""
    factory = spec.factory_of(name, RERANKERS, "reranker")
    defaults = {key: parameter.default for key, parameter in inspect.signature(factory).parameters.items()}
    chosen = {"name": name, **defaults, **arguments}
    return {key: value for key, value in chosen.items() if key != "threads" or value is not None}

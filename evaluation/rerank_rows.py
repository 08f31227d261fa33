"""Which rows of a report are reranked: the names of the rerankers, and what they are recorded with."""

import inspect
from collections.abc import Mapping, Sequence

from evaluation.report.model import JsonObject
from matching.rerankers import RERANKERS, build_reranker
from protos import spec
from protos.errors import InputError

DEFAULT_RERANK = ("ransac", "superglobal")


def reranker_names(texts: Sequence[str]) -> dict[str, str]:
    """Row suffix to the reranker's text: the name alone, or the text where a name is used more than once.

    Raises:
      InputError: an unknown reranker, a wrong argument, or the same text twice.
    """
    for text in texts:
        build_reranker(text)
    names = [spec.parse(text)[0] for text in texts]
    found = {
        name if names.count(name) == 1 else spec.render(*spec.parse(text)): text for name, text in zip(names, texts)
    }
    if len(found) < len(texts):
        raise InputError(f"A reranker is named twice: {', '.join(texts)}.")
    return found


def without_local(rerankers: Mapping[str, str]) -> dict[str, str]:
    """The rerankers, by row suffix, that work without local features."""
    return {name: text for name, text in rerankers.items() if not hasattr(build_reranker(text), "inliers")}


def hyper_parameters(text: str) -> JsonObject:
    """A reranker's arguments, defaults included, without those that leave the choice to the machine."""
    name, arguments = spec.parse(text)
    defaults = {key: parameter.default for key, parameter in inspect.signature(RERANKERS[name]).parameters.items()}
    chosen = {"name": name, **defaults, **arguments}
    return {key: value for key, value in chosen.items() if key != "threads" or value is not None}

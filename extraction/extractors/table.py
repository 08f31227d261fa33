"""The extractors by name, and how one is built from text."""

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.spec import call, parse, render
from extraction.config import OPTIONS
from extraction.describing import Extractor
from extraction.extractors.histogram import Histogram
from extraction.extractors.rootsift import RootSift
from extraction.extractors.saved_model import SavedModelExtractor
from extraction.extractors.saved_model_runner import is_saved_model


class _FromFolder:
    """Extractor of a model folder; its arguments are the folder, what is given here, and the extraction's options.

    An option that is None is the model's own.
    """

    def __init__(self, **own: Any) -> None:
        options = [Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in OPTIONS]
        parameters = [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in own.items()]
        self.__signature__ = Signature([Parameter("model", Parameter.KEYWORD_ONLY), *parameters, *options])
        self._own = own

    def __call__(self, model: str, **arguments: Any) -> Extractor:
        from extraction.extractors.delg import DelgExtractor  # imports Keras

        options = {key: value for key, value in (self._own | arguments).items() if value is not None}
        if type(options["local_whitening"]) is not bool:
            raise InputError(f"local_whitening expects True or False. Received: {options['local_whitening']!r}")
        return DelgExtractor.from_folder(model, **options)


EXTRACTORS: dict[str, Callable[..., Extractor]] = {
    "delg": _FromFolder(local_whitening=True),
    "histogram": Histogram,
    "rootsift": RootSift,
    "saved_model": SavedModelExtractor,
    "untrained": _FromFolder(seed=0, local_whitening=True),
}


def build_extractor(text: str, *, defaults: Mapping[str, Any] | None = None, **overrides: Any) -> Extractor:
    """Builds an extractor.

    Args:
      text: a model folder, a folder with a released SavedModel, or ``name(argument=value)`` with a name of
        :data:`EXTRACTORS`, such as ``rootsift``, ``histogram(pyramid=True)``, ``delg(model="DIR", gem_plus=True)`` or
        ``untrained(model="DIR", seed=0)``; the options of the last two are the fields of
        :class:`extraction.config.ExtractionConfig`.
      defaults: arguments that those of the text go before; left out where the extractor knows none of that name.
      **overrides: arguments that go before those of the text; None stands for "not given".

    Raises:
      InputError: no such folder or name, or an argument does not fit.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    if text not in EXTRACTORS and Path(text).is_dir():
        name, arguments = "saved_model" if is_saved_model(text) else "delg", {"model": text}
    else:
        try:
            name, arguments = parse(text)
        except InputError as error:
            raise InputError(_choices(text)) from error
        if name not in EXTRACTORS:
            raise InputError(_choices(text))
    accepted = inspect.signature(EXTRACTORS[name]).parameters
    beneath = {key: value for key, value in (defaults or {}).items() if key in accepted}
    arguments = beneath | arguments | given
    return call(EXTRACTORS[name], render(name, arguments), arguments, "extractor")


def _choices(text: str) -> str:
    return f"{text!r} is neither a model folder nor an extractor; the extractors are {', '.join(sorted(EXTRACTORS))}."

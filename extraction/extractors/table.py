"""The extractors by name, and how one is built from text."""

import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.spec import Table, call, check_type, factory_of, parse, render
from delg.presets import PRETRAINED, preset_config
from delg.weights import HUB
from delg.weights.catalogue import WEIGHTS
from extraction.config import OPTIONS, ExtractionConfig
from extraction.extractors.base import Extractor, select_heads
from extraction.extractors.saved_model import OPTIONS as SAVED_MODEL_OPTIONS
from extraction.extractors.saved_model_runner import is_saved_model
from extraction.formats.checks import parts_of
from extraction.pca import NO_PCA, Projections
from extraction.runtimes.table import fastest
from extraction.settings import set_reading


class _OfModel:
    """Extractor of a model's folder; an option that is None is the model's own."""

    def __init__(self, factory: str, options: Sequence[str], **own: Any) -> None:
        """Declares the arguments.

        Args:
          factory: ``"module:factory"``, imported when it is used; it gets the folder and the options.
          options: names of the options.
          **own: further options, with defaults.
        """
        defaults = own | dict.fromkeys(options)
        parameters = [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in defaults.items()]
        self.__signature__ = Signature([Parameter("model", Parameter.KEYWORD_ONLY), *parameters])
        self._factory, self._own = factory, own

    def __call__(self, model: str, **arguments: Any) -> Extractor:
        options = {key: value for key, value in (self._own | arguments).items() if value is not None}
        extractor: Extractor = factory_of("model", {"model": self._factory}, "extractor")(model, **options)
        return extractor


EXTRACTORS: Table = {
    "concat": "extraction.extractors.composed:Concat",
    "delg": _OfModel("extraction.extractors.delg:from_folder", OPTIONS, local_whitening=True, adaptation=True),
    "histogram": "extraction.extractors.histogram:Histogram",
    "pair": "extraction.extractors.composed:Pair",
    "rootsift": "extraction.extractors.rootsift:RootSift",
    "saved_model": _OfModel("extraction.extractors.saved_model:SavedModelExtractor", SAVED_MODEL_OPTIONS),
    "untrained": _OfModel(
        "extraction.extractors.delg:from_folder", OPTIONS, seed=0, local_whitening=True, adaptation=True
    ),
    "xfeat": "extraction.extractors.xfeat:XFeat",
}
PARTS = {"concat": {"parts": "global"}, "pair": {"global_": "global", "local": "local"}}
"""Arguments of composed extractors that are texts of extractors, or lists of such texts, and the head they give."""
OF_HEAD = {"global_scales_ind": "global"} | dict.fromkeys(
    ("max_feature_num", "keypoints", "score_threshold", "iou"), "local"
)
"""Options that concern one head alone."""
FILES = frozenset({"model", "weights"})
"""Arguments that are paths, or names of published weights."""
AUTO = "auto"
UNTRAINED_GLOBAL, UNTRAINED_LOCAL = "efficientnet_lite2", "rootsift"
"""The extractors of ``auto``."""
WITHOUT_MODEL = ("histogram", "rootsift", "xfeat")
"""Extractors that need no folder."""
OF_MACHINE = ("runtime",)
"""Options that another machine may choose otherwise."""
OF_NETWORK = ("runtime", "precision")
"""Options of how the network of a model is computed."""
NAMES = frozenset({AUTO, *EXTRACTORS, *PRETRAINED})
"""All words for an extractor, besides folders and plug-ins."""


def resolved(text: str) -> str:
    """The text itself; for ``auto``, that of the best extractor that needs no training and can be had here.

    It is ``pair(global="efficientnet_lite2", local="rootsift")``, where the network runs on the fastest runtime that is
    installed; where the published weights can neither be fetched nor kept, ``rootsift``, and the error stream says why.
    """
    if text != AUTO:
        return text
    from delg import weights

    try:
        weights.path(UNTRAINED_GLOBAL)
    except weights.UnavailableError as error:
        print(f"{error} --model={AUTO} is {UNTRAINED_LOCAL}.", file=sys.stderr, flush=True)
        return UNTRAINED_LOCAL
    runtime = fastest()
    text = render(UNTRAINED_GLOBAL, {"runtime": runtime} if runtime else {})
    return render("pair", {"global": text, "local": UNTRAINED_LOCAL})


def made_by(settings: Mapping[str, Any]) -> str | None:
    """The text of the extractor that features were made by, as far as their settings say it.

    Args:
      settings: of the features.

    Returns:
      A text for :func:`build_extractor`, with the recorded options; None where a folder is needed that settings do not
      name, or where nothing is recorded. The settings of the built extractor tell whether the two agree.
    """
    kind = settings.get("extractor")
    parts = {name: made_by(part) for name, part in parts_of(dict(settings)).items()}
    if None in parts.values():
        return None
    if kind == "pair":
        return render(kind, parts)
    if kind == "concat":
        return render(kind, {"parts": list(parts.values()), "weights": settings.get("weights")})
    names = {entry.sha256: name for name, entry in WEIGHTS.items()}
    published = names.get(str(settings.get("weights_sha256")))
    if kind == "delg" and published in PRETRAINED:
        usual = {field.name: field.default for field in fields(ExtractionConfig)}
        usual |= preset_config(str(published))["extraction"]
        return render(str(published), _unusual({name: usual[name] for name in OPTIONS}, settings, OF_MACHINE))
    if kind in WITHOUT_MODEL and ("weights_sha256" not in settings or published == kind):
        parameters = inspect.signature(factory_of(kind, EXTRACTORS, "extractor")).parameters
        return render(kind, _unusual({name: one.default for name, one in parameters.items()}, settings))
    return None


def _unusual(usual: Mapping[str, Any], settings: Mapping[str, Any], left_out: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that differ from usual ones, by the names of these; tuples are recorded as lists."""
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in usual.items()}
    return {
        name: settings[name]
        for name, value in listed.items()
        if name in settings and settings[name] != value and name not in left_out
    }


def build_extractor(text: str, *, defaults: Mapping[str, Any] | None = None, **overrides: Any) -> Extractor:
    """Builds an extractor.

    Args:
      text: a model folder, a folder with a released SavedModel, a preset with published weights such as
        ``efficientnet_lite2`` (which is ``delg(model="efficientnet_lite2")``), a repository ``hf://org/name`` of the
        Hugging Face Hub, or ``name(argument=value)`` with a name of :data:`EXTRACTORS`, such as ``rootsift``,
        ``histogram(pyramid=True)``, ``delg(model="DIR", gem_plus=True)``, ``untrained(model="DIR", seed=0)`` or
        ``pair(global="DIR", local="rootsift")``, or with ``module:Class`` of a subclass of
        :class:`extraction.extractors.base.Extractor`, or ``auto``, see :func:`resolved`. The options of ``delg`` and
        ``untrained`` are the fields of :class:`extraction.config.ExtractionConfig`.
      defaults: arguments that those of the text take precedence over; left out where the extractor has no such
        argument.
      **overrides: arguments that take precedence over those of the text; None stands for "not given". Those of a
        composed extractor go to all parts that have them and whose head they concern.

    Raises:
      InputError: no such folder or name, a plug-in cannot be imported or is no extractor, or an argument does not fit.
    """
    text = resolved(text)
    given = {key: value for key, value in overrides.items() if value is not None}
    name, arguments = _named(text)
    factory = factory_of(name, EXTRACTORS, "extractor")
    accepted = inspect.signature(factory).parameters
    fitting = {key: value for key, value in (defaults or {}).items() if key in accepted}
    of_parts = _options_of_parts(name, arguments)
    arguments = fitting | arguments | {key: value for key, value in given.items() if key not in of_parts}
    written = render(name, arguments)
    if name in WITHOUT_MODEL and (of_network := [key for key in OF_NETWORK if key in arguments]):
        raise InputError(f"{name} computes in one way only: {' and '.join(of_network)} are options of model folders.")
    for key, head in PARTS.get(name, {}).items():
        if key in arguments:
            arguments[key] = _parts(arguments[key], head, written, defaults=defaults, **given)
    extractor: Extractor = call(factory, written, arguments, "extractor")
    check_type(extractor, Extractor, text, "extractor")
    return extractor


def _named(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the arguments that a text stands for.

    Raises:
      InputError: no such folder or name.
    """
    if text.startswith(HUB):
        return "delg", {"model": text}
    if _is_folder(text):
        return "saved_model" if is_saved_model(text) else "delg", {"model": text}
    try:
        name, arguments = parse(text)
    except InputError as error:
        raise InputError(_choices(text)) from error
    if name in PRETRAINED:
        return "delg", {"model": name} | arguments
    if name not in EXTRACTORS and ":" not in name:
        raise InputError(_choices(text))
    return name, arguments


def _is_folder(text: str) -> bool:
    """Whether a text is the folder of a model; names of extractors are none, and long texts no names of files."""
    return text not in EXTRACTORS and text not in PRETRAINED and os.path.isdir(text)  # noqa: PTH112


def _parts(texts: Any, head: str, written: str, *, defaults: Mapping[str, Any] | None, **options: Any) -> Any:
    """The extractor of a text, or those of several texts, with the options that it has."""
    if isinstance(texts, list | tuple):
        return [_parts(text, head, written, defaults=defaults, **options) for text in texts]
    if not isinstance(texts, str):
        raise InputError(f"{written} expects its parts as quoted texts of extractors. Received: {texts!r}")
    texts = resolved(texts)
    accepted = _options(texts, head)
    return build_extractor(
        texts, defaults=defaults, **{key: value for key, value in options.items() if key in accepted}
    )


def _options(text: str, head: str) -> set[str]:
    """Names of the options of an extractor that concern one head."""
    name, arguments = _named(text)
    accepted = inspect.signature(factory_of(name, EXTRACTORS, "extractor")).parameters
    others = {option for option, only in OF_HEAD.items() if only != head}
    return (set(accepted) | _options_of_parts(name, arguments)) - others


def _options_of_parts(name: str, arguments: Mapping[str, Any]) -> set[str]:
    """Names of the options of the parts of a composed extractor; none of another one."""
    options: set[str] = set()
    for key, head in PARTS.get(name, {}).items():
        value = arguments.get(key)
        texts = value if isinstance(value, list | tuple) else [value]
        options = options.union(*(_options(text, head) for text in texts if isinstance(text, str)))
    return options


def absolute(text: str) -> str:
    """The text of an extractor with the absolute paths of files and folders, also in its parts."""
    if _is_folder(text):
        return os.path.abspath(text)  # noqa: PTH100
    try:
        name, arguments = parse(text)
    except InputError:
        return text
    for key in PARTS.get(name, ()):
        parts = arguments.get(key)
        if isinstance(parts, str):
            arguments[key] = absolute(parts)
        elif isinstance(parts, list | tuple):
            arguments[key] = [absolute(part) if isinstance(part, str) else part for part in parts]
    for key in FILES.intersection(arguments):
        path = arguments[key]
        if isinstance(path, str) and path not in PRETRAINED.keys() | WEIGHTS.keys() and Path(path).exists():
            arguments[key] = os.path.abspath(path)  # noqa: PTH100
    return render(name, arguments)


def _choices(text: str) -> str:
    return (
        f"{text!r} is neither a model folder nor an extractor; the extractors are "
        f"{', '.join(sorted(NAMES))}, or module:Class of your own."
    )


@dataclass(frozen=True)
class ExtractorRecipe:
    """Everything that an extractor is built from, as one value that can be sent to another process.

    Attributes:
      model: a model folder or an extractor's text; see :func:`build_extractor`.
      overrides: arguments that take precedence over those of the text.
      defaults: arguments that those of the text take precedence over.
      projections: PCA of the descriptors.
      heads: ``"global"``, ``"local"`` or both; None for all that the extractor gives.
      reading: how images are read, see :func:`extraction.settings.set_reading`.
    """

    model: str
    overrides: dict[str, Any]
    defaults: dict[str, Any]
    projections: Projections = NO_PCA
    heads: tuple[str, ...] | None = None
    reading: dict[str, str] = field(default_factory=dict)

    def build(self) -> Extractor:
        """The extractor.

        Raises:
          InputError: see :func:`build_extractor` and :func:`extraction.extractors.base.select_heads`.
        """
        extractor = build_extractor(self.model, defaults=self.defaults, **self.overrides)
        set_reading(extractor, **self.reading)
        extractor.project(self.projections)
        return select_heads(extractor, self.heads or extractor.heads)

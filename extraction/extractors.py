"""The extractors by name, and how one is built from text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from extraction.histogram import Histogram
from extraction.pipeline import Extractor
from extraction.rootsift import RootSift
from protos.errors import InputError
from protos.spec import build, parse, render


def _delg(
    model: str,
    *,
    image_scales: list[float] | None = None,
    global_scales_ind: list[int] | None = None,
    max_image_size: int | None = None,
    max_feature_num: int | None = None,
    score_threshold: float | None = None,
    keypoints: str | None = None,
) -> Extractor:
    """The model of a folder, with its weights; what is None is the model's own."""
    return _from_folder(locals())


def _untrained(
    model: str,
    seed: int = 0,
    *,
    image_scales: list[float] | None = None,
    global_scales_ind: list[int] | None = None,
    max_image_size: int | None = None,
    max_feature_num: int | None = None,
    score_threshold: float | None = None,
    keypoints: str | None = None,
) -> Extractor:
    """The same model with fresh weights drawn from a seed."""
    return _from_folder(locals())


def _from_folder(arguments: dict[str, Any]) -> Extractor:
    from extraction.delg_extractor import DelgExtractor  # imports Keras

    options = {key: value for key, value in arguments.items() if value is not None}
    return DelgExtractor.from_folder(options.pop("model"), **options)


EXTRACTORS: dict[str, Callable[..., Extractor]] = {
    "delg": _delg,
    "histogram": Histogram,
    "rootsift": RootSift,
    "untrained": _untrained,
}


def build_extractor(text: str, **overrides: Any) -> Extractor:
    """Builds an extractor.

    Args:
      text: a model folder, or ``name(argument=value)`` with a name of :data:`EXTRACTORS`, such as ``rootsift``,
        ``histogram(pyramid=True)`` or ``untrained(model="DIR", seed=0)``.
      **overrides: arguments that go before those of the text; None stands for "not given".

    Raises:
      InputError: no such folder or name, or an argument does not fit.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    if text not in EXTRACTORS and Path(text).is_dir():
        name, arguments = "delg", {"model": text}
    else:
        try:
            name, arguments = parse(text)
        except InputError as error:
            raise InputError(_choices(text)) from error
        if name not in EXTRACTORS:
            raise InputError(_choices(text))
    return build(render(name, arguments | given), EXTRACTORS, "extractor")


def _choices(text: str) -> str:
    return f"{text!r} is neither a model folder nor an extractor; the extractors are {', '.join(sorted(EXTRACTORS))}."

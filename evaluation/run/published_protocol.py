"""The protocols of published models, and the differences between a run and the protocol of a published model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evaluation.run.published_values import rerankers_of
from evaluation.run.rerank_rows import hyper_parameters
from extraction.formats.checks import is_unknown

ROUNDING = 1e-3  # between scales of one protocol, as different programs write them
THREE_SCALES = [0.7071, 1.0, 1.4142]
SEVEN_SCALES = [0.25, 0.3536, 0.5, *THREE_SCALES, 2.0]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Protocol:
    """The protocol of a family of published models.

    Attributes:
      features: settings of the features.
      local: further settings of features with local features.
      junk: when junk leaves a ranking that is reranked.
      rerank: arguments by reranker.
    """

    features: Settings
    local: Settings = field(default_factory=dict)
    junk: str = ""
    rerank: Mapping[str, Settings] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A run that the user compares with a published model.

    Attributes:
      features: settings of the features, by their origin in words.
      local: whether there are local features.
      junk: when junk leaves a ranking.
      rerankers: row suffix to the reranker's text.
    """

    features: Mapping[str, Settings]
    local: bool
    junk: str
    rerankers: Mapping[str, str]


DELG = Protocol(
    {"global_scales": THREE_SCALES, "max_image_size": 1024, "scale_pooling": "sum"},
    {"image_scales": SEVEN_SCALES, "max_feature_num": 1000},
    "remove_before_rerank",
    {
        "ransac": {
            "top_k": 100,
            "matching_threshold": 1.0,
            "residual": 20.0,
            "ratio": None,
            "model": "affine",
            "trials": 1000,
            "mutual": False,
            "settled": None,
        }
    },
)
SUPERGLOBAL = Protocol(
    {
        "global_scales": THREE_SCALES,
        "max_image_size": -1,
        "scale_rule": "superglobal",
        "scale_pooling": "scale_gem",
        "gem_plus": True,
        "regional_gem": True,
        "relup": True,
    },
    junk="keep",
    rerank={"superglobal": {"m": 400, "k": 9, "beta": 0.15, "expanded_against": "refined"}},
)
PROTOCOLS = {  # by the first letters of the models' names
    "arcface_": DELG,
    "cvnet_": Protocol({"global_scales": THREE_SCALES, "max_image_size": -1, "scale_pooling": "sum"}),
    "delg_": DELG,
    "superglobal_": SUPERGLOBAL,
}
OPTIONS: dict[str, Settings] = {  # options of extraction, as the released configurations (.pbtxt) give them
    "arcface_r101_gldv2clean": {"image_scales": [0.70710677, 1.0, 1.4142135]},
    "delg_r50_gldv1": {"score_threshold": 175.0, "keypoints": "released"},
    "delg_r101_gldv1": {"score_threshold": 166.1, "keypoints": "released"},
    "delg_r50_gldv2clean": {"score_threshold": 454.6, "keypoints": "released"},
    "delg_r101_gldv2clean": {"score_threshold": 357.48, "keypoints": "released"},
}


def protocol_of(model: str) -> Protocol:
    """The protocol of a model of :data:`evaluation.run.published_values.MODELS`."""
    family = next(protocol for start, protocol in PROTOCOLS.items() if model.startswith(start))
    return replace(family, local={**family.local, **OPTIONS.get(model, {})})


def with_published(model: str | None, benchmark: str, claim: Claim) -> list[str]:
    """The differences between a run and the protocol of a published model.

    Args:
      model: a name of :data:`evaluation.run.published_values.MODELS`, or None.
      benchmark: a benchmark on which the model has values.
      claim: the run; features without any recorded settings are skipped, and a single missing setting counts as a
        difference.

    Returns:
      A sentence for each part that differs.
    """
    if model is None:
        return []
    published = protocol_of(model)
    reranked = {name for name in rerankers_of(model, benchmark) if name in claim.rerankers}
    settings = {**published.features, **(published.local if claim.local and "ransac" in reranked else {})}
    lines = [
        _lines(settings, _summary(values), where) for where, values in claim.features.items() if not is_unknown(values)
    ]
    for name in sorted(reranked & published.rerank.keys()):
        text = claim.rerankers[name]
        lines.append(_lines(published.rerank[name], hyper_parameters(text), f"--rerank={text}"))
    if reranked and published.junk and claim.junk != published.junk:
        lines.append([f"--junk={published.junk} (this run has {claim.junk})"])
    return [f"The published {model} was run with {'; '.join(differing)}." for differing in lines if differing]


def _lines(expected: Settings, recorded: Settings, where: str) -> list[str]:
    """Each setting that differs or is not recorded."""
    return [
        f"{key}={value!r} ({where} {f'has {recorded[key]!r}' if key in recorded else 'records none'})"
        for key, value in expected.items()
        if key not in recorded or not _equal(value, recorded[key])
    ]


def _summary(settings: Settings) -> Settings:
    """The settings, with the values of the global descriptor's scales instead of their indices."""
    scales, indices = settings.get("image_scales"), settings.get("global_scales_ind")
    return {**settings, "global_scales": [scales[i] for i in indices]} if scales and indices else settings


def _equal(expected: Any, recorded: Any) -> bool:
    if isinstance(expected, list) and isinstance(recorded, list) and len(expected) == len(recorded):
        return all(
            abs(expected_scale - recorded_scale) < ROUNDING
            for expected_scale, recorded_scale in zip(expected, recorded)
        )
    return bool(expected == recorded)

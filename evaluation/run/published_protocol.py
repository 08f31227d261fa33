"""What a claim to be a published model asks for: how its values were made, and what is another way of making them."""

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
    """How the values of published models were made.

    Attributes:
      features: settings of the features.
      local: further ones of those with local features.
      junk: when junk leaves a ranking, where it is reranked.
      rerank: arguments of the rerankers.
    """

    features: Settings
    local: Settings = field(default_factory=dict)
    junk: str = ""
    rerank: Mapping[str, Settings] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """What is meant to be a published model.

    Attributes:
      features: settings of its features, by where they are from, in words.
      local: whether they have local features.
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
            "score": "inliers",
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
PROTOCOLS = {  # of the models that start so
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
    """How the values of a model of :data:`evaluation.run.published_values.MODELS` were made."""
    found = next(protocol for start, protocol in PROTOCOLS.items() if model.startswith(start))
    return replace(found, local={**found.local, **OPTIONS.get(model, {})})


def with_published(model: str | None, benchmark: str, claim: Claim) -> list[str]:
    """What a claim does not share with how the published model's values were made.

    Args:
      model: a name of :data:`evaluation.run.published_values.MODELS`, or None.
      benchmark: on which it has values.
      claim: what is run; features of which nothing is recorded are passed over, and a setting that others do not record
        is another one.

    Returns:
      A sentence for each part that differs.
    """
    if model is None:
        return []
    wanted = protocol_of(model)
    reranked = {name for name in rerankers_of(model, benchmark) if name in claim.rerankers}
    settings = {**wanted.features, **(wanted.local if claim.local and "ransac" in reranked else {})}
    lines = [
        _lines(settings, _summary(found), where) for where, found in claim.features.items() if not is_unknown(found)
    ]
    for name in sorted(reranked & wanted.rerank.keys()):
        text = claim.rerankers[name]
        lines.append(_lines(wanted.rerank[name], hyper_parameters(text), f"--rerank={text}"))
    if reranked and wanted.junk and claim.junk != wanted.junk:
        lines.append([f"--junk={wanted.junk} (this run has {claim.junk})"])
    return [f"The published {model} was run with {'; '.join(found)}." for found in lines if found]


def _lines(wanted: Settings, found: Settings, where: str) -> list[str]:
    """Each setting that is another one or is not recorded."""
    return [
        f"{key}={value!r} ({where} {f'has {found[key]!r}' if key in found else 'records none'})"
        for key, value in wanted.items()
        if key not in found or not _equal(value, found[key])
    ]


def _summary(settings: Settings) -> Settings:
    """The settings with the scales of the global descriptor by their values."""
    scales, chosen = settings.get("image_scales"), settings.get("global_scales_ind")
    return {**settings, "global_scales": [scales[i] for i in chosen]} if scales and chosen else settings


def _equal(wanted: Any, recorded: Any) -> bool:
    if isinstance(wanted, list) and isinstance(recorded, list) and len(wanted) == len(recorded):
        return all(abs(one - other) < ROUNDING for one, other in zip(wanted, recorded))
    return bool(wanted == recorded)

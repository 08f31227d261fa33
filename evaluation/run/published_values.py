"""Published mean average precision on the revisited benchmarks, for comparison with ours.

Every value was read in the named source, agrees with a paper's abstract, or is quoted by others; the source says which.
A value belongs to one model and one protocol only (``docs/comparing.md``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delg.common.errors import InputError

DELG = "Cao et al., ECCV 2020 (arXiv 2001.05027), released DELG_INSTRUCTIONS.md"
RRT = "Tan et al., ICCV 2021, README of RerankingTransformer, official DELG features"
GLD = "README of the Google Landmarks models, RN101-ArcFace"
SUPERGLOBAL = "Shao et al., ICCV 2023 (arXiv 2308.06954), R101"
SUPERGLOBAL_R1M = f"{SUPERGLOBAL}; agrees with the differences in its abstract"
SUPERGLOBAL_FIRST, SUPERGLOBAL_LAST = f"{SUPERGLOBAL}, as quoted by others", f"{SUPERGLOBAL}, as on Papers with Code"
CVNET = "Lee et al., CVPR 2022, as in the main table of arXiv 2308.06954; agrees with that abstract"
OVERLAP = (
    "If the model was trained on GLDv2 or GLDv2-clean, its training set holds landmarks of {name} (Song et al., CVPR "
    "2024, arXiv 2404.01524, who removed them: RGLDv2-clean); compare it with models of the same training set only."
)
REVISITED = ("roxford5k", "rparis6k")


@dataclass(frozen=True)
class Published:
    """One row of a paper.

    Attributes:
      model: a name for ``--published``.
      row: our comparable row: ``"global"``, ``"global+ransac"``, ``"global+superglobal"``; ``"global+"`` and another
        reranker's name where we have no such row.
      values: ``{benchmark: {protocol: mAP in percent}}``.
      source: paper or page, and table.
    """

    model: str
    row: str
    values: Mapping[str, Mapping[str, float]]
    source: str


def _both(oxford: tuple[float, float], paris: tuple[float, float] | None = None) -> dict[str, dict[str, float]]:
    """Medium and hard values of both benchmarks."""
    pairs = {"roxford5k": oxford, "rparis6k": paris}
    return {name: {"medium": pair[0], "hard": pair[1]} for name, pair in pairs.items() if pair}


def _hard(**values: float) -> dict[str, dict[str, float]]:
    """Hard values only; ``roxford5k_r1m`` is the set with the distractors."""
    return {name.replace("_r1m", "+r1m"): {"hard": value} for name, value in values.items()}


PUBLISHED = (
    Published("delg_r50_gldv1", "global", _both((69.71, 45.11)), DELG),
    Published("delg_r50_gldv1", "global", {"rparis6k": {"medium": 81.6, "hard": 63.4}}, RRT),
    Published("delg_r50_gldv1", "global+ransac", _both((75.42, 53.72)), DELG),
    Published("delg_r101_gldv1", "global", _both((73.2, 51.2), (82.4, 64.7)), RRT),
    Published("delg_r50_gldv2clean", "global", _both((73.6, 51.0), (85.7, 71.5)), RRT),
    Published("delg_r101_gldv2clean", "global", _both((76.3, 55.6), (86.6, 72.4)), RRT),
    Published("arcface_r101_gldv2clean", "global", _both((76.23, 55.54)), GLD),
    Published("superglobal_r101", "global", _hard(roxford5k=72.1, rparis6k=83.5), SUPERGLOBAL_FIRST),
    Published("superglobal_r101", "global", _hard(roxford5k_r1m=61.9), SUPERGLOBAL_R1M),
    Published("superglobal_r101", "global+superglobal", _hard(roxford5k=80.2, rparis6k=86.7), SUPERGLOBAL_LAST),
    Published("superglobal_r101", "global+superglobal", _hard(roxford5k_r1m=71.1), SUPERGLOBAL_R1M),
    Published("cvnet_r101", "global+cvnet", _hard(roxford5k_r1m=67.4), CVNET),
)
MODELS = tuple(sorted({entry.model for entry in PUBLISHED}))


def check_model(model: str | None, benchmark: str) -> None:
    """Checks that a published model is known, and that it has values on a benchmark.

    Raises:
      InputError: the model is unknown, or has no values on the benchmark.
    """
    if model and model not in MODELS:
        raise InputError(f"Unknown published model {model!r}; the choices are {', '.join(MODELS)}.")
    benchmarks = sorted({name for entry in PUBLISHED if entry.model == model for name in entry.values})
    if model and benchmark not in benchmarks:
        raise InputError(f"No value of {model} on {benchmark} is known; there are some on {', '.join(benchmarks)}.")


def rerankers_of(model: str, benchmark: str) -> list[str]:
    """The rerankers with published values of a model on a benchmark."""
    rows = [entry.row for entry in PUBLISHED if entry.model == model and benchmark in entry.values]
    return sorted({row.partition("+")[2] for row in rows} - {""})


def beside(benchmark: str, ours: Mapping[str, Mapping[str, float]], model: str | None = None) -> list[dict[str, Any]]:
    """The published values of a benchmark, a line each.

    Args:
      benchmark: name of the benchmark.
      ours: ``{row: {protocol: mAP in percent}}``.
      model: the published model that ours is compared with; only its lines get ``ours`` and ``difference``.

    Returns:
      Lines of ``model``, ``row``, ``protocol``, ``published``, ``source``, and maybe ``ours`` and ``difference``.
    """
    lines: list[dict[str, Any]] = []
    for entry in PUBLISHED:
        for protocol, value in entry.values.get(benchmark, {}).items():
            line: dict[str, Any] = {"model": entry.model, "row": entry.row, "protocol": protocol, "published": value}
            our_value = ours.get(entry.row, {}).get(protocol) if entry.model == model else None
            if our_value is not None:
                line |= {"ours": our_value, "difference": our_value - value}
            lines.append(line | {"source": entry.source})
    return lines


def overlap(benchmark: str) -> str | None:
    """The warning that training and test set may share landmarks; None for benchmarks without known overlap."""
    name = benchmark.partition("+")[0]
    return OVERLAP.format(name=name) if name in REVISITED else None

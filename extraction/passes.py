"""Which runs of the network describe one image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from extraction.scaling import SCALE_RULES, ScaleRule, Size


@dataclass(frozen=True)
class Pass:
    """One run of the network.

    Attributes:
      scale: nominal factor.
      size: ``(width, height)`` of its input.
      heads: what is computed.
    """

    scale: float
    size: Size
    heads: tuple[str, ...]


def plan_passes(
    scales: Sequence[float],
    global_scales_ind: Sequence[int],
    base: Size,
    min_sides: Mapping[str, int],
    rule: ScaleRule = SCALE_RULES["delg"],
) -> list[Pass]:
    """What is run for one image, in the order of the scales.

    Local features come from every scale, the global descriptor from the chosen ones; where the shorter side of a scale
    would fall below what a head accepts, that head leaves the scale out. Where that leaves it none, the largest of them
    is run with its sides raised to the least, so that every image of one pixel or more is described.

    Args:
      scales: factors.
      global_scales_ind: indices of those of the global descriptor.
      base: ``(width, height)`` at scale 1.
      min_sides: smallest side that each head of the model, ``"global"`` or ``"local"``, accepts.
      rule: gives the sizes.
    """
    sizes = [rule.size(base, scale) for scale in scales]
    chosen = {"global": sorted(set(global_scales_ind)), "local": list(range(len(scales)))}
    heads: dict[int, list[str]] = {i: [] for i in range(len(scales))}
    for head in ("global", "local"):
        if head not in min_sides:
            continue
        usable = [i for i in chosen[head] if min(sizes[i]) >= min_sides[head]]
        for i in usable or [max(chosen[head], key=lambda i: scales[i])]:
            heads[i].append(head)
    passes = []
    for i, wanted in heads.items():
        if wanted:
            least = max(min_sides[head] for head in wanted)
            width, height = sizes[i]
            passes.append(Pass(scales[i], (max(width, least), max(height, least)), tuple(wanted)))
    return passes

"""Geometric verification of 100 candidates with 1000 features each, against the released algorithm.

The reference is :mod:`scripts.bench.released_matching`. Before anything is timed it must reproduce the inliers that
the released code found on the golden pairs, and find the tentative matches that ours finds.

The scene: every feature has a tentative match. Distances of true and false ones are as far apart as in the golden
pairs (there 0.17-0.46 and 0.62-0.92).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features, Floats
from matching.local.matching import nearest
from matching.ranking import Ranking
from matching.rerankers.ransac import Ransac
from matching.source import MemorySource
from scripts.bench.measure import Options, check, interleaved, on_all_cores
from scripts.bench.released_matching import (
    Pairs,
    check_golden,
    check_golden_inliers,
    image,
    on_golden,
    on_photos,
    reference,
)

CANDIDATES, FEATURES, DIMENSION = 100, 1000, 128
SIZE = 1024, 768
AT_ONCE = 10  # pairs of a reference round
TRUE_NOISE, FALSE_NOISE = (0.2, 0.45), (0.62, 0.9)  # norms of the noise that is added to a descriptor
JITTER = 1.0  # pixels


def unit(rows: NDArray[np.floating]) -> Floats:
    """Rows of norm 1."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def scene(
    share: float, seed: int, separable: bool = True, features: int = FEATURES, dimension: int = DIMENSION
) -> tuple[Features, list[Features], list[Pairs]]:
    """A query and its candidates.

    Args:
      share: of each candidate's features that truly match.
      seed: of the random generator.
      separable: whether the distances of descriptors separate true from false matches.
      features: of each image.
      dimension: of a descriptor.

    Returns:
      The query, the candidates, and for each its true pairs ``(query, index)``.
    """
    rng = np.random.default_rng(seed)
    keypoints, descriptors = rng.random((features, 2)) * SIZE, unit(rng.normal(size=(features, dimension)))
    candidates, truths = [], []
    count = round(share * features)
    for i in range(CANDIDATES):
        angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(0.7, 1.4, 2)
        linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
        points = rng.random((features, 2)) * SIZE
        points[:count] = keypoints[:count] @ linear.T + rng.uniform(-200, 200, 2) + rng.normal(size=(count, 2)) * JITTER
        norms = rng.uniform(*FALSE_NOISE, (features, 1))
        norms[:count] = rng.uniform(*(TRUE_NOISE if separable else FALSE_NOISE), (count, 1))
        noisy = unit(descriptors + norms * unit(rng.normal(size=descriptors.shape)))
        order = rng.permutation(features)
        candidates.append(image(f"candidate{i}", points[order], noisy[order], SIZE))
        truths.append(np.stack([np.arange(count), np.argsort(order)[:count]], axis=1))
    return image("query", keypoints, descriptors, SIZE), candidates, truths


def check_matches(query: Features, candidates: Sequence[Features]) -> None:
    """Ours and the reference must see the same tentative matches, one for every feature."""
    for candidate in candidates[:AT_ONCE]:
        ours = nearest(query.descriptors, candidate.descriptors)[0]
        check(np.array_equal(ours, reference(query, candidate)[0]), f"tentative matches of {candidate.name}")
        check(len(ours) == FEATURES, "every feature has a tentative match")


def recall(pairs: Pairs, truth: Pairs) -> float:
    """Share of the true pairs that are found."""
    return len({*map(tuple, pairs.tolist())} & {*map(tuple, truth.tolist())}) / max(len(truth), 1)


def timed(query: Features, candidates: list[Features], options: Options, bound: bool) -> dict[str, float]:
    """Seconds per pair of ours, of the reference, and of the bound: the products of the descriptors on all cores."""
    sources = MemorySource([query]), MemorySource(candidates)
    first_stage = Ranking(np.arange(CANDIDATES)[None], np.zeros((1, CANDIDATES), np.float32))

    def referred(turn: int) -> None:
        for i in range(AT_ONCE):
            reference(query, candidates[(turn * AT_ONCE + i) % CANDIDATES])

    actions = {
        "ours": lambda _: Ransac(CANDIDATES, threads=options.threads)(*sources, first_stage),
        "reference": referred,
    }
    if bound:
        actions["bound"] = lambda _: on_all_cores(
            lambda other: query.descriptors @ other.descriptors.T, candidates, options.threads
        )
    pairs = {"ours": CANDIDATES, "reference": AT_ONCE, "bound": CANDIDATES}
    return {name: seconds / pairs[name] for name, seconds in interleaved(actions, options.repeats).items()}


def found(query: Features, candidates: list[Features], truths: list[Pairs]) -> float:
    """Mean share of the true inliers that ours finds."""
    reranker = Ransac()
    return float(np.mean([recall(reranker.inliers(query, c).pairs, t) for c, t in zip(candidates, truths)]))


def row(options: Options) -> dict:
    """Measures per pair of images, and how well ours does where few or no matches are true."""
    check_golden()
    query, candidates, truths = scene(0.3, seed=0)
    check_matches(query, candidates)
    best = [recall(reference(query, c)[1], t) for c, t in zip(candidates[:AT_ONCE], truths)]
    share = found(query, candidates, truths)
    check(bool(share >= np.mean(best)), f"true inliers found, {share:.3f} against {np.mean(best):.3f}")
    seconds = timed(query, candidates, options, bound=True)
    check_golden_inliers()
    return {
        "name": "ransac_rerank",
        "unit": "image pair",
        **seconds,
        "notes": {"true inliers found": share} | few(options) | on_golden() | on_photos(),
    }


def few(options: Options) -> dict[str, float]:
    """At 5 % inliers, and at none."""
    query, candidates, truths = scene(0.05, seed=1)
    seconds = timed(query, candidates, options, bound=False)
    inseparable = scene(0.05, seed=2, separable=False)
    query_none, unrelated, _ = scene(0, seed=3)
    reranker = Ransac()
    share = found(query, candidates, truths)
    check(share >= 0.8, f"at 5 % inliers {share:.3f} of the true ones are found")
    counts = [max(len(reranker.inliers(query_none, other)) for other in unrelated)]
    counts.append(max(len(reference(query_none, other)[1]) for other in unrelated))
    check(counts[0] <= counts[1], f"largest counts of pairs that do not match, {counts}")
    return {
        "5 %: true inliers found": round(share, 3),
        "5 %: true inliers found by the reference": round(
            float(np.mean([recall(reference(query, c)[1], t) for c, t in zip(candidates[:AT_ONCE], truths)])), 3
        ),
        "5 %: ours, ms": round(1000 * seconds["ours"], 3),
        "5 %: ratio": round(seconds["reference"] / seconds["ours"], 1),
        "5 %, distances tell nothing: true inliers found": round(found(*inseparable), 3),
        "none: largest count of 100 pairs": counts[0],
        "none: largest count of the reference": counts[1],
    }

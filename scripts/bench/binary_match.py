"""The matching stage of 100 candidates with 1000 features each: binary local descriptors against floats.

Both are one-way nearest neighbours with the threshold on distances, on the same pool of threads. Before anything is
timed the binary matches must be those of the products of the signs. The bound is the counting of bits alone: two words
for each pair of features, already combined and in the cache.
"""

from collections.abc import Sequence

import numpy as np

from extraction.features import Features
from extraction.store.encoding import as_stored
from matching.local import matching
from scripts.bench.measure import Options, check, interleaved, on_all_cores
from scripts.bench.ransac_rerank import CANDIDATES, DIMENSION, FEATURES, scene

AT_ONCE = 10  # pairs that are checked
STEP = 100  # rows of counts at once, 800 kB: they stay in a core's cache


def check_matches(query: Features, candidates: Sequence[Features], floats: Sequence[Features]) -> None:
    """Binary matches must be the nearest by the product of signs, those of fewer than a third of the bits.

    Args:
      query: with floats.
      candidates: binary.
      floats: the same with floats.
    """
    signs = np.where(query.descriptors > 0, 1, -1)
    for binary, full in zip(candidates[:AT_ONCE], floats):
        differing = (DIMENSION - signs @ np.where(full.descriptors > 0, 1, -1).T) // 2
        best = differing.argmin(axis=1)
        near = np.flatnonzero(3 * differing.min(axis=1) < DIMENSION)
        pairs, _ = matching.nearest_bits(as_stored(query, "binary").descriptors, binary.descriptors)
        check(np.array_equal(pairs, np.stack([near, best[near]], axis=1)), f"tentative matches of {binary.name}")


def row(options: Options) -> dict:
    """Measures per pair of images."""
    query, candidates, truths = scene(0.3, seed=0)
    packed, signs = as_stored(query, "binary"), [as_stored(candidate, "binary") for candidate in candidates]
    check_matches(query, signs, candidates)
    words = np.random.default_rng(0).integers(0, 1 << 63, (STEP, FEATURES), np.uint64)
    counts = [np.empty(words.shape, np.uint8) for _ in signs]

    def counted(out: np.ndarray) -> None:
        for _ in range(FEATURES * (DIMENSION // 64) // STEP):
            np.bitwise_count(words, out=out)

    actions = {
        "ours": lambda _: on_all_cores(lambda other: matching.tentative(packed, other), signs, options.threads),
        "reference": lambda _: on_all_cores(
            lambda other: matching.tentative(query, other), candidates, options.threads
        ),
        "bound": lambda _: on_all_cores(counted, counts, options.threads),
    }
    if not hasattr(np, "bitwise_count"):
        actions.pop("bound")
    seconds = {name: total / CANDIDATES for name, total in interleaved(actions, options.repeats).items()}
    kept = [
        len({*map(tuple, matching.tentative(packed, c).tolist())} & {*map(tuple, t.tolist())})
        for c, t in zip(signs, truths)
    ]
    return {
        "name": "binary_match",
        "unit": "image pair",
        **seconds,
        "notes": {
            "bytes of a descriptor": packed.descriptors.shape[1],
            "bytes of a float one": query.descriptors[0].nbytes,
            "true matches kept": round(float(np.mean(kept)) / len(truths[0]), 3),
        },
    }

"""The released matching of two images as a reference, and how ours compares with it where the truth is known.

In one process: an exact k-d tree for one-way nearest neighbours, then scikit-image's RANSAC of an affine transform.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import ransac
from skimage.transform import AffineTransform

from extraction.describing import describe
from extraction.extractors.table import build_extractor
from extraction.features import Features, Floats
from extraction.images import ImageRef
from matching.local import matching
from matching.local.transforms import apply
from scripts.bench.measure import check

PROJECT = Path(__file__).parents[2]
SHARED = PROJECT.parent / "shared"
GOLDEN = (
    SHARED / "golden" / "local_match.npz",  # all pairs, where they are
    PROJECT / "tests" / "golden" / "data" / "local_match.npz",  # one of them
)
GRAF = SHARED / "pairs" / "graf"
SEEDS = range(10)
RIGHT = 5.0  # pixels from the truth

Pairs = NDArray[np.int64]


def image(name: str, keypoints: NDArray[np.floating], descriptors: Floats, size: tuple[int, int]) -> Features:
    """An image with these local features."""
    ones = np.ones(len(keypoints), np.float32)
    return Features(name, size, np.zeros(0, np.float32), keypoints.astype(np.float32), descriptors, ones, ones)


def reference(query: Features, index: Features, seed: int = 0, residual: float = 20) -> tuple[Pairs, Pairs]:
    """Tentative matches and inliers as the released code finds them, with its defaults; its seed is 0."""
    distances, rows = cKDTree(index.descriptors).query(query.descriptors)
    found = np.flatnonzero(distances < 1.0)
    pairs = np.stack([found, rows[found]], axis=1)
    if len(pairs) <= 3:
        return pairs, pairs[:0]
    points = index.keypoints[pairs[:, 1]], query.keypoints[pairs[:, 0]]
    _, inliers = ransac(points, AffineTransform, min_samples=3, residual_threshold=residual, max_trials=1000, rng=seed)
    return pairs, pairs[:0] if inliers is None else pairs[inliers]


def golden() -> Iterator[tuple[str, Features, Features, dict[str, NDArray]]]:
    """Name, query, index image and arrays of the pairs that the released code has matched."""
    arrays = np.load(next(path for path in GOLDEN if path.exists()))
    for case in sorted({field.split("/")[0] for field in arrays.files if field.endswith("/query_locations")}):
        fields = {field.split("/")[1]: arrays[field] for field in arrays.files if field.startswith(f"{case}/")}
        query, index = (
            image(
                side,
                fields[f"{side}_locations"][:, ::-1],
                fields[f"{side}_descriptors"].astype(np.float32),
                (1024, 768),
            )
            for side in ("query", "index")
        )
        yield case, query, index, fields


def check_golden() -> None:
    """The reference must find what the released code found, with its seed 0."""
    for case, query, index, fields in golden():
        pairs, inliers = reference(query, index)
        check(np.array_equal(pairs, fields["putative_pairs"]), f"tentative matches of {case}")
        check(np.array_equal(inliers, pairs[fields["inlier_mask"]]), f"inliers of {case} with seed 0")


def check_golden_inliers() -> None:
    """Ours must find at least as many inliers as the median of ten runs of the released code, on every pair."""
    for case, query, index, fields in golden():
        found, median = len(matching.match(query, index)), np.median(fields["inliers_seeds0_9"])
        check(found >= median, f"inliers of {case}, {found} against {median:g}")


def on_golden() -> dict[str, str]:
    """Inliers of ours on the golden pairs, beside the median of the released code with ten seeds."""
    return {
        f"inliers on {case}, ours and released": (
            f"{len(matching.match(query, index))} and {np.median(fields['inliers_seeds0_9']):g}"
        )
        for case, query, index, fields in golden()
    }


def on_photos() -> dict[str, str]:
    """Inliers within 5 px of the true homography on real views of a wall, where the photos are."""
    if not GRAF.exists():
        return {}
    extractor, notes = build_extractor("rootsift"), {}
    first, *others = (describe(extractor, ImageRef(f"img{i}", str(GRAF / f"img{i}.png"))) for i in range(1, 7))
    for i, view in enumerate(others, 2):
        truth = np.loadtxt(GRAF / f"H1to{i}p")

        def right(pairs: Pairs, view: Features = view, truth: NDArray[np.float64] = truth) -> int:
            expected = apply(truth, first.keypoints[pairs[:, 1]])
            return int((np.linalg.norm(expected - view.keypoints[pairs[:, 0]], axis=1) < RIGHT).sum())

        released = np.median([right(reference(view, first, seed)[1]) for seed in SEEDS])
        notes[f"right inliers on graf 1-{i}, ours and reference"] = (
            f"{right(matching.match(view, first).pairs)} and {released:g}"
        )
    return notes

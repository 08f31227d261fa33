"""Extraction in int8 on OpenVINO against the released algorithm in float32, and what int8 costs.

The ranges come from other photos than those that are measured. The loss, where the photos lie beside the project: mAP
of each photo of a subset of products against all others, and RANSAC inliers between the first view of a wall and the
rest.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metrics.ranking import oxford_ap
from extraction.calibration import quantise
from extraction.describing import describe
from extraction.extractors.delg import DelgExtractor
from extraction.images import ImageRef, list_images
from extraction.runtimes.openvino_runtime import INT8_FILE
from matching.rerankers.ransac import Ransac
from scripts.bench.extract_data import extractor, measured, model_folder, photos
from scripts.bench.measure import Options

SHARED = Path(__file__).parents[3] / "shared"
SAMPLE = 4  # photos that give the ranges
EVERY = 8  # of the product photos


def row(options: Options) -> dict[str, Any]:
    """Measures per image."""
    folder = model_folder(options)
    plain = extractor(folder, "openvino", "float32")
    if not Path(folder, INT8_FILE).exists():
        quantise(plain, photos(options, SAMPLE, first=100), photos(options, 1, first=100 + SAMPLE), folder)
    found = measured(options, "extract_int8", "int8", lambda agreement: agreement.global_cosine > 0.99)
    if SHARED.exists():
        found["notes"] |= loss(plain, extractor(folder, "openvino", "int8"))
    return found


def loss(plain: DelgExtractor, quantised: DelgExtractor) -> dict[str, Any]:
    """MAP in percent and inliers by both precisions, with the longest side at 512 pixels."""
    both = [DelgExtractor(e.model, replace(e.config, max_image_size=512), folder=e.folder) for e in (plain, quantised)]
    products = list_images(SHARED / "photos" / "grocery" / "test")[::EVERY]
    walls = list_images(SHARED / "pairs" / "graf")
    maps = [round(100 * mean_ap(e, products), 2) for e in both]
    inliers = [wall_inliers(e, walls) for e in both]
    return {
        f"mAP of {len(products)} product photos, float32 and int8": f"{maps[0]}, {maps[1]}",
        "inliers of graf 1 and 2 to 6, float32 and int8": f"{inliers[0]}, {inliers[1]}",
    }


def mean_ap(one: DelgExtractor, images: list[ImageRef]) -> float:
    """Mean average precision of every photo against all others; the folder says what is alike."""
    vectors = np.array([describe(one, ref).global_descriptor for ref in images])
    labels = np.array([Path(ref.name).parent.name for ref in images])
    values = []
    for i, label in enumerate(labels):
        others = [j for j in np.argsort(-(vectors @ vectors[i]), kind="stable") if j != i]
        ranks = np.flatnonzero(labels[others] == label)
        if len(ranks):
            values.append(oxford_ap(ranks))
    return float(np.mean(values))


def wall_inliers(one: DelgExtractor, images: list[ImageRef]) -> list[int]:
    """Inliers of the first with each of the others."""
    first, *others = (describe(one, ref) for ref in images)
    reranker = Ransac()
    return [len(reranker.inliers(first, other)) for other in others]

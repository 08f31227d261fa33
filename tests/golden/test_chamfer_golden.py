"""Chamfer similarity and optimal transport of local descriptors against the released Sinkhorn."""

import numpy as np
import pytest

from matching.rerankers.chamfer_ot import ChamferOT
from matching.rerankers.transport import plans
from tests.golden.conftest import SECOND, largest_difference, load_golden
from tests.matching.helpers import local

SCORE, PLAN = 3e-5, 4e-6
PAIRS = range(6)


@pytest.fixture(scope="module")
def golden(request) -> dict[str, np.ndarray]:
    return load_golden(request.config, "rerankers", SECOND)


def pair(golden, i):
    """Query and image of a pair without their padding."""
    prefix = f"elvis/pair{i}"
    sides = []
    for side in ("query", "image"):
        descriptors = golden[f"{prefix}/{side}"][~golden[f"{prefix}/{side}_mask"]]
        sides.append(local(np.zeros((len(descriptors), 2)), descriptors))
    return sides


@pytest.mark.parametrize("i", PAIRS)
@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("chamfer_sum", {"dustbin": None}),
        ("chamfer_mean", {"dustbin": None, "mean": True}),
        ("ot_dustbin0/score", {"dustbin": 0}),
        ("ot_dustbin0.5/score", {}),
        ("ot_dustbin1/score", {"dustbin": 1}),
    ],
)
def test_scores(i, key, arguments, golden, measured):
    reranker = ChamferOT(**arguments)
    query, image = (reranker.prepared(side) for side in pair(golden, i))
    score = reranker.block_scores(query, image[None], np.array([len(image)]), False)
    expected = golden[f"chamfer/pair{i}/{key}"]
    measured(f"Chamfer: {key}", largest_difference(score[0], expected), SCORE)


@pytest.mark.parametrize("i", PAIRS)
def test_plans(i, golden, measured):
    query, image = pair(golden, i)
    plan = plans((query.descriptors @ image.descriptors.T)[None], np.array([len(image)]), 0.5, 0.5, 0.5)
    measured("Chamfer: plan", largest_difference(plan[0], golden[f"chamfer/pair{i}/ot_dustbin0.5/plan"]), PLAN)

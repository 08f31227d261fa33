"""ELViS with weights by the rule against the released network, step by step."""

import json

import numpy as np
import pytest

from delg.common.safetensors_file import write_safetensors
from matching.rerankers.elvis import Elvis
from matching.rerankers.elvis_network import shapes_for
from matching.rerankers.transport import plans
from tests.golden import rule
from tests.golden.conftest import SECOND, golden_path, largest_difference, load_golden
from tests.matching.helpers import local

PROJECTED, PLAN, SCORE, LOGIT = 1e-6, 4e-6, 1e-5, 1e-4
PAIRS = range(6)


@pytest.fixture(scope="module")
def golden(request) -> dict[str, np.ndarray]:
    return load_golden(request.config, "rerankers", SECOND)


@pytest.fixture(scope="module")
def listed(request) -> dict:
    return json.loads(golden_path(request.config, "keys_rerankers.json", SECOND).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def weights(golden, salt2, tmp_path_factory) -> str:
    """A file of weights by the rule."""
    shapes = shapes_for(128, golden["elvis/pair0/query"].shape[1])
    arrays = {name: rule.vit_weight(name, shape, salt2) for name, shape in shapes.items()}
    return str(write_safetensors(tmp_path_factory.mktemp("elvis") / "elvis.safetensors", arrays))


def sides(golden, i):
    """Descriptors and masks (True is padding) of query and image of a pair."""
    return [(golden[f"elvis/pair{i}/{side}"], golden[f"elvis/pair{i}/{side}_mask"]) for side in ("query", "image")]


def score(reranker, query, image):
    """The sum of votes of a pair of descriptors."""
    left, right = (reranker.prepared(local(np.zeros((len(rows), 2)), rows)) for rows in (query, image))
    return reranker.block_scores(left, right[None], np.array([len(right)]), False)[0]


@pytest.mark.parametrize("name", ["elvis_dinov2", "elvis_dinov3", "elvis_siglip2"])
def test_names_and_shapes_are_those_of_the_released_networks(name, listed):
    keys = {key: tuple(shape) for key, shape in listed[name]["keys"].items()}
    assert shapes_for(128, listed[name]["config"]["local_dim"]) == keys


@pytest.mark.parametrize("i", PAIRS)
def test_projections_and_gains(i, golden, weights, measured):
    network = Elvis(weights).network
    for side, (descriptors, _) in zip(("query", "image"), sides(golden, i)):
        key = f"elvis/pair{i}/projected_{side}/sample"
        projected = network.project(descriptors)
        measured("ELViS: projections", largest_difference(rule.sample(projected, key, 512), golden[key]), PROJECTED)
        gains = golden[f"elvis/pair{i}/gain_{side}"]
        measured("ELViS: similarities to the dust bin", largest_difference(network.gains(projected), gains), PROJECTED)


@pytest.mark.parametrize("i", PAIRS)
def test_plans_votes_and_scores_with_padding(i, golden, weights, measured):
    """Rows and columns of padding are 0 in the released plan, and their votes count nothing."""
    network = Elvis(weights).network
    (query, query_mask), (image, image_mask) = sides(golden, i)
    left, right = network.project(query[~query_mask]), network.project(image[~image_mask])
    similarities = (left @ right.T)[None]
    if not i:
        measured(
            "ELViS: similarities", largest_difference(similarities[0], golden["elvis/pair0/similarity"]), PROJECTED
        )
    plan = plans(
        similarities,
        np.array([len(right)]),
        network.gains(left),
        network.gains(right)[None],
        network.dust_bin,
        padded_rows=int(query_mask.sum()),
        padded_columns=int(image_mask.sum()),
        padding_bins=float(network.gains(network.project(np.zeros_like(query[:1])))[0]),
    )[0]
    whole = np.zeros((len(query), len(image)), np.float32)
    whole[np.ix_(~query_mask, ~image_mask)] = plan
    measured("ELViS: plan", largest_difference(whole, golden[f"elvis/pair{i}/plan"]), PLAN)
    votes = np.concatenate([whole.max(1), whole.max(0)])
    measured("ELViS: votes", largest_difference(votes, golden[f"elvis/pair{i}/votes"]), PLAN)
    weighted = network.weighted(votes)
    measured("ELViS: weights of votes", largest_difference(weighted, golden[f"elvis/pair{i}/weighted_votes"]), PLAN)
    total = weighted[~np.concatenate([query_mask, image_mask])].sum(dtype=np.float64)
    measured("ELViS: score", largest_difference(np.array([total]), golden[f"elvis/pair{i}/score"]), SCORE)


@pytest.mark.parametrize("i", PAIRS)
def test_scores_without_padding_and_swapped(i, golden, weights, measured):
    (query, query_mask), (image, image_mask) = sides(golden, i)
    trimmed = score(Elvis(weights), query[~query_mask], image[~image_mask])
    expected = golden[f"elvis/pair{i}/score_without_padding"]
    measured("ELViS: score without padding", largest_difference(np.array([trimmed]), expected), SCORE)
    if not (query_mask.any() or image_mask.any()):
        swapped = np.array([score(Elvis(weights), image, query)])
        measured("ELViS: score swapped", largest_difference(swapped, golden[f"elvis/pair{i}/score_swapped"]), SCORE)


def test_scores_of_a_batch_padded_to_the_same_length(golden, weights, measured):
    reranker = Elvis(weights, features=26, padded=True)
    scores = [score(reranker, *(rows[~mask] for rows, mask in sides(golden, i))) for i in PAIRS]
    expected = golden["elvis/batch_padded_to_26/scores"]
    measured("ELViS: scores padded to 26", largest_difference(np.array(scores), expected), SCORE)

"""AMES, full and binary, with the rule's weights against the released code: tokens, layers, scores, and key lists."""

import json

import numpy as np
import pytest

from matching.rerankers.ames_network import AmesNetwork, shapes
from tests.delg.importers.torch_writer import TorchFile, tensor
from tests.golden import rule
from tests.golden.conftest import SECOND, golden_path, largest_difference, load_golden

DIMENSION, SAMPLE = 32, 512
VARIANTS = {  # width, hidden width and layers; tolerance
    "full": ((128, 1024, 5), 1e-4),
    "binary": ((128, 1024, 5), 5e-5),
    "small": ((32, 64, 2), 5e-5),
}
Pair = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def fields(request):
    return load_golden(request.config, "rerankers", SECOND)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, salt2, tmp_path_factory) -> tuple[str, AmesNetwork, float]:
    """The variant's name, its network as read from a checkpoint, and the tolerance."""
    (width, hidden, depth), tolerance = VARIANTS[request.param]
    remap = (
        {"remap_local.0.W": (DIMENSION, width)}
        if request.param == "binary"
        else {"remap_local.0.weight": (width, DIMENSION)}
    )
    sizes = {"mtc_token": (width,), "decoder.layers.0.linear1.weight": (hidden, width)}
    names = shapes(remap | sizes | {f"decoder.layers.{depth - 1}.norm1.bias": (width,)})
    state = {name: tensor(rule.vit_weight(name, shape, salt2)) for name, shape in names.items()}
    path = tmp_path_factory.mktemp("ames") / f"{request.param}.pt"
    TorchFile({"state": state, "epoch": 9}).archive(path)
    return request.param, AmesNetwork(path), tolerance


def pairs(fields) -> list[int]:
    return sorted({int(key.split("/")[2][4:]) for key in fields if key.startswith("ames/")})


def valid(fields, pair: int, side: str) -> np.ndarray:
    """The descriptors of a side without the padding."""
    return fields[f"elvis/pair{pair}/{side}"][~fields[f"elvis/pair{pair}/{side}_mask"].astype(bool)]


def test_scores(variant, fields, measured):
    name, network, tolerance = variant
    for pair in pairs(fields):
        query = network.query(network.tokens(valid(fields, pair, "query"), image=False))
        score = network.score(query, network.tokens(valid(fields, pair, "image"), image=True))
        measured(f"AMES {name}: score", abs(score - float(fields[f"ames/{name}/pair{pair}/score"][0])), tolerance)


def test_tokens_and_layers(variant, fields, measured):
    name, network, tolerance = variant
    for pair in pairs(fields):
        prefix = f"ames/{name}/pair{pair}"
        if f"{prefix}/match_token" not in fields:
            continue
        for side in ("query", "image"):
            tokens = network.tokens(fields[f"elvis/pair{pair}/{side}"], image=side == "image")
            key = f"{prefix}/remapped_{side}/sample"
            rounded = 0 if side == "image" and name != "binary" else 5e-6
            # the float16 of a value between two of them may be either
            limit = 5e-6 if rounded else 2e-3
            difference = np.abs(rule.sample(tokens, key, SAMPLE) - fields[key])
            measured(f"AMES {name}: tokens of {side}", float(difference.max()), limit)
            assert rounded or (difference == 0).mean() > 0.98
        query = network.query(network.tokens(valid(fields, pair, "query"), image=False))
        states = network.states(query, network.tokens(valid(fields, pair, "image"), image=True))
        m = len(query.tokens)
        for i, state in enumerate(states):
            key = f"{prefix}/layer{i}/sample"
            rows = np.concatenate([state[m : m + 1], state[:m]])
            measured(f"AMES {name}: layers", largest_difference(rule.sample(rows, key, SAMPLE), fields[key]), tolerance)
        measured(
            f"AMES {name}: match token", largest_difference(states[-1][m], fields[f"{prefix}/match_token"]), tolerance
        )


def test_the_database_side_is_rounded(fields, variant):
    """Rounding to float16 moves a score too little to be seen; the tokens show it."""
    name, network, _ = variant
    tokens = network.tokens(fields["elvis/pair0/image"], image=True)
    exact = tokens.astype(np.float16).astype(np.float32)
    assert (tokens == exact).all() == (name != "binary")


@pytest.mark.parametrize("released", ["ames_dinov2", "ames_dinov2_dist", "ames_cvnet", "ames_cvnet_dist"])
def test_key_lists_of_the_released_files(released, request):
    document = json.loads(golden_path(request.config, "keys_rerankers.json", SECOND).read_text(encoding="utf-8"))
    keys = {name: tuple(shape) for name, shape in document[released]["keys"].items()}
    assert shapes(keys) == keys
    assert sum(int(np.prod(shape)) for shape in keys.values()) == document[released]["parameters"]

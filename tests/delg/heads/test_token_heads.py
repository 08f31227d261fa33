"""Heads on a transformer: the class token, GeM, both, SigLIP's pooling; patch tokens ranked in three ways."""

import numpy as np
import pytest
from keras import ops

import delg
from delg.common.errors import InputError

VIT = "dinov2(size=(24, 1, 2, 48), grid=3, patch=4, registers=2)"
SIGLIP = "siglip(size=(24, 1, 2, 48), grid=3, patch=4)"
IMAGES = np.random.default_rng(0).normal(size=(2, 12, 20, 3)).astype("f4")


def model_with(backbone: str = VIT, pooling: str = "class_token", local_head: str | None = None) -> delg.Delg:
    return delg.create("delg_small", backbone=backbone, pooling=pooling, local_head=local_head, embedding_dim=None)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def outputs(model: delg.Delg) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What the backbone and what the model put out."""
    return tuple(
        {name: np.asarray(ops.convert_to_numpy(value)) for name, value in network(IMAGES).items()}
        for network in (model.backbone, model)
    )


def test_class_token_and_gem():
    model = model_with(pooling="class_token_gem(p=2.0)")
    maps, described = outputs(model)
    gem = np.sqrt((np.maximum(maps["patches"], 1e-6) ** 2).mean(axis=(1, 2)))
    expected = np.concatenate([unit(maps["tokens"][:, 0]), unit(gem)], axis=1)
    assert model.embedding_dim == 48
    np.testing.assert_allclose(described["global_descriptor"], expected, atol=1e-5)


@pytest.mark.parametrize("score", ["attention", "cosine", "norm"])
def test_patch_tokens_are_ranked(score, tmp_path):
    model = model_with(local_head=f"tokens(score={score!r})")
    maps, described = outputs(model)
    scores = {
        "attention": maps["attention"].mean(axis=-1),
        "cosine": np.einsum("brcd,bd->brc", unit(maps["patches"]), unit(maps["tokens"][:, 0])),
        "norm": np.linalg.norm(maps["patches"], axis=-1),
    }
    np.testing.assert_allclose(described["attention"], scores[score], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(described["local_descriptors"], maps["patches"])
    assert model.local_dim == 24 and described["attention_pooled"].shape == (2, 24)
    delg.save(model, tmp_path)
    loaded = delg.load(tmp_path).inference_model(("local",)).predict_on_batch(IMAGES)
    np.testing.assert_allclose(loaded["attention"], described["attention"], rtol=1e-4, atol=1e-5)


def test_a_trained_head_reads_patch_tokens():
    described = outputs(model_with(local_head="delg"))[1]
    assert described["local_descriptors"].shape == (2, 3, 5, 64) and described["attention"].shape == (2, 3, 5)


def test_attention_pooling_reads_every_patch(tmp_path):
    model = model_with(SIGLIP, pooling="attention(heads=2, hidden=48)")
    before = outputs(model)[1]["global_descriptor"]
    assert before.shape == (2, 24)
    delg.save(model, tmp_path)
    np.testing.assert_allclose(outputs(delg.load(tmp_path))[1]["global_descriptor"], before, atol=1e-6)
    maps = np.random.default_rng(1).normal(size=(1, 2, 3, 24)).astype("f4")
    mirrored = np.asarray(model.pooling(maps[:, ::-1, ::-1]))
    np.testing.assert_allclose(mirrored, np.asarray(model.pooling(maps)), atol=1e-5)
    changed = maps.copy()
    changed[0, 1, 2] += 1
    assert np.abs(np.asarray(model.pooling(changed)) - mirrored).max() > 1e-4


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"backbone": SIGLIP, "pooling": "class_token_gem"}, "class_token_gem"),
        ({"backbone": SIGLIP, "pooling": "average", "local_head": "tokens"}, "attention"),
        ({"backbone": SIGLIP, "pooling": "average", "local_head": "tokens(score='cosine')"}, "tokens"),
        ({"local_head": "tokens(score='best')"}, "best"),
        ({"pooling": "attention(heads=0)"}, "heads"),
    ],
)
def test_parts_that_do_not_fit_are_named(parts, named):
    with pytest.raises(InputError, match=named):
        model_with(**parts)

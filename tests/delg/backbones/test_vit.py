"""Properties of the transformers that no golden value shows: batches, symmetry, sizes of images, what is refused."""

import keras
import numpy as np
import pytest

from delg.backbones.table import build_backbone
from delg.backbones.vit import ANTIALIASED, OFFSET, PLAIN, interpolation
from delg.common.errors import InputError

TEXTS = {
    "dinov2": "dinov2(size=(24, 2, 2, 48), grid=3, patch=4)",
    "dinov2_registers": "dinov2(size=(24, 2, 2, 32, True), grid=3, patch=4, registers=2)",
    "dinov3": "dinov3(size=(24, 2, 2, 48), patch=4)",
    "siglip": "siglip(size=(24, 2, 2, 48), grid=3, patch=4)",
}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", params=TEXTS)
def network(request) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = build_backbone(TEXTS[request.param]).model
    for weight in model.weights:
        weight.assign(RNG.normal(0, 0.3, weight.shape))
    return model


def run(network, images: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in network(images, training=False).items()}


def test_a_batch_gives_what_each_image_gives(network):
    images = RNG.normal(size=(3, 12, 20, 3)).astype("f4")
    together, compiled = run(network, images), network.predict_on_batch(images)
    for i in range(3):
        for name, value in run(network, images[i : i + 1]).items():
            np.testing.assert_allclose(together[name][i], value[0], rtol=1e-4, atol=1e-5, err_msg=name)
            np.testing.assert_allclose(compiled[name][i], value[0], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("size", [(12, 12), (4, 24), (20, 4), (4, 4)])
def test_the_rest_of_a_side_that_is_no_patch_has_no_effect(network, size):
    height, width = size
    image = RNG.normal(size=(1, height + 3, width + 2, 3)).astype("f4")
    larger, whole = run(network, image), run(network, image[:, :height, :width])
    assert whole["patches"].shape == (1, height // 4, width // 4, 24)
    for name, value in whole.items():
        np.testing.assert_allclose(larger[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_mirrored_image_of_mirrored_weights_gives_a_mirrored_map(network):
    image = RNG.normal(size=(1, 8, 20, 3)).astype("f4")
    before = run(network, image)["patches"]
    rotary = not any("positions" in weight.path for weight in network.weights)
    saved = [weight.numpy() for weight in network.weights]
    for weight in network.weights:
        if weight.path == "patch_embedding/kernel":
            weight.assign(weight.numpy()[:, ::-1])
        if weight.path == "embedding/positions":
            first, table = np.split(weight.numpy(), [weight.shape[0] - 9])
            weight.assign(np.concatenate([first, table.reshape(3, 3, -1)[:, ::-1].reshape(9, -1)]))
    after = run(network, image[:, :, ::-1])["patches"][:, :, ::-1]
    for weight, value in zip(network.weights, saved, strict=True):
        weight.assign(value)
    if rotary:  # its angles turn the other way
        assert np.abs(after - before).max() > 1e-2
    else:
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)


def test_attention_of_the_class_token_is_a_share():
    network = build_backbone(TEXTS["dinov2_registers"]).model
    attention = run(network, RNG.normal(size=(2, 12, 8, 3)).astype("f4"))["attention"]
    assert attention.shape == (2, 3, 2, 2) and attention.min() > 0 and attention.sum(axis=(1, 2)).max() < 1


@pytest.mark.parametrize("kind", [PLAIN, OFFSET, ANTIALIASED])
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_interpolation_keeps_what_is_constant(kind, count):
    weights = np.asarray(interpolation(count, 5, kind, count == 5))
    assert weights.shape == (count, 5)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    if count == 5:
        np.testing.assert_allclose(weights, np.eye(5), atol=1e-6)


def test_the_learned_grid_in_another_shape_is_resized():
    """14 x 350 pixels have as many patches of 14 as 70 x 70."""
    keras.utils.set_random_seed(0)
    embedding = build_backbone("dinov2(size=(8, 1, 1, 8), grid=5)").model.get_layer("embedding")
    table = embedding.vectors["positions"].numpy()[1:]
    np.testing.assert_allclose(np.asarray(embedding.positions(5, 5)).reshape(25, 8), table, atol=1e-6)
    assert np.abs(np.asarray(embedding.positions(1, 25)).reshape(25, 8) - table).max() > 1e-3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("dinov2(size='tiny')", "tiny"),
        ("dinov2(size=(8, 1, 3, 8))", "3 heads"),
        ("dinov2(size=(8, 1, 1))", "width, depth, heads, hidden"),
        ("dinov2(size=(8, 0, 1, 8))", "depth"),
        ("dinov2(size=(8, 1, 1, 8), positions='linear')", "linear"),
        ("dinov2(size=(8, 1, 1, 8), positions='rotary')", "DINOv3"),
        ("dinov2(size=(8, 1, 1, 8), registers=-1)", "registers"),
        ("dinov3(size=(6, 1, 1, 8))", "multiple of 4"),
        ("siglip(size=(8, 1, 1, 8, True))", "not gated"),
        ("siglip(size=(8, 1, 1, 8), grid=2.5)", "grid"),
    ],
)
def test_what_does_not_fit_is_named(text, named):
    with pytest.raises(InputError, match=named):
        build_backbone(text)

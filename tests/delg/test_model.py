import json
import math

import numpy as np
import pytest
from keras import ops

import delg
from delg.classifiers.arcface import ArcFace
from delg.common.errors import InputError
from delg.common.files import sha256
from delg.heads.pooling import GeM
from delg.numerics import l2_normalize
from delg.presets import PRESETS
from delg.saving import is_model_folder, provenance_of, weights_sha256
from tests.tiny import BACKBONE

SMALL = {"backbone": BACKBONE, "embedding_dim": 24, "local_dim": 8}


def tiny(**overrides) -> "delg.Delg":
    return delg.create("delg_small", **{"num_classes": 5, **SMALL, **overrides})


def numpy_of(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def test_l2_normalize_by_hand_and_at_zero():
    np.testing.assert_allclose(
        numpy_of(l2_normalize(ops.array([[3.0, 4.0], [0.0, 0.0]]))), [[0.6, 0.8], [0, 0]], atol=1e-7
    )


def test_gem_by_hand():
    x = np.zeros((1, 1, 2, 1), "float32")
    x[0, 0, :, 0] = [1.0, 3.0]
    assert numpy_of(GeM(p=3.0)(x))[0, 0] == pytest.approx(((1 + 27) / 2) ** (1 / 3), rel=1e-6)
    assert numpy_of(GeM(p=1.0)(x))[0, 0] == pytest.approx(2.0, rel=1e-6)
    assert numpy_of(GeM(p=3.0)(-x))[0, 0] == pytest.approx(1e-6, rel=1e-4)


def arcface_with(weights: np.ndarray, margin: float, scale: float) -> ArcFace:
    layer = ArcFace(weights.shape[1], margin, scale)
    layer.build((None, weights.shape[0]))
    layer.cosine_weights.assign(weights)
    return layer


def test_arcface_adds_the_margin_to_the_true_angle_only():
    layer = arcface_with(np.eye(2, dtype="float32") * 7, margin=0.2, scale=10.0)
    angle = 0.5
    embedding = 3 * np.array([[math.cos(angle), math.sin(angle)]], "float32")
    plain = numpy_of(layer(embedding))
    np.testing.assert_allclose(plain, [[10 * math.cos(angle), 10 * math.sin(angle)]], rtol=1e-5)
    with_margin = numpy_of(layer(embedding, np.array([0])))
    np.testing.assert_allclose(with_margin, [[10 * math.cos(angle + 0.2), 10 * math.sin(angle)]], rtol=1e-5)


def test_arcface_keeps_the_cosine_past_pi_minus_margin():
    layer = arcface_with(np.eye(2, dtype="float32"), margin=0.2, scale=1.0)
    for angle, expected in ((math.pi - 0.1, math.cos(math.pi - 0.1)), (math.pi - 0.3, math.cos(math.pi - 0.1))):
        embedding = np.array([[math.cos(angle), math.sin(angle)]], "float32")
        assert numpy_of(layer(embedding, np.array([0])))[0, 0] == pytest.approx(expected, abs=1e-5)


def test_arcface_is_finite_at_cosine_one_with_its_gradient():
    import tensorflow as tf

    layer = arcface_with(np.eye(2, dtype="float32"), margin=0.1, scale=45.25)
    x = tf.Variable([[1.0, 0.0], [-1.0, 0.0]])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(layer(x, np.array([0, 0])))
    assert np.isfinite(y.numpy())
    assert np.isfinite(tape.gradient(y, x).numpy()).all()


def test_local_losses_do_not_reach_the_backbone_but_reach_their_head():
    import tensorflow as tf

    model = tiny()
    images = tf.random.stateless_uniform((2, 48, 48, 3), (1, 2), -1, 1)
    with tf.GradientTape(persistent=True) as tape:
        out = model(images, training=True)
        local = tf.reduce_sum(model.attention_logits(out["attention_pooled"]) ** 2) + tf.reduce_mean(
            (out["local_target"] - out["reconstruction"]) ** 2
        )
        whole = tf.reduce_sum(out["global_descriptor"] ** 2)
    assert all(g is None for g in tape.gradient(local, model.backbone.trainable_variables))
    head = tape.gradient(local, model.local_head.trainable_variables)
    assert all(g is not None and float(tf.reduce_max(tf.abs(g))) > 0 for g in head if g is not None)
    assert tape.gradient(local, model.local_head.autoencoder.encoder.kernel) is not None
    assert all(g is not None for g in tape.gradient(whole, model.backbone.trainable_variables))
    assert all(g is None for g in tape.gradient(whole, model.local_head.trainable_variables))


def test_attention_pooled_is_the_mean_over_positions():
    model = tiny()
    out = model(np.random.default_rng(0).uniform(-1, 1, (1, 64, 48, 3)).astype("float32"))
    target, weight = numpy_of(out["local_target"])[0], numpy_of(out["attention"])[0]
    unit = target / np.maximum(np.linalg.norm(target, axis=-1, keepdims=True), 1e-6)
    expected = (unit * weight[..., None]).reshape(-1, target.shape[-1]).mean(0)
    np.testing.assert_allclose(numpy_of(out["attention_pooled"])[0], expected, rtol=1e-4, atol=1e-6)


def test_inference_model_equals_the_model_and_needs_only_its_heads():
    model = tiny()
    x = np.random.default_rng(1).uniform(-1, 1, (2, 40, 56, 3)).astype("float32")
    whole = model(x, training=False)
    for heads in (("global",), ("local",), ("global", "local")):
        outputs = model.inference_model(heads).predict_on_batch(x)
        assert set(outputs) == ({"global_descriptor"} if "global" in heads else set()) | (
            {"local_descriptors", "attention"} if "local" in heads else set()
        )
        for name, value in outputs.items():
            np.testing.assert_allclose(value, numpy_of(whole[name]), rtol=1e-4, atol=1e-5)
    local_layers = {layer.name for layer in model.inference_model(("local",)).layers}
    assert not any(name.startswith("conv3") for name in local_layers)
    with pytest.raises(ValueError, match="heads"):
        model.inference_model(("glocal",))


def test_without_autoencoder_the_map_is_the_descriptor():
    model = tiny(local_dim=None)
    out = model(np.ones((1, 32, 32, 3), "float32"))
    assert out["local_descriptors"].shape[-1] == model.local_dim == 24
    assert "reconstruction" not in out


def test_normalize():
    np.testing.assert_array_equal(numpy_of(tiny().normalize(np.array([0, 128, 255], "uint8"))), [-1, 0, 127 / 128])


def test_normalize_to_bgr():
    model = tiny(normalization="imagenet_bgr")
    rgb = np.array([[[0, 102, 255]]], "uint8")
    expected = [(1 - 0.406) / 0.225, (0.4 - 0.456) / 0.224, (0 - 0.485) / 0.229]
    np.testing.assert_allclose(numpy_of(model.normalize(rgb))[0, 0], expected, rtol=1e-6)


def test_normalize_pooled_is_between_pooling_and_whitening():
    x = np.random.default_rng(3).uniform(-1, 1, (1, 40, 40, 3)).astype("float32")
    plain, unit = tiny(seed=4), tiny(seed=4, normalize_pooled=True)
    pooled = numpy_of(plain.pooled(plain.backbone(x)))
    assert abs(np.linalg.norm(pooled) - 1) > 1e-2
    np.testing.assert_allclose(numpy_of(unit.pooled(unit.backbone(x))), pooled / np.linalg.norm(pooled), rtol=1e-5)
    expected = numpy_of(unit.embedding_layer(pooled / np.linalg.norm(pooled)))
    np.testing.assert_allclose(numpy_of(unit(x)["global_descriptor"]), expected, rtol=1e-4, atol=1e-6)


def test_a_folder_of_the_first_version_still_loads(tmp_path):
    model = tiny()
    delg.save(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("normalization", "normalize_pooled", "local_head"):
        del config["model"][key]
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = delg.load(tmp_path)
    assert again.get_config() == json.loads(json.dumps(model.get_config()))
    x = np.random.default_rng(2).uniform(-1, 1, (1, 33, 47, 3)).astype("float32")
    np.testing.assert_array_equal(numpy_of(model(x)["attention"]), numpy_of(again(x)["attention"]))


@pytest.mark.parametrize("safetensors", [False, True])
def test_save_and_load_give_the_same_model(tmp_path, safetensors):
    model = tiny()
    delg.save(model, tmp_path / "m", safetensors=not safetensors)
    delg.save(model, tmp_path / "m", safetensors=safetensors, provenance={"origin": "a test"})
    file = "model.safetensors" if safetensors else "model.weights.h5"
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["config.json", file]
    x = np.random.default_rng(2).uniform(-1, 1, (1, 33, 47, 3)).astype("float32")
    again = delg.load(tmp_path / "m")
    assert (
        again.get_config() == json.loads(json.dumps(model.get_config())) == json.loads(json.dumps(again.get_config()))
    )
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        assert ours.path == theirs.path and numpy_of(ours).tobytes() == numpy_of(theirs).tobytes()
    np.testing.assert_array_equal(numpy_of(model(x)["global_descriptor"]), numpy_of(again(x)["global_descriptor"]))
    assert is_model_folder(tmp_path / "m") and provenance_of(tmp_path / "m") == {"origin": "a test"}
    assert weights_sha256(tmp_path / "m") == sha256(tmp_path / "m" / file)


@pytest.mark.parametrize(("safetensors", "said"), [(False, "does not fit"), (True, "3 of another shape")])
def test_load_refuses_what_does_not_fit(tmp_path, safetensors, said):
    with pytest.raises(InputError, match=r"config\.json and model\.weights\.h5 or model\.safetensors"):
        delg.load(tmp_path)
    delg.save(tiny(), tmp_path / "m", safetensors=safetensors)
    config = json.loads((tmp_path / "m/config.json").read_text())
    config["model"]["embedding_dim"] = 25
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=said):
        delg.load(tmp_path / "m")
    config["model"]["colour"] = "red"
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="colour"):
        delg.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet5"}, "resnet101, resnet50, resnet_small"),
        ({"pooling": "gems"}, "gem_plus"),
        ({"pooling": "gem(q=1)"}, "p, epsilon"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"backbone": "resnet50(convention='other')"}, "released, symmetric"),
    ],
)
def test_bad_choices_answer_with_the_choices(arguments, message):
    with pytest.raises(InputError, match=message):
        delg.create("delg_small", **arguments)


def test_unknown_preset():
    with pytest.raises(InputError, match=r"delg_r101, .*superglobal_r50, .*delg_small"):
        delg.create("delg_r51")


def test_presets_have_the_released_sizes_and_scales():
    model = delg.create("delg_r50")
    assert (model.embedding_dim, model.local_dim, model.local_stride, model.min_side) == (2048, 128, 16, 5)
    assert model.extraction["image_scales"] == [0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0]
    assert model.extraction["global_scales_ind"] == [3, 4, 5]
    assert (model.config["arcface_margin"], model.config["arcface_scale"]) == (0.1, 45.25)
    assert model.config["pooling"] == "gem(p=3.0)"


@pytest.mark.parametrize(
    ("preset", "backbone", "head"),
    [  # weights of the bottleneck networks with moving averages, and those of the heads
        ("cvnet_r50", 23_508_032 + 53_120, 1 + 2048 * 2048 + 2048),
        ("superglobal_r101", 42_500_160 + 105_344, 1 + 2048 * 2048 + 2048),
        ("delg_pytorch_r50", 23_508_032 + 53_120, 1 + 2048 * 512 + 512 + 1024 * 512 + 512 + 4 * 512 + 512 + 1),
    ],
)
def test_symmetric_presets_have_the_released_number_of_weights(preset, backbone, head):
    model = delg.create(preset)
    assert model.backbone.count_params() == backbone
    assert model.count_params() == backbone + head
    assert len(model.backbone.weights) == 5 * (53 if preset.endswith("r50") else 104)
    assert (model.min_side, model.local_stride) == (1, 16)
    units = {layer.name for layer in model.backbone.layers}
    assert ("res4w_branch2a" in units, "res4x_branch2a" in units) == (preset.endswith("r101"), False)


@pytest.mark.parametrize("depth", [50, 101])
def test_superglobal_is_cvnet_but_for_its_extraction(depth):
    ours, theirs = (dict(PRESETS[f"{name}_r{depth}"]) for name in ("superglobal", "cvnet"))
    assert ours.pop("extraction") != theirs.pop("extraction")
    assert ours == theirs
    assert ours["backbone"] == f"resnet{depth}(convention='symmetric')"


def test_seed_decides_the_weights():
    first, same, other = tiny(seed=1), tiny(seed=1), tiny(seed=2)
    np.testing.assert_array_equal(first.embedding_layer.kernel, same.embedding_layer.kernel)
    assert not np.array_equal(first.embedding_layer.kernel, other.embedding_layer.kernel)

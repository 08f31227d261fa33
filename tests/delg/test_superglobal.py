"""The parts of SuperGlobal by hand-worked numbers, and its switches on models of several kinds."""

import keras
import numpy as np
import pytest
from keras import ops

import delg
from delg.backbones.resnet import ReLUP
from delg.common.errors import InputError
from delg.heads.pooling import GeM, RegionalGeM, build_pooling
from delg.superglobal import Switches, adapted

SYMMETRIC = {"embedding_dim": 8, "pooling": "gem(p=2.5, learned=True)", "local_head": None}

SMALL = "resnet_small(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16))"


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


@pytest.fixture(scope="module")
def small():
    """A small model whose normalisations are not at their start values."""
    model = delg.create(
        "delg_small", backbone=SMALL, embedding_dim=24, local_dim=8, attention_channels=8, num_classes=3
    )
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith(("moving_mean", "beta")):
            variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(-1, 1, (1, 70, 90, 3)).astype("float32")


def test_relup_is_a_floor_and_not_a_shift():
    np.testing.assert_allclose(
        array(ReLUP()(np.array([[-3.0, 0.0, 0.013, 0.015, 2.0]], "float32")))[0], [0.014, 0.014, 0.014, 0.015, 2.0]
    )


def reference_regional(x: np.ndarray, p: float, window: int) -> np.ndarray:
    """The formula with loops, in float64."""
    margin = window // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
    out = np.zeros(x.shape)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            around = padded[:, i : i + window, j : j + window]
            out[:, i, j] = 0.5 * (around**p).mean((1, 2)) ** (1 / p) + 0.5 * x[:, i, j]
    return out


@pytest.mark.parametrize(
    ("p", "window", "size"), [(2.5, 5, (3, 4)), (2.5, 5, (7, 9)), (1.0, 3, (4, 2)), (4.0, 1, (1, 1))]
)
def test_regional_gem_is_its_formula(p, window, size):
    x = np.random.default_rng(0).uniform(0, 3, (2, *size, 4)).astype("float32")
    x[0, 0, 0] = 0
    np.testing.assert_allclose(array(RegionalGeM(p, window)(x)), reference_regional(x, p, window), rtol=1e-5, atol=1e-6)


def test_regional_gem_keeps_zero_and_has_a_finite_gradient_there():
    import tensorflow as tf

    x = tf.Variable(tf.zeros((1, 3, 3, 2)))
    with tf.GradientTape() as tape:
        y = RegionalGeM()(x)
        loss = tf.reduce_sum(y)
    assert float(tf.reduce_max(tf.abs(y))) < 1e-9
    assert np.isfinite(tape.gradient(loss, x).numpy()).all()


def test_regional_gem_needs_a_map_that_can_be_mirrored():
    assert RegionalGeM().cells == 3
    with pytest.raises(ValueError, match="3 cells or more"):
        RegionalGeM()(np.ones((1, 2, 9, 1), "float32"))
    for text in ("regional_gem(window=4), gem", "regional_gem(p=0), gem"):
        with pytest.raises(InputError, match="odd window"):
            build_pooling(text)


def test_gem_plus_by_hand():
    (_, plus) = build_pooling("gem_plus")
    x = np.zeros((1, 1, 2, 1), "float32")
    x[0, 0, :, 0] = [1.0, 3.0]
    assert array(plus(x))[0, 0] == pytest.approx(((1 + 3**4.6) / 2) ** (1 / 4.6), rel=1e-6)
    assert array(plus(0 * x))[0, 0] == pytest.approx(1e-8, rel=1e-4)


def test_a_learned_exponent_is_a_weight_with_a_finite_gradient():
    import tensorflow as tf

    layer = GeM(p=3.0, learned=True, name="pooling")
    layer.build((None, None, None, 4))
    assert [(w.path, tuple(w.shape), float(array(w)[0])) for w in layer.weights] == [("pooling/p", (1,), 3.0)]
    x = np.array([0.0, 0.0, 1.0, 3.0], "float32").reshape(1, 2, 2, 1) * np.ones(4, "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x))
    gradient = tape.gradient(loss, layer.trainable_variables)[0].numpy()
    step = 1e-4
    mean = lambda p: 4 * ((1e-6**p * 2 + 1 + 3**p) / 4) ** (1 / p)  # noqa: E731
    assert gradient[0] == pytest.approx((mean(3 + step) - mean(3 - step)) / (2 * step), rel=1e-3)
    layer.exponent.assign([2.0])
    assert array(layer(x))[0, 0] == pytest.approx(np.sqrt(10 / 4), rel=1e-5)
    assert GeM(p=3.0).weights == []
    assert GeM.from_config(layer.get_config()).learned is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gem, average", "'gem'.*regional_gem"),
        ("regional_gem", "'regional_gem'.*average.*gem_plus"),
        ("", "Received: ''"),
    ],
)
def test_a_bad_chain_is_a_sentence(text, said):
    with pytest.raises(InputError, match=said):
        build_pooling(text)


def floors(model) -> dict[str, float]:
    return {layer.name: layer.alpha for layer in model.backbone.layers if isinstance(layer, ReLUP)}


def test_relup_stands_where_superglobal_puts_it():
    model = delg.create("cvnet_r50", **SYMMETRIC)
    inner = {f"res2{unit}_branch2{x}_relu" for unit in "abc" for x in "ab"}
    ends = {f"res{s}{u}_relu" for s, units in ((2, "abc"), (3, "abcd"), (4, "abcdef")) for u in units}
    on, leak = adapted(model, Switches(relup=True, regional_gem=True)), adapted(model, Switches(stage1_inner_leak=True))
    assert floors(model) == {}
    assert floors(on) == dict.fromkeys(inner | ends, 0.014)
    assert floors(leak) == dict.fromkeys(inner, 0.014)
    assert floors(adapted(on, Switches(stage1_inner_leak=True))) == floors(on)
    assert (model.min_side, leak.min_side, on.min_side) == (1, 1, 65), "65 pixels is what the released code needs"


def test_no_switch_gives_the_model_itself(small):
    assert adapted(small, Switches()) is small
    assert adapted(small, Switches(normalize_pooled=False)) is small


@pytest.mark.parametrize("pooling", ["gem(p=3.0)", "gem(p=2.5, learned=True)", "average"])
def test_each_switch_does_its_own_thing_on_a_small_model(images, pooling):
    model = delg.create(
        "delg_small", backbone=SMALL, embedding_dim=24, local_dim=8, attention_channels=8, pooling=pooling
    )
    block4 = array(model.backbone(images)["block4"])
    whitening = lambda x: array(model.embedding_layer(x))  # noqa: E731
    regional = reference_regional(block4, 2.5, 5).astype("float32")
    plus = lambda x: (np.maximum(x, 1e-8) ** 4.6).mean((1, 2)) ** (1 / 4.6)  # noqa: E731
    unit = array(model.pooling(block4))
    unit = unit / np.linalg.norm(unit)
    for switches, expected in (
        (Switches(gem_plus=True), whitening(plus(block4))),
        (Switches(regional_gem=True), whitening(array(model.pooling(regional)))),
        (Switches(gem_plus=True, regional_gem=True), whitening(plus(regional))),
        (Switches(normalize_pooled=True), whitening(unit)),
    ):
        out = adapted(model, switches)(images)
        np.testing.assert_allclose(array(out["global_descriptor"]), expected, rtol=2e-3, atol=2e-5)
        np.testing.assert_allclose(array(out["attention"]), array(model(images)["attention"]), rtol=1e-5)


def test_the_adapted_model_has_the_same_weights_and_no_classifiers(small, images):
    other = adapted(small, Switches(True, True, True, True, True))
    ours = {v.path: array(v) for v in other.weights}
    theirs = {v.path: array(v) for v in small.weights if not v.path.startswith(("classifier", "att_fc"))}
    assert ours.keys() == theirs.keys()
    assert all((ours[path] == theirs[path]).all() for path in theirs)
    assert (other.num_classes, small.num_classes) == (None, 3)
    assert np.abs(array(other(images)["attention"]) - array(small(images)["attention"])).max() > 1e-6, (
        "relup is in block3"
    )


def test_what_is_built_in_stays_and_is_not_put_in_twice(small):
    built_in = delg.create("delg_small", backbone="resnet_small(relup=True)", pooling="regional_gem(p=3.0), gem")
    assert adapted(built_in, Switches(relup=True, regional_gem=True)) is built_in
    assert adapted(built_in, Switches(gem_plus=True)).config["pooling"] == "regional_gem(p=3.0), gem_plus"


@pytest.mark.parametrize("pooling", ["regional_gem,gem_plus", " regional_gem( window = 5 ) , gem_plus()"])
def test_another_spelling_of_what_is_built_in_is_no_change(pooling):
    built_in = delg.create("delg_small", backbone=SMALL, pooling=pooling)
    assert adapted(built_in, Switches()) is built_in
    assert adapted(built_in, Switches(gem_plus=True, regional_gem=True)) is built_in


def test_the_adapted_model_can_be_saved(small, images, tmp_path):
    other = adapted(small, Switches(gem_plus=True, regional_gem=True, relup=True, normalize_pooled=True))
    delg.save(other, tmp_path)
    np.testing.assert_array_equal(
        array(delg.load(tmp_path)(images)["global_descriptor"]), array(other(images)["global_descriptor"])
    )


def test_the_smallest_side_leaves_a_map_that_can_be_mirrored(small):
    assert small.min_sides == {"global": small.min_side, "local": small.min_side}
    other = adapted(small, Switches(regional_gem=True))
    side = other.min_sides["global"]
    assert other.min_sides["local"] == small.min_side < side == other.min_side
    sizes = [other.backbone(np.zeros((1, side - drop, 100, 3), "float32"))["block4"].shape[1] for drop in (0, 1)]
    assert sizes == [3, 2]


def test_half_precision_keeps_the_small_floor(images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        pooling = build_pooling("gem_plus")[1]
        learned = build_pooling("gem(learned=True)")[1]
        zeros = np.zeros((1, 3, 3, 2), "float16")
        np.testing.assert_allclose(array(pooling(zeros)), 1e-8, rtol=1e-3)
        learned.build(zeros.shape)
        np.testing.assert_allclose(array(learned(zeros)), 1e-6, rtol=1e-3)
        assert array(RegionalGeM()(zeros + 1)).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")

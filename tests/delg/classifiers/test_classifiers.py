"""The cosine classifiers against plain NumPy, and at the edges where they could become NaN."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import delg
from delg.classifiers.table import CLASSIFIERS
from delg.common.errors import InputError
from delg.common.spec import build
from tests.tiny import BACKBONE

CLASSES, DIM, BATCH = 7, 5, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(BATCH, DIM)).astype(np.float32)
LABELS = np.array([0, 3, 6, 3, 1, 2])
W = RNG.normal(size=(DIM, CLASSES)).astype(np.float32)


def made(text: str, rows: bool = False):
    layer = build(
        text, CLASSIFIERS, "classifier", num_classes=CLASSES, default_margin=0.2, default_scale=16.0, rows=rows
    )
    layer.build((None, DIM))
    (layer.class_vectors if rows else layer.cosine_weights).assign(W.T if rows else W)
    return layer


def cosines() -> np.ndarray:
    return X / np.linalg.norm(X, axis=1, keepdims=True) @ (W / np.linalg.norm(W, axis=0))


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


HOT = np.eye(CLASSES)[LABELS].astype(bool)


def expected_arcface() -> np.ndarray:
    c = cosines()
    return 16.0 * np.where(HOT & (c >= -math.cos(0.2)), np.cos(np.arccos(c) + 0.2), c)


def expected_cosface() -> np.ndarray:
    return 16.0 * (cosines() - 0.3 * HOT)


def expected_curricular() -> np.ndarray:
    """The loop over every logit that the paper's equations say."""
    c, out = cosines(), np.empty((BATCH, CLASSES))
    t = 0.01 * np.mean([c[i, label] for i, label in enumerate(LABELS)])
    for i, label in enumerate(LABELS):
        theta = math.acos(c[i, label])
        positive = math.cos(theta + 0.4)
        for j in range(CLASSES):
            out[i, j] = c[i, j] if c[i, j] <= positive else c[i, j] * (t + c[i, j])
        out[i, label] = positive if theta + 0.4 < math.pi else c[i, label] - 0.4 * math.sin(0.4)
    return 16.0 * out


def expected_adacos() -> np.ndarray:
    c, s = cosines(), math.sqrt(2) * math.log(CLASSES - 1)
    spread = np.mean([sum(math.exp(s * c[i, j]) for j in range(CLASSES) if j != y) for i, y in enumerate(LABELS)])
    median = np.median([math.acos(c[i, y]) for i, y in enumerate(LABELS)])
    return math.log(spread) / math.cos(min(math.pi / 4, median)) * c


CASES = {
    "arcface": expected_arcface,
    "cosface(margin=0.3)": expected_cosface,
    "curricularface(margin=0.4)": expected_curricular,
    "adacos": expected_adacos,
}


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("text", CASES)
def test_logits_are_those_of_the_equations(text, rows):
    layer = made(text, rows)
    plain = array(layer(X))
    np.testing.assert_allclose(plain, float(array(layer.scale)) * cosines(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(array(layer(X, LABELS)), CASES[text](), rtol=2e-4, atol=2e-4)


def test_state_moves_in_training_and_not_in_validation():
    curricular, ada = made("curricularface"), made("adacos")
    for layer, state in ((curricular, "t"), (ada, "scale")):
        before = float(array(getattr(layer, state)))
        layer(X)
        assert float(array(getattr(layer, state))) == before
        layer(X, LABELS)
        assert float(array(getattr(layer, state))) != before
    c = cosines()[np.arange(BATCH), LABELS].mean()
    assert float(array(curricular.t)) == pytest.approx(0.01 * c, rel=1e-4)
    curricular(X, LABELS)
    assert float(array(curricular.t)) == pytest.approx(0.01 * c * 1.99, rel=1e-4)


@pytest.mark.parametrize("text", ["arcface", "cosface", "curricularface(margin=3.0)", "adacos"])
def test_gradients_are_finite_at_cosines_of_one_minus_one_and_at_a_zero_vector(text):
    layer = made(text)
    x = np.stack([W[:, 0], -W[:, 3], np.zeros(DIM), 1e20 * W[:, 2], 1e-20 * W[:, 1], W[:, 5]]).astype(np.float32)
    inputs = tf.Variable(x)
    with tf.GradientTape() as tape:
        logits = layer(inputs, LABELS)
        loss = ops.sum(ops.sparse_categorical_crossentropy(LABELS, logits, from_logits=True))
    gradients = tape.gradient(loss, [inputs, layer.cosine_weights.value])
    assert np.isfinite(array(logits)).all()
    assert all(np.isfinite(array(gradient)).all() for gradient in gradients)


@pytest.mark.parametrize("text", CASES)
def test_some_classes_of_all_give_the_same_logits_when_the_penalty_looks_at_no_other(text):
    layer = made(text, rows=True)
    chosen = np.array([0, 1, 2, 3, 6])
    among = np.searchsorted(chosen, LABELS)
    got = array(layer(X, among, W.T[chosen]))
    assert got.shape == (BATCH, 5)
    if text != "adacos":  # whose scale depends on all the classes that take part
        np.testing.assert_allclose(got, CASES[text]()[:, chosen], rtol=2e-4, atol=2e-4)


def test_they_stay_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = made("curricularface")
        assert layer(ops.cast(X, "bfloat16"), LABELS).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_models_keep_the_choice_and_refuse_a_wrong_one(tmp_path):
    small = {"backbone": BACKBONE, "num_classes": 4, "embedding_dim": 8, "local_dim": 8}
    for text in CASES:
        model = delg.create("delg_small", classifier=text, sampled_classifier=text == "adacos", **small)
        delg.save(model, tmp_path / "model")
        again = delg.load(tmp_path / "model")
        assert again.get_config() == model.get_config()
        x = np.ones((2, 8), np.float32)
        np.testing.assert_array_equal(array(again.arcface_logits(x)), array(model.arcface_logits(x)))
    for text, message in (
        ("sphereface", "Unknown classifier 'sphereface'; the choices are adacos, arcface, cosface, curricularface"),
        ("cosface(radius=1)", "its arguments are margin, scale"),
    ):
        with pytest.raises(InputError, match=message):
            delg.create("delg_small", classifier=text, **small)
    with pytest.raises(InputError, match="adacos needs at least three classes"):
        delg.create("delg_small", classifier="adacos", **small | {"num_classes": 2})

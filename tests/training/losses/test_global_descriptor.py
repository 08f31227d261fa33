"""Losses of the global descriptor by name, and those that a user brings."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from delg.common.errors import InputError
from training.losses.global_descriptor import build_global_loss, check_global_loss
from training.losses.metric import all_pairs_contrastive_loss, npairs_loss, triplet_semihard_loss

LABELS = tf.constant([0, 0, 1, 1], tf.int64)
X = tf.constant(np.random.default_rng(1).normal(size=(4, 6)), tf.float32)
UNIT = tf.math.l2_normalize(X, axis=1)


def test_arcface_is_the_model_s_own():
    assert build_global_loss("arcface") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("triplet_semihard", lambda: triplet_semihard_loss(LABELS, UNIT, 1.0)),
        ("triplet_semihard(margin=0.2, distance='angular')", lambda: triplet_semihard_loss(LABELS, X, 0.2, "angular")),
        ("triplet_semihard(normalize=False)", lambda: triplet_semihard_loss(LABELS, X, 1.0)),
        ("contrastive(margin=0.7)", lambda: all_pairs_contrastive_loss(LABELS, UNIT, 0.7)),
        ("contrastive(normalize=False)", lambda: all_pairs_contrastive_loss(LABELS, X, 1.0)),
        ("npairs", lambda: npairs_loss(LABELS, tf.matmul(UNIT, UNIT, transpose_b=True))),
        ("npairs(scale=3.0, normalize=False)", lambda: npairs_loss(LABELS, 3 * tf.matmul(X, X, transpose_b=True))),
    ],
)
def test_losses_by_name(text, expected):
    loss = build_global_loss(text)
    assert loss.name == text
    assert float(loss(LABELS, X)) == pytest.approx(float(expected()), rel=1e-5)
    check_global_loss(loss, 6)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the present folder, which is not on the path."""
    (tmp_path / "my_losses.py").write_text(
        "import tensorflow as tf\n"
        "NUMBER = 3\n"
        "class Loss:\n    def __init__(self, a, b): pass\n"
        "def squares(y_true, y_pred): return tf.reduce_sum(y_pred ** 2, 1) * tf.cast(y_true + 1, tf.float32)\n"
        "def one(y_pred): return y_pred\n"
        "def three(a, b, c): return a\n"
        "def more(a, b, c=2, *d): return tf.reduce_mean(b) * c\n"
        "def fails(a, b): raise ValueError('no such thing')\n"
        "def nothing(a, b): return None\n"
        "def fixed(a, b): return tf.constant(2.0)\n"
        "def bad(a, b): return tf.reduce_sum(b) / 0.0\n"
        "def text(a, b): return 'loss'\n"
    )
    (tmp_path / "broken_losses.py").write_text("import nothing_of_this_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield
    for name in ("my_losses", "broken_losses"):
        sys.modules.pop(name, None)


def test_a_function_of_the_user(module):
    before = list(sys.path)
    loss = build_global_loss("my_losses:squares")
    assert sys.path == before
    check_global_loss(loss, 6)
    expected = np.mean((X.numpy() ** 2).sum(1) * [1, 1, 2, 2])  # the mean of its values; labels come first
    assert float(loss(LABELS, X)) == pytest.approx(expected, rel=1e-6)
    assert float(build_global_loss("my_losses:more")(LABELS, X)) == pytest.approx(2 * X.numpy().mean(), rel=1e-5)
    assert build_global_loss("keras.losses:mean_squared_error").name == "keras.losses:mean_squared_error"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosface", "Unknown global loss 'cosface'; the choices are arcface, contrastive, npairs, triplet_semihard"),
        ("contrastive(margin=0)", "contrastive expects a margin above 0"),
        ("triplet_semihard(margin=-1)", "triplet_semihard expects a margin above 0"),
        ("triplet_semihard(distance='L1')", "distance among L2, squared-L2, angular"),
        ("npairs(scale=0)", "scale above 0"),
        ("npairs(margin=1)", "its arguments are scale, normalize"),
        ("no_module_here:f", "the module 'no_module_here' cannot be imported"),
        ("broken_losses:f", "'broken_losses' cannot be imported: No module named 'nothing_of_this_name'"),
        ("my_losses:absent", "absent.*no such name"),
        ("my_losses:NUMBER", "it has a int"),
        ("my_losses:Loss", "my_losses:Loss"),
        ("my_losses:one", "must accept two arguments, y_true and y_pred"),
        ("my_losses:three", "must accept two arguments, y_true and y_pred"),
        (":f", "cannot be imported"),
    ],
)
def test_losses_that_are_refused(module, text, message):
    with pytest.raises(InputError, match=message):
        build_global_loss(text)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", r"failed on labels \(4,\) and descriptors \(4, 6\): no such thing"),
        ("nothing", "failed on labels"),
        ("text", "failed on labels"),
        ("fixed", "has no gradient with respect to its second argument"),
        ("bad", "gave -?inf"),
    ],
)
def test_functions_that_would_fail_in_the_training(module, name, message):
    with pytest.raises(InputError, match=message):
        check_global_loss(build_global_loss(f"my_losses:{name}"), 6)

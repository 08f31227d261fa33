"""The local heads besides the paper's: the PyTorch one by hand-worked numbers, and none at all."""

import math

import numpy as np
import pytest
from keras import ops

import delg
from delg.common.errors import InputError
from delg.heads.local import PytorchLocalHead

BACKBONE = {"backbone": "resnet_small(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16))", "embedding_dim": 24}
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 40, 48, 3)).astype("float32")


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def by_hand() -> PytorchLocalHead:
    """conv1 swaps and shifts, bn halves after taking the mean 1 off, conv2 weighs by (2, 5)."""
    head = PytorchLocalHead(2, 2, name="local_head")
    head.build((None, None, None, 2))
    values = {
        "conv1/kernel": np.array([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 1, 2, 2),
        "conv1/bias": [1.0, 0.0],
        "bn/gamma": [1.0, 1.0],
        "bn/beta": [0.0, 0.5],
        "bn/moving_mean": [1.0, 1.0],
        "bn/moving_variance": [4.0 - 1e-5, 4.0 - 1e-5],
        "conv2/kernel": np.array([2.0, 5.0]).reshape(1, 1, 2, 1),
        "conv2/bias": [-3.0],
    }
    assert {w.path for w in head.weights} == {f"local_head/{name}" for name in values}
    for weight in head.weights:
        weight.assign(values[weight.path.removeprefix("local_head/")])
    return head


def test_the_pytorch_head_by_hand():
    x = np.array([[-3.0, 6.0], [1.0, 0.0]], "float32").reshape(1, 1, 2, 2)
    out = {name: array(value) for name, value in by_hand()(x).items()}
    # first cell: conv1 (7, -3), bn (3, -1.5), relu (3, 0), score 6 - 3; second: (1, 1), (0, 0.5), (0, 0.5), 2.5 - 3
    attention = [math.log1p(math.exp(3.0)), math.log1p(math.exp(-0.5))]
    np.testing.assert_allclose(out["attention"], [[attention]], rtol=1e-5)
    unit = np.array([[3.0, -1.5], [0.0, 0.5]]) / np.array([[math.hypot(3, 1.5)], [0.5]])
    expected = unit * np.array(attention)[:, None]
    np.testing.assert_allclose(out["local_descriptors"][0, 0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out["attention_pooled"][0], expected.mean(0), rtol=1e-5)
    np.testing.assert_array_equal(out["local_target"], x)
    assert "reconstruction" not in out


def test_a_model_with_the_pytorch_head():
    model = delg.create("delg_pytorch_r50", **BACKBONE, attention_channels=12, num_classes=5)
    out = model(IMAGES)
    assert model.local_dim == out["local_descriptors"].shape[-1] == 12
    assert array(model.attention_logits(out["attention_pooled"])).shape == (2, 5)
    assert {w.path for w in model.local_head.weights} >= {"local_head/conv1/kernel", "local_head/bn/moving_variance"}
    norms = np.linalg.norm(array(out["local_descriptors"]), axis=-1)
    np.testing.assert_allclose(norms, array(out["attention"]), rtol=1e-4)


def test_the_pytorch_head_sends_no_gradient_to_the_backbone():
    import tensorflow as tf

    model = delg.create("delg_pytorch_r50", **BACKBONE, attention_channels=12, num_classes=5)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum(model.attention_logits(model(IMAGES, training=True)["attention_pooled"]) ** 2)
    assert all(g is None for g in tape.gradient(loss, model.backbone.trainable_variables))
    head = tape.gradient(loss, model.local_head.trainable_variables)
    assert all(g is not None and np.isfinite(array(g)).all() for g in head)


def test_a_model_without_a_local_head(tmp_path):
    model = delg.create("cvnet_r50", **BACKBONE, num_classes=5)
    assert set(model(IMAGES)) == {"global_descriptor"}
    assert (model.local_dim, model.head_names, set(model.min_sides)) == (0, ("global",), {"global"})
    assert set(model.inference_model().predict_on_batch(IMAGES)) == {"global_descriptor"}
    with pytest.raises(ValueError, match="heads"):
        model.inference_model(("local",))
    assert array(model.arcface_logits(model(IMAGES)["global_descriptor"])).shape == (2, 5)
    with pytest.raises(ValueError, match="without a local head"):
        model.attention_logits(np.zeros((2, 16), "float32"))
    delg.save(model, tmp_path)
    np.testing.assert_array_equal(
        array(delg.load(tmp_path)(IMAGES)["global_descriptor"]), array(model(IMAGES)["global_descriptor"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"local_head": "torch"}, "delg, delg_pytorch"),
        ({"normalization": "caffe"}, "delg, .*imagenet_bgr"),
        ({"normalize_pooled": 1}, "normalize_pooled expects True or False"),
        ({"backbone": "resnet50(relup=1)"}, "relup expects True or False"),
        ({"backbone": "resnet50(relupp=True)"}, "relup, stage1_inner_leak"),
    ],
)
def test_bad_choices_answer_with_the_choices(arguments, message):
    with pytest.raises(InputError, match=message):
        delg.create("delg_small", **arguments)

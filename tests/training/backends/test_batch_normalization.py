"""The fused batch normalisation equals the Keras layer: output, gradients, moving averages."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.training.tiny import tiny_model
from training.backends.batch_normalization import fuse_batch_normalization


def normalization(**settings) -> layers.BatchNormalization:
    layer = layers.BatchNormalization(**{"momentum": 0.8, "epsilon": 0.01, **settings})
    layer.build((None, None, None, 4))
    layer.gamma.assign([1.0, 2.0, -1.0, 0.5])
    layer.beta.assign([0.0, 1.0, 2.0, 3.0])
    layer.moving_variance.assign([4.0, 3.0, 2.0, 1.0])
    return layer


def results(layer: layers.BatchNormalization, training: bool) -> list[np.ndarray]:
    x = tf.constant(np.random.default_rng(0).normal(3.0, 2.0, (2, 3, 2, 4)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(y**3)
    gradients = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
    return [np.asarray(ops.convert_to_numpy(value)) for value in (y, *gradients, *layer.weights)]


def test_it_equals_the_keras_layer():
    for training in (True, False):
        fused, plain = normalization(), normalization()
        assert fuse_batch_normalization([fused, layers.ReLU()]) == 1
        for ours, theirs in zip(results(fused, training), results(plain, training), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert not np.allclose(results(normalization(), True)[0], results(normalization(), False)[0])


def test_layers_that_do_not_fit_are_left_alone():
    frozen = normalization()
    frozen.trainable = False
    others = [normalization(dtype="float64"), layers.BatchNormalization(scale=False), frozen, layers.Dense(2)]
    assert fuse_batch_normalization(others) == 0


def test_a_whole_backbone():
    model = tiny_model()
    count = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.backbone.layers)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    before = ops.convert_to_numpy(model(x, training=False)["global_descriptor"])
    plain = ops.convert_to_numpy(model(x, training=True)["global_descriptor"])
    assert fuse_batch_normalization(model.backbone.layers) == count > 2
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(x, training=True)["global_descriptor"]), plain, rtol=1e-4, atol=1e-5
    )
    assert not np.allclose(before, plain, atol=1e-3)

"""The training step of the released recipe in plain TensorFlow, written from its description: the reference of a row.

ResNet-50 with the strides in the first 1x1 convolutions, SAME and VALID padding, fused batch normalisation; GeM and
whitening layer with ArcFace by the arc cosine; autoencoder and attention behind a stopped gradient; SGD with momentum
0.9 after clipping at a global norm of 10.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any
MOMENTUM, CLIP, EPSILON, DECAY = 0.9, 10.0, 1e-3, 0.99
STAGES = ((2, "abc", 1), (3, "abcd", 2), (4, "abcdef", 2), (5, "abc", 1))


class ReleasedStep:
    """One compiled step.

    Args:
      weights: values by the paths of our model, such as ``res2a_branch2a/kernel``.
      trainable: the paths that are trained.
      margin: of ArcFace.
      scale: of ArcFace.
      batch: images of a step.
    """

    def __init__(
        self, weights: Mapping[str, np.ndarray], trainable: set[str], margin: float, scale: float, batch: int
    ) -> None:
        self.w = {path: tf.Variable(value, trainable=path in trainable) for path, value in weights.items()}
        self._trained = [path for path in self.w if path in trainable]
        self._momenta = {path: tf.Variable(tf.zeros_like(self.w[path]), trainable=False) for path in self._trained}
        self._margin, self._scale, self._batch = margin, scale, batch
        self.step = tf.function(self._step, autograph=False)

    def _step(self, images: Tensor, labels: Tensor, rate: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            loss = self._loss((images - 128.0) / 128.0, labels)
        gradients = tape.gradient(loss, [self.w[path] for path in self._trained])
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP)
        for path, gradient in zip(self._trained, gradients):
            momentum = self._momenta[path]
            momentum.assign(MOMENTUM * momentum - rate * gradient)
            self.w[path].assign_add(momentum)
        return loss

    def _loss(self, x: Tensor, labels: Tensor) -> Tensor:
        x = tf.nn.relu(self._bn(self._conv(x, "conv1", 2, "SAME"), "bn_conv1"))
        x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        block3 = x
        for stage, units, stride in STAGES:
            for unit in units:
                x = self._unit(x, f"{stage}{unit}", stride if unit == "a" else 1, project=unit == "a")
            if stage == 4:
                x = block3 = tf.nn.max_pool2d(x, 1, 2, "VALID")
        pooled = tf.pow(tf.reduce_mean(tf.pow(tf.maximum(x, 1e-6), 3.0), (1, 2)), 1.0 / 3.0)
        descriptor = tf.matmul(pooled, self.w["embedding_layer/kernel"]) + self.w["embedding_layer/bias"]
        total = self._cross_entropy(self._arcface(descriptor, labels), labels)
        target = tf.stop_gradient(block3)
        head = "local_head"
        code = self._conv(target, f"{head}/autoencoder/autoenc_conv1", 1, "SAME")
        decoded = tf.nn.relu(self._conv(code, f"{head}/autoencoder/autoenc_conv2", 1, "SAME"))
        hidden = self._conv(decoded, f"{head}/attention/attn_conv1", 1, "SAME")
        hidden = tf.nn.relu(self._bn(hidden, f"{head}/attention/bn_conv1"))
        attention = tf.nn.softplus(self._conv(hidden, f"{head}/attention/attn_conv2", 1, "SAME"))
        attended = tf.reduce_mean(tf.nn.l2_normalize(target, -1) * attention, (1, 2))
        logits = tf.matmul(attended, self.w["att_fc/kernel"]) + self.w["att_fc/bias"]
        total += self._cross_entropy(logits, labels)
        return total + 10.0 * tf.reduce_mean(tf.square(target - decoded))

    def _unit(self, x: Tensor, name: str, stride: int, project: bool) -> Tensor:
        y = tf.nn.relu(self._bn(self._conv(x, f"res{name}_branch2a", stride, "VALID"), f"bn{name}_branch2a"))
        y = tf.nn.relu(self._bn(self._conv(y, f"res{name}_branch2b", 1, "SAME"), f"bn{name}_branch2b"))
        y = self._bn(self._conv(y, f"res{name}_branch2c", 1, "VALID"), f"bn{name}_branch2c")
        if project:
            x = self._bn(self._conv(x, f"res{name}_branch1", stride, "VALID"), f"bn{name}_branch1")
        return tf.nn.relu(x + y)

    def _conv(self, x: Tensor, name: str, stride: int, padding: str) -> Tensor:
        return tf.nn.bias_add(tf.nn.conv2d(x, self.w[f"{name}/kernel"], stride, padding), self.w[f"{name}/bias"])

    def _bn(self, x: Tensor, name: str) -> Tensor:
        gamma, beta = self.w[f"{name}/gamma"], self.w[f"{name}/beta"]
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=EPSILON, is_training=True)
        for moving, value in (("moving_mean", mean), ("moving_variance", variance)):
            kept = self.w[f"{name}/{moving}"]
            kept.assign(kept * DECAY + value * (1.0 - DECAY))
        return y

    def _arcface(self, descriptor: Tensor, labels: Tensor) -> Tensor:
        unit, classes = tf.nn.l2_normalize(descriptor, 1), tf.nn.l2_normalize(self.w["classifier/cosine_weights"], 0)
        cosine = tf.matmul(unit, classes)
        theta = tf.acos(cosine)
        shifted = tf.where(theta <= np.pi - self._margin, tf.cos(theta + self._margin), cosine)
        return self._scale * tf.where(tf.one_hot(labels, classes.shape[1]) > 0, shifted, cosine)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)) / self._batch

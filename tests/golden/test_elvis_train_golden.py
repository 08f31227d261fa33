"""The loss of ELViS and its gradients in float64 against the released network."""

import numpy as np
import tensorflow as tf

from matching.rerankers.elvis_network import shapes_for
from tests.golden import rule
from tests.golden.conftest import SECOND, load_golden
from training.elvis import logits, scores

RELATIVE = 1e-8
LABELS = (1.0, 1, 1, 0, 0, 0)


def padded(golden, side, length=26):
    """Descriptors ``(6, 26, D)`` and masks of one side of the six pairs."""
    rows = [golden[f"elvis/pair{i}/{side}"][~golden[f"elvis/pair{i}/{side}_mask"]] for i in range(len(LABELS))]
    descriptors, mask = np.zeros((len(rows), length, rows[0].shape[1])), np.ones((len(rows), length), bool)
    for i, values in enumerate(rows):
        descriptors[i, : len(values)], mask[i, : len(values)] = values, False
    return tf.constant(descriptors), tf.constant(mask)


def test_loss_and_gradients(request, salt2, measured):
    golden = load_golden(request.config, "rerankers", SECOND)
    shapes = shapes_for(128, golden["elvis/pair0/query"].shape[1])
    weights = {name: tf.Variable(rule.vit_weight(name, shape, salt2).astype("f8")) for name, shape in shapes.items()}
    with tf.GradientTape() as tape:
        values = logits(weights, scores(weights, *padded(golden, "query"), *padded(golden, "image")))
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=np.array(LABELS), logits=values))
    gradients = dict(zip(weights, tape.gradient(loss, list(weights.values()))))

    def check(stage, value, expected):
        difference = np.abs(np.ravel(value) - np.ravel(expected)).max() / np.abs(expected).max()
        measured(f"ELViS training, float64: {stage}", float(difference), RELATIVE)

    check("logits", values, golden["elvis/train64/logits"])
    check("loss", loss, golden["elvis/train64/loss"])
    for name, gradient in gradients.items():
        key = f"elvis/train64/grad/{name}"
        check("gradients", rule.sample(gradient.numpy(), key, 256), golden[key])
        check("norms of gradients", tf.norm(gradient), golden[f"{key}/norm"])

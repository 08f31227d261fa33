"""Optimizers, moving averages, image operations and losses against the numbers of tensorflow-addons 0.23.0.

``scripts/studies/addons_oracle.sh`` rebuilds the numbers.
"""

import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.golden.conftest import largest_difference
from training.averaging import AverageConfig, MovingAverage
from training.input import image_ops
from training.losses import metric
from training.optimizers import build_optimizer

DATA = Path(__file__).parents[1] / "training" / "data" / "addons.npz"
OURS = {
    "adamw": "adamw_addons(weight_decay=0.02)",
    "adamw_other": "adamw_addons(weight_decay=0.3, beta_1=0.8, beta_2=0.95, epsilon=0.001, amsgrad=True)",
    "sgdw": "sgdw_addons(weight_decay=0.02, momentum=0.9)",
    "sgdw_nesterov": "sgdw_addons(weight_decay=0.1, momentum=0.5, nesterov=True)",
    "sgdw_plain": "sgdw_addons(weight_decay=0.5)",
}


@pytest.fixture(scope="module")
def addons() -> dict[str, np.ndarray]:
    with np.load(DATA) as file:
        return dict(file)


@pytest.fixture(scope="module")
def meta(addons) -> dict:
    return json.loads(str(addons["meta"]))


def test_every_array_is_compared(addons, meta):
    groups = {name.split("/")[0] for name in addons}
    assert groups == {
        "meta", "optimizer", "average", "image", "rotate", "cutout", "random_cutout", "blur", "hsv", "random_hsv",
        "embeddings", "distances", "similarities", "labels", "pairs", "triplet", "npairs", "contrastive",
        "npairs_multilabel",
    }  # fmt: skip
    assert meta["versions"] == {"tensorflow": "2.15.1", "tensorflow-addons": "0.23.0"}
    assert set(OURS) == set(meta["optimizers"])


def steps(addons, text: str) -> dict[str, np.ndarray]:
    names = ("kernel", "bias")
    weights = {name: keras.Variable(addons[f"optimizer/start/{name}"], name=name) for name in names}
    optimizer = build_optimizer(text)
    optimizer.build(list(weights.values()))
    after: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for number, rate in enumerate(addons["optimizer/rates"]):
        optimizer.learning_rate.assign(rate)
        gradients = [tf.constant(addons[f"optimizer/gradient/{name}"][number]) for name in names]
        optimizer.apply(gradients, list(weights.values()))
        for name in names:
            after[name].append(np.array(keras.ops.convert_to_numpy(weights[name])))
    return {name: np.stack(values) for name, values in after.items()}


@pytest.mark.parametrize("case", sorted(OURS))
def test_weight_decay_that_the_learning_rate_leaves_alone(case, addons, measured):
    kind = case.split("_")[0].replace("w", "W").replace("adam", "Adam").replace("sgd", "SGD")
    for name, value in steps(addons, OURS[case]).items():
        measured(f"addons: {kind}", largest_difference(value, addons[f"optimizer/{case}/{name}"]), 1e-5)


def test_weight_decay_of_keras_is_another_one(addons):
    ours = steps(addons, "adamw(weight_decay=0.02)")["kernel"]
    assert largest_difference(ours, addons["optimizer/adamw/kernel"]) > 0.01
    # with a constant rate the two agree when the decay is the rate times the Keras one
    constant = addons | {"optimizer/rates": np.full(4, 0.1, np.float32)}
    pair = [steps(constant, text)["kernel"] for text in ("adamw(weight_decay=0.5)", "adamw_addons(weight_decay=0.05)")]
    assert largest_difference(*pair) < 1e-6
    pair = [
        steps(constant, text)
        for text in (
            "sgd(momentum=0.5, weight_decay=0.5)",
            "sgdw_addons(momentum=0.5, weight_decay=0.05, kernels_only=True)",
        )
    ]
    assert all(largest_difference(pair[0][name], pair[1][name]) < 1e-6 for name in ("kernel", "bias"))


def test_moving_averages(addons, meta, measured):
    names = {
        "average_decay": "decay",
        "dynamic_decay": "dynamic",
        "start_step": "start_step",
        "num_updates": "num_updates",
    }
    for case, arguments in meta["averages"].items():
        weight = keras.Variable(addons["optimizer/start/kernel"])
        average = MovingAverage([weight], AverageConfig(**{names[key]: value for key, value in arguments.items()}))
        for step, value in enumerate(addons["average/weights"]):
            weight.assign(value)
            average.update(tf.constant(step))
            ours = average.averages[0].numpy()
            measured("addons: MovingAverage", largest_difference(ours, addons[f"average/{case}"][step]), 1e-6)
        with average.applied():
            assigned = np.array(keras.ops.convert_to_numpy(weight))
        measured("addons: MovingAverage", largest_difference(assigned, addons[f"average/{case}/assigned"]), 1e-6)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), addons["average/weights"][-1])


def test_rotation(addons, meta, measured):
    image = tf.constant(addons["image"])
    for interpolation in image_ops.INTERPOLATIONS:
        for fill, value in meta["fills"].items():
            for angle, expected in zip(meta["rotations"], addons[f"rotate/{interpolation}/{fill}"], strict=True):
                ours = image_ops.rotate(image, tf.constant(angle), interpolation, fill, value).numpy()
                measured("addons: rotate, of 255", largest_difference(ours, expected), 1e-3)


def test_cutout(addons, meta, measured):
    image = tf.constant(addons["image"])
    for case, (size, centre) in meta["cutouts"].items():
        ours = image_ops.cut_out(image, size, tf.constant(centre), 9.0).numpy()
        measured("addons: cutout", largest_difference(ours, addons[f"cutout/{case}"]), 0.0)
    for expected in addons["random_cutout"]:
        rows, columns = np.nonzero((expected == 300).all(-1))
        centre = tf.constant([rows.min() + 2, columns.min() + 4])  # the first pixel and half of (4, 8)
        ours = image_ops.cut_out(image, (4, 8), centre, 300.0).numpy()
        measured("addons: cutout", largest_difference(ours, expected), 0.0)


def test_blur(addons, meta, measured):
    for case, ((size, _), sigma, padding) in meta["blurs"].items():
        ours = image_ops.gaussian_blur(tf.constant(addons["image"]), size, tf.constant(sigma), padding).numpy()
        measured("addons: gaussian_filter2d, of 255", largest_difference(ours, addons[f"blur/{case}"]), 1e-3)


def test_colours(addons, meta, measured):
    image = tf.constant(addons["image"])
    for case, parameters in meta["colours"].items():
        ours = image_ops.adjust_hsv(image, *(tf.constant(value) for value in parameters)).numpy()
        measured("addons: adjust_hsv_in_yiq, of 255", largest_difference(ours, addons[f"hsv/{case}"]), 1e-3)


def test_random_colours_are_the_adjustment_with_other_parameters(addons, measured):
    """The parameters are found again: grey tells the value, the chroma of one pixel the rest."""
    image = addons["image"].astype(np.float64)
    for expected in addons["random_hsv"]:
        before, after = (values @ image_ops.YIQ.T for values in (image, expected.astype(np.float64)))
        value = (after[..., 0] / before[..., 0]).mean()
        chroma = (after[..., 1] + 1j * after[..., 2]).sum() / (before[..., 1] + 1j * before[..., 2]).sum()
        hue, saturation = math.atan2(chroma.imag, chroma.real), abs(chroma) / value
        assert abs(hue) <= 0.5 and 0.6 <= saturation <= 1.4 and 0.7 <= value <= 1.2
        parameters = [tf.constant(number, tf.float32) for number in (hue, saturation, value)]
        ours = image_ops.adjust_hsv(tf.constant(addons["image"]), *parameters).numpy()
        measured("addons: random_hsv_in_yiq, of 255", largest_difference(ours, expected), 3e-3)


def with_gradient(function, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = function(variable)
    return value.numpy(), tape.gradient(value, variable).numpy()


def losses(addons):
    """Name, our function, its argument and the stage of every golden loss."""
    for name in sorted(name.removesuffix("/gradient") for name in addons if name.endswith("/gradient")):
        kind, *rest = name.split("/")
        if kind == "triplet":
            labels, distance, margin = tf.constant(addons[f"labels/{rest[0]}"]), rest[1], float(rest[2])
            yield (
                name,
                lambda x, y=labels, d=distance, m=margin: metric.triplet_semihard_loss(y, x, m, d),
                addons["embeddings"],
                "triplet_semihard_loss",
            )
        elif kind == "npairs":
            labels = tf.constant(addons[f"labels/{rest[0]}"])
            yield name, lambda s, y=labels: metric.npairs_loss(y, s), addons["similarities"], "npairs_loss"
        elif kind == "contrastive":
            same = tf.constant(addons["pairs/same"])
            margin = float(rest[0])
            yield (
                name,
                lambda d, y=same, m=margin: metric.contrastive_loss(y, d, m),
                addons["distances"],
                "contrastive_loss",
            )
        else:
            hot = tf.constant(addons["labels/hot"])
            yield (
                name,
                lambda s, y=hot: metric.npairs_multilabel_loss(y, s),
                addons["similarities"],
                "npairs_multilabel_loss",
            )


def test_losses_and_their_gradients(addons, measured):
    compared = 0
    for name, function, argument, stage in losses(addons):
        value, gradient = with_gradient(function, argument)
        measured(f"addons: {stage}", largest_difference(value, addons[f"{name}/value"]), 2e-6)
        measured(f"addons: {stage}, gradient", largest_difference(gradient, addons[f"{name}/gradient"]), 2e-6)
        compared += 1
    assert compared == 3 * 2 * 3 + 3 + 2 + 1

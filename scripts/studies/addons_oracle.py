"""Numbers of tensorflow-addons for the tests of our training options; run by ``addons_oracle.sh`` in its environment.

Inputs are drawn from a fixed seed and kept with the outputs, so that the tests need nothing but the file. Run again
it compares: every array must be there and equal, to the bit on one machine, to 1e-6 of the largest value on another.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

RATES = (0.1, 0.05, 0.2, 0.01, 0.0, 0.1)
SHAPES = {"kernel": (3, 4), "bias": (4,)}
OPTIMIZERS = {
    "adamw": (tfa.optimizers.AdamW, {"weight_decay": 0.02}),
    "adamw_other": (
        tfa.optimizers.AdamW,
        {"weight_decay": 0.3, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": True},
    ),
    "sgdw": (tfa.optimizers.SGDW, {"weight_decay": 0.02, "momentum": 0.9}),
    "sgdw_nesterov": (tfa.optimizers.SGDW, {"weight_decay": 0.1, "momentum": 0.5, "nesterov": True}),
    "sgdw_plain": (tfa.optimizers.SGDW, {"weight_decay": 0.5}),
}
AVERAGES = {
    "plain": {"average_decay": 0.9},
    "start_step": {"average_decay": 0.7, "start_step": 2},
    "dynamic": {"average_decay": 0.25, "dynamic_decay": True},
    "dynamic_start_step": {"average_decay": 0.99, "start_step": 3, "dynamic_decay": True},
    "num_updates": {"average_decay": 0.99, "num_updates": 5},
}
ROTATIONS = (0.3, -1.1, 2.0)
FILLS = {"constant": 7.0, "reflect": 0.0, "wrap": 0.0, "nearest": 0.0}
CUTOUTS = {
    "inside": ((4, 6), (5, 7)),
    "corner": ((8, 8), (0, 15)),
    "edge": ((6, 2), (11, 3)),
    "all": ((40, 40), (6, 8)),
}
BLURS = {
    "3": ((3, 3), 1.0, "REFLECT"),
    "7": ((7, 7), 2.5, "REFLECT"),
    "4": ((4, 4), 0.7, "REFLECT"),
    "constant": ((5, 5), 1.5, "CONSTANT"),
    "symmetric": ((5, 5), 1.5, "SYMMETRIC"),
}
COLOURS = {"hue": (0.7, 1.0, 1.0), "saturation": (0.0, 1.6, 1.0), "value": (0.0, 1.0, 0.4), "all": (-2.1, 0.3, 1.3)}
LABELS = {
    "mixed": [0, 1, 2, 0, 1, 2, 0, 3, 3, 0],
    "one_class": [4] * 10,
    "two_classes": [0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
}

Arrays = dict[str, np.ndarray]


def optimizers(random: np.random.RandomState) -> Arrays:
    """Weights after every step of given gradients and learning rates."""
    start = {name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    gradients = {
        name: random.standard_normal((len(RATES), *shape)).astype(np.float32) for name, shape in SHAPES.items()
    }
    out = {"optimizer/rates": np.array(RATES, np.float32)}
    out |= {f"optimizer/start/{name}": value for name, value in start.items()}
    out |= {f"optimizer/gradient/{name}": value for name, value in gradients.items()}
    for case, (kind, arguments) in OPTIMIZERS.items():
        optimizer = kind(learning_rate=0.0, **arguments)
        weights = {name: tf.Variable(value) for name, value in start.items()}
        steps: dict[str, list[np.ndarray]] = {name: [] for name in weights}
        for number, rate in enumerate(RATES):
            optimizer.learning_rate = rate
            optimizer.apply_gradients([(tf.constant(gradients[n][number]), v) for n, v in weights.items()])
            for name, value in weights.items():
                steps[name].append(value.numpy())
        out |= {f"optimizer/{case}/{name}": np.stack(values) for name, values in steps.items()}
    for case, arguments in AVERAGES.items():
        weight = tf.Variable(start["kernel"])
        wrapped = tf.keras.optimizers.legacy.SGD(learning_rate=0.1, momentum=0.9)
        optimizer = tfa.optimizers.MovingAverage(wrapped, **arguments)
        averages, weights_after = [], []
        for gradient in gradients["kernel"]:
            optimizer.apply_gradients([(tf.constant(gradient), weight)])
            averages.append(optimizer.get_slot(weight, "average").numpy())
            weights_after.append(weight.numpy())
        out[f"average/{case}"] = np.stack(averages)
        out["average/weights"] = np.stack(weights_after)
        optimizer.assign_average_vars([weight])
        out[f"average/{case}/assigned"] = weight.numpy()
    return out


def images(random: np.random.RandomState) -> Arrays:
    """The image operations on one image of float32 values in 0..255."""
    image = np.rint(random.uniform(0, 255, (12, 16, 3))).astype(np.float32)
    out = {"image": image}
    for interpolation in ("nearest", "bilinear"):
        for fill, value in FILLS.items():
            turned = [tfa.image.rotate(image, a, interpolation, fill_mode=fill, fill_value=value) for a in ROTATIONS]
            out[f"rotate/{interpolation}/{fill}"] = np.stack(turned)
    for case, (size, centre) in CUTOUTS.items():
        out[f"cutout/{case}"] = tfa.image.cutout(image[None], size, centre, 9.0)[0].numpy()
    tf.random.set_seed(3)
    out["random_cutout"] = tfa.image.random_cutout(np.stack([image] * 20), (4, 8), constant_values=300, seed=5).numpy()
    for case, (size, sigma, padding) in BLURS.items():
        out[f"blur/{case}"] = tfa.image.gaussian_filter2d(image, size, sigma, padding).numpy()
    for case, parameters in COLOURS.items():
        out[f"hsv/{case}"] = tfa.image.adjust_hsv_in_yiq(image, *parameters).numpy()
    tf.random.set_seed(4)
    out["random_hsv"] = np.stack([tfa.image.random_hsv_in_yiq(image, 0.5, 0.6, 1.4, 0.7, 1.2) for _ in range(4)])
    return out


def with_gradient(function, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The value and the gradient of its sum."""
    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = function(variable)
    return value.numpy(), tape.gradient(value, variable).numpy()


def losses(random: np.random.RandomState) -> Arrays:
    """The metric losses and their gradients."""
    embeddings = random.standard_normal((10, 6)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    distances = np.abs(random.standard_normal(10)).astype(np.float32)
    similarities = (3 * random.standard_normal((10, 10))).astype(np.float32)
    hot = (random.uniform(size=(10, 5)) < 0.4).astype(np.int64)
    hot[:, 0] |= hot.sum(1) == 0
    out = {"embeddings": embeddings, "distances": distances, "similarities": similarities, "labels/hot": hot}
    out["pairs/same"] = (random.uniform(size=10) < 0.5).astype(np.int64)
    functions = {}
    for name, values in LABELS.items():
        out[f"labels/{name}"] = labels = np.array(values, np.int64)
        for metric in ("L2", "squared-L2", "angular"):
            for margin in (1.0, 0.2):
                functions[f"triplet/{name}/{metric}/{margin}"] = (
                    lambda x, y=labels, m=margin, d=metric: tfa.losses.triplet_semihard_loss(y, x, m, d),
                    embeddings,
                )
        functions[f"npairs/{name}"] = (lambda s, y=labels: tfa.losses.npairs_loss(y, s), similarities)
    for margin in (1.0, 0.3):
        functions[f"contrastive/{margin}"] = (
            lambda d, m=margin: tfa.losses.contrastive_loss(out["pairs/same"], d, m),
            distances,
        )
    functions["npairs_multilabel"] = (lambda s: tfa.losses.npairs_multilabel_loss(hot, s), similarities)
    for name, (function, x) in functions.items():
        out[f"{name}/value"], out[f"{name}/gradient"] = with_gradient(function, x)
    return out


def meta() -> np.ndarray:
    """The parameters of the cases, as JSON."""
    text = {
        "versions": {"tensorflow": tf.__version__, "tensorflow-addons": tfa.__version__},
        "optimizers": {name: arguments for name, (_, arguments) in OPTIMIZERS.items()},
        "averages": AVERAGES,
        "rotations": ROTATIONS,
        "fills": FILLS,
        "cutouts": CUTOUTS,
        "blurs": BLURS,
        "colours": COLOURS,
    }
    return np.array(json.dumps(text, sort_keys=True))


def differences(ours: Arrays, there: Arrays) -> list[str]:
    """What differs between rebuilt and kept arrays, in words."""
    found = [f"{name}: only in one of them" for name in sorted(ours.keys() ^ there.keys())]
    for name in sorted(ours.keys() & there.keys()):
        a, b = ours[name], there[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            found.append(f"{name}: {a.shape} {a.dtype}, kept {b.shape} {b.dtype}")
        elif a.dtype.kind != "f":
            found += [] if np.array_equal(a, b) else [f"{name}: {a!r}, kept {b!r}"]
        elif not np.allclose(a, b, rtol=0, atol=1e-6 * max(1.0, float(np.abs(b).max(initial=0.0))), equal_nan=True):
            found.append(f"{name}: largest difference {np.abs(a - b).max():.3g}")
    return found


def main() -> None:
    """Builds the arrays and writes or compares them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--write", action="store_true", help="replace the file")
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")
    built: Arrays = {"meta": meta()}
    for seed, part in enumerate((optimizers, images, losses)):
        built |= part(np.random.RandomState(seed))
    if arguments.write:
        arguments.path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(arguments.path, **built)
        print(f"{len(built)} arrays written to {arguments.path}")
        return
    with np.load(arguments.path) as file:
        there = dict(file)
    found = differences(built, there)
    if found:
        sys.exit("\n".join(found))
    same = sum(np.array_equal(built[n], there[n], equal_nan=built[n].dtype.kind == "f") for n in built)
    print(f"{len(built)} arrays of {arguments.path} rebuilt: equal, {same} of them to the bit")


if __name__ == "__main__":
    main()

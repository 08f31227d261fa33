"""A training step of ResNet-50 at 321 pixels, batch 8, float32, with both heads and 1000 classes.

The reference is the released recipe in plain TensorFlow inside ``tf.function``, with the same first weights and fused
batch normalisation; losses of two steps, and how far each weight has moved after them, must agree before anything is
timed, and the first losses in bfloat16 and by XLA. The bound is
the arithmetic of the convolutions and the dense layers, forward and twice backward, at the speed of a large matrix
product. Memories are of fresh processes.
"""

import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from scripts.bench.measure import Options, added_memory, check, interleaved

BATCH, SIDE, CLASSES, RATE = 8, 321, 1000, 0.001
CHECK_RATE, ROUNDING = 0.02, 2.5e-7  # what a weight moves at this rate stands out of float32's rounding at 1
KINDS = ("ours", "reference")


def batch() -> tuple[Any, Any]:
    """Images ``(B, S, S, 3)`` in 0..255 and labels."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (BATCH, 12, 12, 3)).astype(np.float32)
    return tf.image.resize(coarse, (SIDE, SIDE)), tf.constant(rng.integers(0, CLASSES, BATCH))


def our_step(mixed: bool = False) -> tuple[Any, Any]:
    """Our model and its step."""
    import delg
    from training.assembly import policy
    from training.backends.batch_normalization import fuse_batch_normalization
    from training.backends.tensorflow_step import TrainStep
    from training.computation import StepConfig
    from training.optimizers import build_optimizer

    model = delg.create("delg_r50", num_classes=CLASSES, block3_strides=True, dtype=policy(mixed))
    optimizer = build_optimizer("sgd(momentum=0.9)")
    optimizer.build(model.trainable_variables)
    fuse_batch_normalization(model.backbone.layers)
    return model, TrainStep(model, optimizer, StepConfig(BATCH, SIDE))


def released_step(model: Any) -> Any:
    """The reference with the model's weights."""
    from scripts.bench.released_step import ReleasedStep

    weights = {variable.path: np.array(variable) for variable in model.weights}
    trainable = {variable.path for variable in model.trainable_variables}
    return ReleasedStep(weights, trainable, model.config["arcface_margin"], model.config["arcface_scale"], BATCH)


def peak_memory(kind: str) -> float | None:
    """Bytes that three steps add at most to a process that holds the weights."""
    import tensorflow as tf

    images, labels = batch()
    model, step = our_step()
    reference = released_step(model) if kind == "reference" else None

    def steps() -> None:
        for _ in range(3):
            if reference:
                reference.step(images, labels, tf.constant(RATE)).numpy()
            else:
                np.asarray(step(images, labels, RATE).metrics)

    return added_memory(steps)


def in_new_process(kind: str) -> float | None:
    """:func:`peak_memory` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak_memory, kind).result()


def product_speed() -> float:
    """Operations per second of a large matrix product on all cores."""
    import tensorflow as tf

    a = tf.random.normal((3072, 3072))
    product = tf.function(lambda: tf.matmul(a, a))
    product()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return 2.0 * 3072**3 / min(times)


def check_same(model: Any, step: Any, reference: Any) -> float:
    """Two steps: losses, and how far every weight and moving statistic has gone; gives the first loss."""
    import tensorflow as tf

    images, labels = batch()
    start, losses = {variable.path: np.array(variable) for variable in model.weights}, []
    for number in range(2):
        ours = float(step(images, labels, CHECK_RATE).metrics[0])
        losses.append(float(reference.step(images, labels, tf.constant(CHECK_RATE))))
        check(abs(ours - losses[-1]) < 1e-5 * losses[-1], f"loss of step {number + 1}: {ours} and {losses[-1]}")
    for variable in model.weights:
        theirs = reference.w[variable.path].numpy()
        moved, apart = (float(np.linalg.norm(theirs - v)) for v in (start[variable.path], np.array(variable)))
        allowed = 0.1 * moved + ROUNDING * theirs.size**0.5
        check(apart < allowed, f"{variable.path} moved by {moved}, apart by {apart}")
    return losses[0]


def row(options: Options) -> dict:
    """Measures per step; bfloat16 and XLA beside it."""
    import tensorflow as tf

    from scripts.bench.arithmetic import step_operations

    images, labels = batch()
    model, step = our_step()
    reference = released_step(model)
    first = check_same(model, step, reference)
    _, mixed = our_step(mixed=True)
    _, compiled = our_step()
    xla = tf.function(compiled._update, jit_compile=True, autograph=False)
    rate, off = tf.constant(RATE), tf.constant(False)
    actions = {
        "ours": lambda _: np.asarray(step(images, labels, RATE).metrics),
        "reference": lambda _: reference.step(images, labels, tf.constant(RATE)).numpy(),
        "bfloat16": lambda _: np.asarray(mixed(images, labels, RATE).metrics),
        "XLA": lambda _: np.asarray(xla(images, labels, rate, off)[0]),
    }
    for action in (actions[kind] for kind in KINDS):
        action(0)
    for kind, allowed in (("bfloat16", 0.005), ("XLA", 1e-4)):
        loss = float(actions[kind](0)[0])
        check(abs(loss - first) < allowed * first, f"the first loss in {kind}: {loss} and {first}")
    spent: dict[str, list[float]] = {kind: [] for kind in KINDS}

    def counted(kind: str) -> Any:
        def action(turn: int) -> None:
            start = time.process_time()
            actions[kind](turn)
            spent[kind].append(time.process_time() - start)

        return action

    seconds = interleaved(actions | {kind: counted(kind) for kind in KINDS}, options.repeats)
    peaks = {kind: in_new_process(kind) for kind in KINDS}
    return {
        "name": "train_step_r50",
        "unit": "step of 8 images",
        "ours": seconds["ours"],
        "reference": seconds["reference"],
        "bound": step_operations(model, SIDE, BATCH) / product_speed(),
        "notes": {
            **{f"processor time, {kind}, ms": round(1000 * statistics.median(spent[kind])) for kind in KINDS},
            "bfloat16, ms": round(1000 * seconds["bfloat16"], 1),
            "XLA, ms": round(1000 * seconds["XLA"], 1),
            **{f"memory that a step adds, {kind}, MiB": peak and round(peak / 2**20) for kind, peak in peaks.items()},
        },
    }

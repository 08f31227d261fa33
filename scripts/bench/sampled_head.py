"""A training step with 81,313 classes and descriptors of 2048 values: all classes, or a tenth of them.

The network before the head is small, so that the head decides. Ours is the sampled head, the reference the full one of
the same model. With as many sampled classes as there are the two must agree on a small head before anything is timed.
Memory is that of fresh processes: the weights and momenta, and the most that three steps add to what is resident.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

from scripts.bench.measure import Options, added_memory, check, interleaved

CLASSES, DIMENSION, BATCH, SIDE, RATE = 81_313, 2048, 32, 64, 0.01
TENTH = -(-CLASSES // 10)


def batch(classes: int) -> tuple[Any, Any]:
    """Images ``(B, S, S, 3)`` in 0..255 and labels."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(0, 255, (BATCH, SIDE, SIDE, 3)), tf.float32)
    return images, tf.constant(rng.integers(0, classes, BATCH))


def step_of(classes: int, dimension: int, sampled: int | None) -> tuple[Any, Any]:
    """A model and its step."""
    import delg
    from training.backends.batch_normalization import fuse_batch_normalization
    from training.backends.tensorflow_step import TrainStep
    from training.computation import StepConfig
    from training.optimizers import build_optimizer
    from training.sampled import SampledHead

    model = delg.create(
        "delg_small", num_classes=classes, embedding_dim=dimension, local_head=None, local_dim=None,
        sampled_classifier=sampled is not None,
    )  # fmt: skip
    rule = build_optimizer("sgd(momentum=0.9)")
    rule.build(model.trainable_variables)
    fuse_batch_normalization(model.backbone.layers)
    head = SampledHead(model, rule, sampled, seed=0) if sampled else None
    return model, TrainStep(model, rule, StepConfig(BATCH, SIDE), sampled=head)


def check_same() -> None:
    """A head of 50 classes, all of them sampled, learns as the full one: losses, and how far the vectors move."""
    images, labels = batch(50)
    (sampled, ours), (full, reference) = step_of(50, 32, 50), step_of(50, 32, None)
    start = np.array(sampled.classifier.class_vectors)
    full.classifier.cosine_weights.assign(start.T)
    for _ in range(2):
        values = [float(step(images, labels, RATE).metrics[0]) for step in (ours, reference)]
        check(abs(values[0] - values[1]) < 1e-5 * values[1], f"losses {values}")
    theirs = np.array(full.classifier.cosine_weights).T
    moved, apart = (np.abs(theirs - other).max() for other in (start, np.array(sampled.classifier.class_vectors)))
    check(apart < 1e-3 * moved, f"class vectors moved by {moved}, apart by {apart}")


def peak_memory(sampled: int | None) -> dict[str, float | None]:
    """Bytes of the weights and momenta, which stay, and the most that three steps add to them.

    Without oneDNN's allocator, which keeps what a step frees, so that resident memory would tell of its past.
    """
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    images, labels = batch(CLASSES)
    step_of(50, 32, 40 if sampled else None)[1](images, labels % 50, RATE)
    model, step = step_of(CLASSES, DIMENSION, sampled)

    def steps() -> None:
        for _ in range(3):
            np.asarray(step(images, labels, RATE).metrics)

    return {"stays": 8.0 * model.count_params(), "a step adds": added_memory(steps)}


def in_new_process(sampled: int | None) -> dict[str, float | None]:
    """:func:`peak_memory` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peak_memory, sampled).result()


def row(options: Options) -> dict:
    """Measures per step. There is no bound."""
    check_same()
    peaks = {"sampled": in_new_process(TENTH), "full": in_new_process(None)}
    images, labels = batch(CLASSES)
    (_, ours), (_, reference) = step_of(CLASSES, DIMENSION, TENTH), step_of(CLASSES, DIMENSION, None)
    actions = {
        "ours": lambda _: np.asarray(ours(images, labels, RATE).metrics),
        "reference": lambda _: np.asarray(reference(images, labels, RATE).metrics),
    }
    for action in actions.values():
        action(0)
    return {
        "name": "sampled_head",
        "unit": f"step of {BATCH} images",
        **interleaved(actions, options.repeats),
        "notes": {
            "classes a step": TENTH,
            **{
                f"memory, {kind}, {what}, MiB": value and round(value / 2**20)
                for kind, found in peaks.items()
                for what, value in found.items()
            },
            **{
                f"arrays of the {kind} classes' size that a step adds": found["a step adds"]
                and round(found["a step adds"] / (4 * DIMENSION * count), 2)
                for (kind, found), count in zip(peaks.items(), (TENTH, CLASSES))
            },
        },
    }

"""A training step with 81,313 classes and descriptors of 2048 values: all classes, or a tenth of them.

The network before the head is small, so that the head decides. Ours is the sampled head, the reference the full one of
the same model. With as many sampled classes as there are the two must agree on a small head before anything is timed.
Memory is that of fresh processes that make three steps, above what they held before the model was made.
"""

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
    from training.computation import StepConfig
    from training.fused import fuse_batch_normalization
    from training.optimizers import build_optimizer
    from training.sampled import SampledHead
    from training.step import TrainStep

    model = delg.from_preset(
        "delg_small", num_classes=classes, embedding_dim=dimension, local_head=None, local_dim=None,
        sampled_classifier=sampled is not None,
    )  # fmt: skip
    rule = build_optimizer("sgd(momentum=0.9)")
    rule.build(model.trainable_variables)
    fuse_batch_normalization(model.backbone.layers)
    head = SampledHead(model, rule, sampled, seed=0) if sampled else None
    return model, TrainStep(model, rule, StepConfig(BATCH, SIDE), sampled=head)


def check_same() -> None:
    """A head of 50 classes, all of them sampled, learns as the full one."""
    images, labels = batch(50)
    (sampled, ours), (full, reference) = step_of(50, 32, 50), step_of(50, 32, None)
    full.classifier.cosine_weights.assign(np.array(sampled.classifier.class_vectors).T)
    for _ in range(2):
        values = [float(step(images, labels, RATE).metrics[0]) for step in (ours, reference)]
        check(abs(values[0] - values[1]) < 1e-3 * values[1], f"losses {values}")
    apart = np.abs(np.array(sampled.classifier.class_vectors).T - np.array(full.classifier.cosine_weights)).max()
    check(apart < 1e-5, f"class vectors, by {apart}")


def peak_memory(sampled: int | None) -> float | None:
    """Bytes that the model and three steps add at most to a process that has made a small step."""
    images, labels = batch(CLASSES)
    step_of(50, 32, 40 if sampled else None)[1](images, labels % 50, RATE)

    def steps() -> None:
        _, step = step_of(CLASSES, DIMENSION, sampled)
        for _ in range(3):
            np.asarray(step(images, labels, RATE).metrics)

    return added_memory(steps)


def in_new_process(sampled: int | None) -> float | None:
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
            **{f"peak memory, {kind}, MiB": value and round(value / 2**20) for kind, value in peaks.items()},
            "vectors and momenta, MiB": round(8 * CLASSES * DIMENSION / 2**20),
        },
    }

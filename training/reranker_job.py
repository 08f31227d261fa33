"""The training of ELViS on the features of labelled photos."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from delg.common.errors import InputError
from delg.common.files import atomic_path
from delg.common.safetensors_file import write_safetensors
from extraction.formats.base import FeatureSource
from matching.rerankers.descriptors import unit_rows
from training.elvis import Weights, centre_logits, initial_weights, logits, scores
from training.options import TrainRerankerOptions
from training.schedules import cosine
from training.triplets import Rows, Triplets

SAMPLE = 100  # images whose descriptors are averaged
LEAST_LENGTH = 0.5  # share of --features that a batch has at least


@dataclass(frozen=True)
class Epoch:
    """What an epoch ended with: mean loss, and share of right decisions at probability 0.5."""

    number: int
    loss: float
    accuracy: float
    seconds: float


def classes_of(source: FeatureSource) -> list[str]:
    """The class of each image: the first folder of its name.

    Raises:
      InputError: an image lies in no folder.
    """
    loose = next((name for name in source.names if "/" not in name), None)
    if loose is not None:
        raise InputError(f"The features in {source.folder} expect names CLASS/PHOTO. Received: {loose}")
    return [name.partition("/")[0] for name in source.names]


def train(
    source: FeatureSource, labels: Sequence[str], options: TrainRerankerOptions, report: Callable[[Epoch], None]
) -> dict[str, np.ndarray]:
    """Trains ELViS by the released recipe: AdamW, a warm-up over a tenth of the steps, then a cosine to 0.

    Args:
      source: global descriptors, and local features.
      labels: the class of each image.
      options: of the training.
      report: called after each epoch.

    Returns:
      float32 weights by the names of the released checkpoints.

    Raises:
      InputError: the features suit no training.
    """
    some = np.linspace(0, len(source) - 1, min(len(source), SAMPLE)).astype(int)
    sample = [unit_rows(features) for features in map(source.features, some.tolist()) if len(features)]
    if not sample or not source.global_descriptors.shape[1]:
        raise InputError(f"The features in {source.folder} expect both global descriptors and local features.")
    triplets = Triplets.of(np.asarray(source.global_descriptors, np.float32), labels)
    random = np.random.default_rng(options.seed)
    mean = np.concatenate(sample).mean(axis=0)
    weights = {name: tf.Variable(array) for name, array in initial_weights(mean, options.seed).items()}
    variables = list(weights.values())
    size = min(options.batch_size, len(triplets.anchors))
    steps = options.epochs * (len(triplets.anchors) // size)
    rate = cosine(options.initial_lr, steps, warmup=steps // 10)
    optimizer = keras.optimizers.AdamW(learning_rate=options.initial_lr, weight_decay=options.weight_decay)
    optimizer.build(variables)
    step = tf.function(_losses, reduce_retracing=True)
    done = 0
    for epoch in range(options.epochs):
        started, losses, right = time.monotonic(), [], []
        for rows in triplets.batches(size, random):
            lengths = random.integers(max(1, int(LEAST_LENGTH * options.features)), options.features + 1, 2)
            batch = _batch(source, rows, lengths, len(mean))
            if not done:
                centre_logits(weights, _pair_scores(weights, *batch).numpy())
            loss, values, gradients = step(weights, *batch)
            optimizer.learning_rate = rate(done)
            optimizer.apply_gradients(zip(gradients, variables))
            losses.append(float(loss))
            right.append(np.mean((values.numpy() > 0) == np.repeat([True, False], len(rows))))
            done += 1
        report(Epoch(epoch + 1, float(np.mean(losses)), float(np.mean(right)), time.monotonic() - started))
    return {name: variable.numpy() for name, variable in weights.items()}


def _losses(weights: Weights, query: Any, query_mask: Any, image: Any, image_mask: Any) -> tuple[Any, Any, list[Any]]:
    """Loss, logits and gradients of a batch whose images are all positives, then all negatives."""
    count = tf.shape(query)[0]
    targets = tf.concat([tf.ones(count, query.dtype), tf.zeros(count, query.dtype)], axis=0)
    with tf.GradientTape() as tape:
        values = logits(weights, _pair_scores(weights, query, query_mask, image, image_mask))
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=values))
    return loss, values, tape.gradient(loss, list(weights.values()))


def _pair_scores(weights: Weights, query: Any, query_mask: Any, image: Any, image_mask: Any) -> Any:
    """Scores of the queries with the positives, then with the negatives."""
    query, query_mask = (tf.concat([side, side], axis=0) for side in (query, query_mask))
    return scores(weights, query, query_mask, image, image_mask)


def _batch(source: FeatureSource, rows: Rows, lengths: Any, width: int) -> list[Any]:
    """Descriptors and masks of the anchors, then of all positives and all negatives."""
    sides: list[Any] = []
    for images, length in ((rows[:, 0], lengths[0]), (rows[:, 1:].T.ravel(), lengths[1])):
        descriptors = np.zeros((len(images), length, width), np.float32)
        mask = np.ones((len(images), length), bool)
        for place, row in enumerate(images):
            features = source.features(int(row)).top(int(length))
            if len(features):
                descriptors[place, : len(features)] = unit_rows(features)
                mask[place, : len(features)] = False
        sides += [tf.constant(descriptors), tf.constant(mask)]
    return sides


def save(weights: dict[str, np.ndarray], path: Path) -> None:
    """Writes weights as safetensors, beside their place first."""
    with atomic_path(path) as temporary:
        write_safetensors(temporary, weights)

"""How batches are made, and which part of them a process makes."""

import os
from dataclasses import dataclass

import tensorflow as tf

from training.input.augment import Augmentation

as_written = tf.autograph.experimental.do_not_convert
"""Has tf.data trace a function of ours, whose branches are all of ``tf.cond``, without rewriting its source first."""


@dataclass(frozen=True)
class InputConfig:
    """How batches are made.

    Attributes:
      batch_size: images per batch.
      image_size: side ``S`` of the square images in pixels.
      augmentation: augmentation of training images.
      seed: seed of order and augmentation.
      cache: whether decoded images stay in memory; None decides by their size.
      shuffle_buffer: records that are shuffled at once when streaming (released: 100).
      keep_aspect: whether training and validation images keep their ratio of width and height, with grey (128) in the
        rest of the square; the released code stretches every image to the square.
      threads: number of images prepared at once; None for the number of CPU cores.
    """

    batch_size: int
    image_size: int
    augmentation: Augmentation
    seed: int = 0
    cache: bool | None = None
    shuffle_buffer: int = 1024
    keep_aspect: bool = False
    threads: int | None = None


@dataclass(frozen=True)
class Share:
    """The part of every global batch that one process prepares.

    Attributes:
      worker: number of the process.
      workers: number of processes, which divide the batch in their order.
      replicas: number of devices of all processes.
    """

    worker: int = 0
    workers: int = 1
    replicas: int = 1


WHOLE = Share()


def threads(config: InputConfig) -> int:
    """Number of images that are prepared at once."""
    return config.threads or os.cpu_count() or 1


def dataset_options(config: InputConfig) -> tf.data.Options:
    """Options of the last dataset of a pipeline: its own pool of :func:`threads`."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = threads(config)
    return options

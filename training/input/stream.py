"""The endless stream of serialised records: shuffled, and the same from any position on.

An epoch draws a new order of the shards and divides them into groups of at most 16. The shards of a group are read in
turns through a shuffle buffer, which is emptied before the next group begins. Orders and buffers depend on ``(seed,
epoch, group)`` alone, so that the stream can start at any position without reading earlier groups.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from training.input.config import as_written
from training.records.recordset import RecordSet

Tensor = Any
READ_BYTES = 1 << 20
GROUP = 16


@dataclass(frozen=True)
class _Start:
    """A position: number of groups to skip since the first epoch, and of records to skip in the next group."""

    group: int
    within: int


def stream(records: RecordSet, seed: int, shuffle_buffer: int, position: int = 0) -> tf.data.Dataset:
    """Serialised records without end, from a position on.

    Args:
      records: the shards.
      seed: seed of the order.
      shuffle_buffer: records that are shuffled at once (released: 100).
      position: number of records that were taken before.

    Returns:
      Scalar strings. Records of the first group that lie before ``position`` are read and dropped.
    """
    groups = -(-len(records.files) // GROUP)
    start = _find(records, seed, position)
    numbers = tf.data.Dataset.counter(start.group, dtype=tf.int64)
    buffer = min(shuffle_buffer, max(records.num_images, 1))
    groups_of_records = numbers.flat_map(as_written(lambda number: _group(records, seed, buffer, number, groups)))
    return groups_of_records.skip(start.within)


def _group(records: RecordSet, seed: int, buffer: int, number: Tensor, groups: int) -> tf.data.Dataset:
    """The records of one group in their order."""
    epoch, group = number // groups, number % groups
    order = _shard_order(len(records.files), seed, epoch)[group * GROUP : (group + 1) * GROUP]
    files = tf.data.Dataset.from_tensor_slices(tf.gather(tf.constant(list(records.files)), order))
    cycle = min(GROUP, len(records.files))
    dataset = files.interleave(
        as_written(lambda file: tf.data.TFRecordDataset(file, buffer_size=READ_BYTES)),
        cycle_length=cycle,
        num_parallel_calls=min(2, cycle),
        deterministic=True,
    )
    return _shuffled(dataset, buffer, tf.random.stateless_uniform((2,), [seed, number], 1, tf.int64.max, tf.int64))


def _shuffled(dataset: tf.data.Dataset, buffer: int, seeds: Tensor) -> tf.data.Dataset:
    """``dataset.shuffle`` with two tensors as seeds, without the program's global seed."""
    variant = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=tf.constant(buffer, tf.int64),
        seed=seeds[0],
        seed2=seeds[1],
        output_types=[tf.string],
        output_shapes=[()],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(variant, dataset.element_spec)


def _shard_order(count: int, seed: int, epoch: Tensor) -> Tensor:
    """A permutation ``(count,)`` int64 of the shards."""
    epoch_seed = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.random.experimental.index_shuffle(tf.range(count, dtype=tf.int64), epoch_seed, max_index=count - 1)


def _find(records: RecordSet, seed: int, position: int) -> _Start:
    """The group of a position; the first group of the epoch where the sizes of the shards are unknown."""
    groups = -(-len(records.files) // GROUP)
    epoch, rest = divmod(position, max(records.num_images, 1))
    if not records.shard_images or not rest:
        return _Start(epoch * groups, rest)
    order = np.asarray(_shard_order(len(records.files), seed, tf.constant(epoch)))
    sizes = np.add.reduceat(np.array(records.shard_images)[order], np.arange(0, len(order), GROUP))
    ends = np.cumsum(sizes)
    group = int(np.searchsorted(ends, rest, side="right"))
    return _Start(epoch * groups + group, rest - int(ends[group] - sizes[group]))

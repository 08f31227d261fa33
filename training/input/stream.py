"""The endless stream of serialised records: shuffled, and continued at any position with what would have come.

An epoch draws the shards in a new order and takes them in groups of at most 16. The shards of a group are read in turns
through a shuffle buffer, which is emptied before the next group begins. Orders and buffers depend on ``(seed, epoch,
group)`` alone, so that a position is reached without reading the groups before it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from training.records.recordset import RecordSet

Tensor = Any
READ_BYTES = 1 << 20
GROUP = 16


@dataclass(frozen=True)
class _Start:
    """Where a position lies: groups to leave out since the first epoch, and records in the next one."""

    group: int
    within: int


def stream(records: RecordSet, seed: int, shuffle_buffer: int, position: int = 0) -> tf.data.Dataset:
    """Serialised records without end, from a position on.

    Args:
      records: the shards.
      seed: of the order.
      shuffle_buffer: records that are shuffled at once (released: 100).
      position: records that were taken before.

    Returns:
      Scalar strings. Inside the group where it begins, the records before ``position`` are read and dropped.
    """
    groups = -(-len(records.files) // GROUP)
    start = _find(records, seed, position)
    numbers = tf.data.Dataset.counter(start.group, dtype=tf.int64)
    buffer = min(shuffle_buffer, max(records.num_images, 1))
    return numbers.flat_map(lambda number: _group(records, seed, buffer, number, groups)).skip(start.within)


def _group(records: RecordSet, seed: int, buffer: int, number: Tensor, groups: int) -> tf.data.Dataset:
    """The records of one group in their order."""
    epoch, group = number // groups, number % groups
    order = _shard_order(len(records.files), seed, epoch)[group * GROUP : (group + 1) * GROUP]
    files = tf.data.Dataset.from_tensor_slices(tf.gather(tf.constant(list(records.files)), order))
    cycle = min(GROUP, len(records.files))
    dataset = files.interleave(
        lambda file: tf.data.TFRecordDataset(file, buffer_size=READ_BYTES),
        cycle_length=cycle,
        num_parallel_calls=min(2, cycle),
        deterministic=True,
    )
    return _shuffled(dataset, buffer, tf.random.stateless_uniform((2,), [seed, number], 1, tf.int64.max, tf.int64))


def _shuffled(dataset: tf.data.Dataset, buffer: int, seeds: Tensor) -> tf.data.Dataset:
    """``dataset.shuffle`` by two seeds that are tensors, without the program's global seed."""
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
    """The group that holds a position; the first of its epoch where the sizes of the shards are not known."""
    groups = -(-len(records.files) // GROUP)
    epoch, rest = divmod(position, max(records.num_images, 1))
    if not records.shard_images or not rest:
        return _Start(epoch * groups, rest)
    order = np.asarray(_shard_order(len(records.files), seed, tf.constant(epoch)))
    sizes = np.add.reduceat(np.array(records.shard_images)[order], np.arange(0, len(order), GROUP))
    ends = np.cumsum(sizes)
    group = int(np.searchsorted(ends, rest, side="right"))
    return _Start(epoch * groups + group, rest - int(ends[group] - sizes[group]))

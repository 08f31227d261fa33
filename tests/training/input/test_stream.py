"""The endless stream of records: each once an epoch, in groups of shards, continued at any position."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from training.input.stream import GROUP, stream
from training.records.recordset import RecordSet

SIZES = tuple(3 + i % 4 for i in range(2 * GROUP + 5))


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> RecordSet:
    """Shards of different sizes; a record is the number of its shard and its place there."""
    root: Path = tmp_path_factory.mktemp("shards")
    for shard, size in enumerate(SIZES):
        with tf.io.TFRecordWriter(str(root / f"train-{shard:03d}")) as writer:
            for place in range(size):
                writer.write(f"{shard} {place}".encode())
    files = tuple(str(path) for path in sorted(root.iterdir()))
    return RecordSet(files, 2, sum(SIZES), 0, "x", SIZES)


def take(dataset: tf.data.Dataset, count: int) -> list[bytes]:
    return list(dataset.take(count).as_numpy_iterator())


def test_every_record_once_an_epoch_in_another_order(shards):
    total = sum(SIZES)
    records = take(stream(shards, 3, 20), 2 * total)
    assert sorted(records[:total]) == sorted(records[total:]) and len(set(records)) == total
    assert records[:total] != records[total:]
    assert records != take(stream(shards, 4, 20), 2 * total)
    first = {record.split()[0] for record in records[:40]}
    assert len(first) <= GROUP, "records of more than a group of shards were mixed"
    assert len({record.split()[0] for record in records[:20]}) > 5


@pytest.mark.parametrize("known", [True, False])
def test_it_continues_at_any_position(shards, known):
    total = sum(SIZES)
    records = shards if known else replace(shards, shard_images=())
    whole = take(stream(records, 5, 8), 3 * total)
    for position in [*np.random.default_rng(0).integers(0, 2 * total, 5), 0, total - 1, total, total + 1]:
        assert take(stream(records, 5, 8, int(position)), 30) == whole[position : position + 30], position


def test_groups_before_the_position_are_not_read(shards, tmp_path):
    """With every file gone but those of the group that the position lies in, the stream still begins."""
    total = sum(SIZES)
    whole = take(stream(shards, 5, 8), total)
    last = set(range(len(SIZES))) - {int(record.split()[0]) for record in whole[:-30]}
    assert 5 <= len(last) < GROUP
    files = tuple(file if i in last else str(tmp_path / "gone") for i, file in enumerate(shards.files))
    assert take(stream(replace(shards, files=files), 5, 8, total - 8), 8) == whole[-8:]

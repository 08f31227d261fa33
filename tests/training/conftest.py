"""A tiny set of records shared by the tests: 8 classes of 4 training and 1 validation image."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import delg
from tests.training.pictures import write_folders
from tests.training.tiny import tiny_model
from training.records.shards import RecordsConfig, write_records
from training.records.sources import from_folders


@pytest.fixture(scope="session")
def records_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    source = from_folders(write_folders(root / "images", classes=8, images=5))
    write_records(source, root / "records", RecordsConfig(validation_split_size=0.2, num_shards=2), workers=2)
    return root / "records"


@pytest.fixture(scope="session")
def tiny_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model, to begin a training of the command with."""
    folder = tmp_path_factory.mktemp("start")
    delg.save(tiny_model(), folder)
    return folder


@pytest.fixture
def eager() -> Iterator[None]:
    """Nothing is traced, which for a few steps takes most of the time; other tests trace what these run."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def broken_dir(tmp_path: Path, records_dir: Path) -> Path:
    """The same, with a changed byte in every shard, whose size is the same."""
    folder = shutil.copytree(records_dir, tmp_path / "broken")
    for shard in folder.glob("train*"):
        data = shard.read_bytes()
        shard.write_bytes(data[:-9] + bytes([data[-9] ^ 255]) + data[-8:])
    return folder

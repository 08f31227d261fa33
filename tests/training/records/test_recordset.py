"""Shards as training finds them: patterns, fingerprints, and records that do not fit."""

import shutil
import struct

import pytest

from delg.common.errors import InputError
from tests.training.pictures import write_folders
from training.records.recordset import check_same_classes, open_records
from training.records.shards import RecordsConfig, write_records
from training.records.sources import from_folders


@pytest.mark.parametrize("name", ["a[1]", "a*", "a?", "a,b"])
def test_record_folders_may_have_odd_names(tmp_path, records_dir, name):
    folder = tmp_path / name
    shutil.copytree(records_dir, folder)
    shutil.copytree(records_dir, tmp_path / "a1")
    assert open_records(f"{folder}/train*").files == tuple(str(path) for path in sorted(folder.glob("train*")))
    assert len(open_records(f"{tmp_path}/a1/train*, {tmp_path}/a1/validation*").files) == 4


def test_the_fingerprint_tells_which_shards_are_taken(tmp_path, records_dir):
    whole, part = open_records(f"{records_dir}/train*"), open_records(f"{records_dir}/train-00000*")
    assert whole.fingerprint != part.fingerprint
    shutil.copytree(records_dir, tmp_path / "moved")
    assert open_records(f"{tmp_path}/moved/train*").fingerprint == whole.fingerprint


def test_records_that_do_not_fit(tmp_path, records_dir):
    with pytest.raises(InputError, match="No file matches"):
        open_records(str(tmp_path / "train*"))
    two = from_folders(write_folders(tmp_path / "images", 2, 3))
    write_records(two, tmp_path / "two", RecordsConfig(), workers=1)
    small, large = open_records(str(tmp_path / "two" / "train*")), open_records(str(records_dir / "validation*"))
    with pytest.raises(InputError, match="training records have 2 classes and the validation records have 8"):
        check_same_classes(small, large)
    with pytest.raises(InputError, match="different numbers of classes"):
        open_records(f"{tmp_path}/two/train*,{records_dir}/train*")
    shard = next((tmp_path / "two").glob("train*"))
    (tmp_path / "two" / "train.bak").write_bytes(b"")
    with pytest.raises(InputError, match=r"train.bak is not listed"):
        open_records(str(tmp_path / "two" / "train*"))
    shard.write_bytes(shard.read_bytes() + struct.pack("<I", 0))
    with pytest.raises(InputError, match="run delg-records again"):
        open_records(str(shard))

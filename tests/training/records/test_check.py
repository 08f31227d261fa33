"""``delg-records --check`` and labels taken from an earlier set."""

import json
import shutil

import pytest
import tensorflow as tf

from delg.common.errors import InputError
from tests.processes import run
from tests.training.pictures import write_folders
from training.records.check import problems
from training.records.examples import EncodedPhoto, write_example
from training.records.shards import RecordsConfig, write_records
from training.records.sources import from_folders, relabeled


@pytest.fixture
def made(tmp_path):
    source = from_folders(write_folders(tmp_path / "photos", classes=3, images=4))
    (tmp_path / "photos" / "class_00" / "broken.jpg").write_bytes(b"text")
    write_records(source, tmp_path / "records", RecordsConfig(num_shards=3), workers=1)
    return tmp_path / "records", source


def test_a_whole_set_has_no_problems(made):
    folder, source = made
    assert list(problems(folder)) == list(problems(folder, source, workers=2)) == []


def test_missing_changed_and_broken_shards_are_named(made):
    folder, source = made
    first, second, third = sorted(folder.glob("train-*"))
    first.unlink()
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 255
    second.write_bytes(data)
    third.write_bytes(third.read_bytes()[:-7])
    found = list(problems(folder, source))
    assert f"{first}: missing, 4 images" in found
    assert any(line.startswith(f"{second}: cannot be read after record 0") for line in found)
    assert any(line.startswith(f"{third}: ") and "bytes where the manifest says" in line for line in found)
    assert sum("in no shard" in line for line in found) >= 4


def test_broken_records_labels_and_repeated_images_are_named(made):
    folder, _ = made
    shard = next(folder.glob("train-00000*"))
    photo = (folder.parent / "photos" / "class_00" / "0.jpg").read_bytes()
    with tf.io.TFRecordWriter(str(shard)) as writer:
        writer.write(write_example(EncodedPhoto(b"no image", "JPEG", 4, 4), 0, "bad"))
        writer.write(write_example(EncodedPhoto(photo, "JPEG", 40, 48), 3, "class_00/9.jpg"))
        writer.write(b"\x0a\x05wrong")
        for _ in range(2):
            writer.write(write_example(EncodedPhoto(photo, "JPEG", 40, 48), 0, "twice.jpg"))
    found = "\n".join(problems(folder))
    for text in (
        "record 0 (bad): the image cannot be decoded", "record 1 (class_00/9.jpg): the label 3 is not below 3",
        "record 2: not a training record", "5 records where the manifest says 4", "twice.jpg: 2 times in the shards",
    ):  # fmt: skip
        assert text in found, text


def test_images_that_came_later_or_were_left_out_are_named(made):
    folder, _ = made
    photos = folder.parent / "photos"
    shutil.copy(photos / "class_01" / "0.jpg", photos / "class_01" / "new.jpg")
    found = list(problems(folder, from_folders(photos)))
    assert [line.split(": ", 1)[1] for line in found] == ["in no shard", "in no shard"]
    shutil.rmtree(folder)
    write_records(from_folders(photos), folder, RecordsConfig(), workers=1)
    assert [line.split(": ", 1)[1] for line in problems(folder)] == [
        "left out when the records were made: not an image that Pillow can decode"
    ]


def test_the_command_fails_where_something_is_wrong(made):
    folder, _ = made

    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    whole = run("records", f"--output_dir={folder}", "--check")
    assert whole.returncode == 0 and f"{folder} is whole." in whole.stdout
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    next(folder.glob("train-00001*")).unlink()
    done = run("records", f"--output_dir={folder}", "--check")
    assert done.returncode != 0 and "train-00001-of-00003: missing, 4 images" in done.stdout
    assert f"delg-records: {folder}: 1 problems, listed above." in done.stderr


def test_labels_of_an_earlier_set(made, tmp_path):
    folder, _ = made
    few = from_folders(write_folders(tmp_path / "few", classes=3, images=1))
    shutil.rmtree(tmp_path / "few" / "class_00")
    few = from_folders(tmp_path / "few")
    assert [photo.label for photo in few.photos] == [0, 1]
    source = relabeled(few, folder / "relabeling.csv")
    assert [photo.label for photo in source.photos] == [1, 2] and len(source.class_names) == 3
    write_records(source, tmp_path / "again", RecordsConfig(), workers=1)
    assert json.loads((tmp_path / "again" / "manifest.json").read_text())["num_classes"] == 3
    (tmp_path / "gap.csv").write_text("new_label,old_label\n0,class_01\n2,class_02\n")
    with pytest.raises(InputError, match=r"gap\.csv, line 3: expected the new_label 1"):
        relabeled(few, tmp_path / "gap.csv")
    (tmp_path / "part.csv").write_text("new_label,old_label\n0,class_01\n")
    with pytest.raises(InputError, match=r"1 classes are not in .*part\.csv: class_02"):
        relabeled(few, tmp_path / "part.csv")

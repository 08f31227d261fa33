"""Photos to records: what is kept, converted or left out; the split; shards, resuming and the manifest."""

import csv
import io
import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from delg.common.decoding import BadImageError
from delg.common.errors import InputError
from tests.training.pictures import picture, write_folders
from training.records import shards
from training.records.examples import EncodedPhoto, parse_example, read_photo, write_example
from training.records.recordset import open_records
from training.records.shards import RecordsConfig, write_records
from training.records.sources import LabelledPhotos, Photo, from_folders, split_and_shuffle

GREY = np.full((12, 10), 90, np.uint8)


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def records_of(folder: Path, pattern: str = "train*") -> list[tf.train.Example]:
    return [
        tf.train.Example.FromString(record.numpy())
        for file in sorted(folder.glob(pattern))
        for record in tf.data.TFRecordDataset(str(file))
    ]


def ids_of(folder: Path, pattern: str = "train*") -> list[str]:
    return [e.features.feature["image/id"].bytes_list.value[0].decode() for e in records_of(folder, pattern)]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("png", "PNG")])
def test_plain_jpeg_and_png_are_kept_byte_for_byte(tmp_path, mode, suffix, kind):
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(picture(1, 1, (20, 30))).convert(mode))
    assert read_photo(path) == EncodedPhoto(path.read_bytes(), kind, 20, 30)


def converted(path: Path) -> np.ndarray:
    photo = read_photo(path)
    assert photo.format == "JPEG" and photo.data[:2] == b"\xff\xd8"
    decoded = tf.io.decode_jpeg(photo.data, channels=3).numpy()
    assert decoded.shape == (photo.height, photo.width, 3)
    return decoded


def test_other_kinds_become_rgb_jpeg(tmp_path):
    red = np.zeros((8, 9, 4), np.uint8) + np.array([200, 20, 10, 128], np.uint8)
    for name, image in {
        "alpha.png": Image.fromarray(red),
        "palette.png": Image.fromarray(red[..., :3]).quantize(4),
        "cmyk.jpg": Image.fromarray(red[..., :3]).convert("CMYK"),
        "web.webp": Image.fromarray(red[..., :3]),
        "bitmap.bmp": Image.fromarray(red[..., :3]),
    }.items():
        decoded = converted(saved(tmp_path / name, image))
        assert decoded.shape == (8, 9, 3), name
        assert np.abs(decoded.astype(int) - [200, 20, 10]).max() <= 12, name
    deep = saved(tmp_path / "deep.png", Image.fromarray(GREY.astype(np.uint16) * 256))
    assert np.abs(converted(deep).astype(int) - 90).max() <= 2


def test_broken_files_give_their_reason(tmp_path):
    whole = saved(tmp_path / "whole.jpg", Image.fromarray(picture(0, 0, (64, 64)))).read_bytes()
    for name, data, reason in (
        ("cut.jpg", whole[: len(whole) // 2], "truncated"),
        ("text.jpg", b"this is no image", "not an image"),
        ("empty.jpg", b"", "is empty"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadImageError, match=reason):
            read_photo(tmp_path / name)
    with pytest.raises(BadImageError, match="No such file"):
        read_photo(tmp_path / "none.jpg")


def test_a_record_has_the_released_keys_and_is_read_back():
    serialized = write_example(EncodedPhoto(b"bytes", "PNG", 7, 5), 3, "a/b.png")
    features = tf.train.Example.FromString(serialized).features.feature
    numbers = {key: list(features[key].int64_list.value) for key in features if features[key].HasField("int64_list")}
    texts = {key: list(features[key].bytes_list.value) for key in features if features[key].HasField("bytes_list")}
    assert numbers == {"image/height": [7], "image/width": [5], "image/channels": [3], "image/class/label": [3]}
    assert texts == {
        "image/encoded": [b"bytes"],
        "image/format": [b"PNG"],
        "image/colorspace": [b"RGB"],
        "image/id": [b"a/b.png"],
    }
    example = parse_example(tf.constant(serialized))
    assert (example.encoded.numpy(), example.label.numpy(), example.id.numpy()) == (b"bytes", 3, b"a/b.png")


def test_a_record_without_a_label_is_refused():
    features = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b""]))}
    serialized = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    with pytest.raises(tf.errors.InvalidArgumentError, match="image/class/label"):
        parse_example(tf.constant(serialized))


def photos(counts: list[int]) -> list[Photo]:
    return [Photo(f"{label}/{i}", Path("x"), label) for label, count in enumerate(counts) for i in range(count)]


def test_split_takes_the_fraction_of_every_class_and_leaves_one_for_training():
    listed = photos([10, 4, 1, 2, 100])
    train, validation = split_and_shuffle(listed, 0.2, seed=0)
    count = [[sum(photo.label == label for photo in part) for label in range(5)] for part in (train, validation)]
    assert count == [[8, 3, 1, 1, 80], [2, 1, 0, 1, 20]]
    assert sorted(p.id for p in train + validation) == sorted(p.id for p in listed)
    assert [p.label for p in train] != sorted(p.label for p in train)
    assert split_and_shuffle(listed, 0.2, seed=0) == (train, validation)
    assert split_and_shuffle(listed, 0.2, seed=1) != (train, validation)
    assert split_and_shuffle(listed, 0.0, seed=0)[1] == []


def test_folder_to_shards_and_back(tmp_path):
    source = from_folders(write_folders(tmp_path / "images", 3, 5))
    out = tmp_path / "records"
    manifest = write_records(source, out, RecordsConfig(validation_split_size=0.4, num_shards=2, seed=3), workers=2)
    assert sorted(path.name for path in out.iterdir()) == [
        "labels.json",
        "manifest.json",
        "relabeling.csv",
        "train-00000-of-00002",
        "train-00001-of-00002",
        "validation-00000-of-00002",
        "validation-00001-of-00002",
    ]
    assert manifest["images"] == {"train": 9, "validation": 6}
    assert manifest["num_classes"] == 3 and manifest["skipped"] == []
    train, validation = split_and_shuffle(source.photos, 0.4, seed=3)
    assert ids_of(out) == [photo.id for photo in train]
    assert ids_of(out, "validation*") == [photo.id for photo in validation]
    first = records_of(out)[0].features.feature
    assert first["image/encoded"].bytes_list.value[0] == train[0].path.read_bytes()
    assert first["image/class/label"].int64_list.value[0] == train[0].label
    assert json.loads((out / "labels.json").read_text()) == ["class_00", "class_01", "class_02"]
    rows = list(csv.reader(io.StringIO((out / "relabeling.csv").read_text())))
    assert rows == [["new_label", "old_label"], ["0", "class_00"], ["1", "class_01"], ["2", "class_02"]]
    records = open_records(str(out / "train*"))
    assert (records.num_classes, records.num_images, records.decoded_bytes) == (3, 9, 9 * 40 * 48 * 3)
    assert len(open_records(f"{out}/train-00000*,{out}/validation*").files) == 3


def test_bad_images_are_left_out_and_listed(tmp_path):
    root = write_folders(tmp_path / "images", 2, 3)
    (root / "class_00" / "1.jpg").write_bytes((root / "class_00" / "1.jpg").read_bytes()[:400])
    (root / "class_01" / "note.jpg").write_text("no image")
    (root / "gone").mkdir()
    (root / "gone" / "only.jpg").write_bytes(b"")
    manifest = write_records(from_folders(root), tmp_path / "out", RecordsConfig(), workers=2)
    assert sorted(ids_of(tmp_path / "out")) == [
        "class_00/0.jpg",
        "class_00/2.jpg",
        "class_01/0.jpg",
        "class_01/1.jpg",
        "class_01/2.jpg",
    ]
    assert sorted(entry["id"] for entry in manifest["skipped"]) == [
        "class_00/1.jpg",
        "class_01/note.jpg",
        "gone/only.jpg",
    ]
    assert all(entry["reason"] and Path(entry["path"]).is_file() for entry in manifest["skipped"])
    assert manifest["classes_without_training_images"] == ["gone"]
    assert manifest["num_classes"] == 3


def test_no_usable_image_at_all(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="None of the 2 images could be read"):
        write_records(from_folders(tmp_path / "images"), tmp_path / "out", RecordsConfig(), workers=1)
    assert not list((tmp_path / "out").iterdir())
    for name in ("a", "b"):
        saved(tmp_path / "images" / name / "1.jpg", Image.fromarray(GREY))
    repaired = write_records(from_folders(tmp_path / "images"), tmp_path / "out", RecordsConfig(), workers=1)
    assert repaired["images"] == {"train": 2, "validation": 0}


def test_replaced_images_are_noticed(tmp_path):
    root = write_folders(tmp_path / "images", 2, 2)
    write_records(from_folders(root), tmp_path / "out", RecordsConfig(), workers=1)
    saved(root / "class_01" / "0.jpg", Image.fromarray(GREY))
    with pytest.raises(InputError, match="other images or other settings"):
        write_records(from_folders(root), tmp_path / "out", RecordsConfig(), workers=1)


def test_a_full_disk_is_told_in_one_sentence(tmp_path):
    source = from_folders(write_folders(tmp_path / "images", 2, 12))
    whole = sum(photo.path.stat().st_size for photo in source.photos)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole // 2, before[1]))
    try:
        with pytest.raises(InputError, match=r"train-00000-of-00001 cannot be written: .+"):
            write_records(source, tmp_path / "out", RecordsConfig(), workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "out").glob("*-of-*"))
    assert write_records(source, tmp_path / "out", RecordsConfig(), workers=1)["images"]["train"] == 24


def test_file_names_need_not_be_utf8(tmp_path):
    root = write_folders(tmp_path / "images", 2, 1)
    raw = os.fsencode(root / "class_01") + b"/caf\xe9"
    try:
        Path(os.fsdecode(raw + b".jpg")).write_bytes((root / "class_01" / "0.jpg").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    Path(os.fsdecode(raw + b"2.jpg")).write_bytes(b"")
    (root / "class_00").rename(os.fsdecode(os.fsencode(root) + b"/a\xff"))
    manifest = write_records(from_folders(root), tmp_path / "out", RecordsConfig(), workers=1)
    assert sorted(ids_of(tmp_path / "out")) == [r"a\xff/0.jpg", "class_01/0.jpg", r"class_01/caf\xe9.jpg"]
    assert [entry["id"] for entry in manifest["skipped"]] == [r"class_01/caf\xe92.jpg"]
    assert json.loads((tmp_path / "out" / "labels.json").read_text(encoding="utf-8")) == [r"a\xff", "class_01"]


def test_an_interrupted_run_is_continued(tmp_path, monkeypatch):
    source = from_folders(write_folders(tmp_path / "images", 2, 4))
    config = RecordsConfig(num_shards=4)
    write_records(source, tmp_path / "whole", config, workers=1)
    write = shards.write_shard
    written = []

    def stop_at_third(shard, *others):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(shard.name)
        return write(shard, *others)

    monkeypatch.setattr(shards, "write_shard", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        write_records(source, tmp_path / "out", config, workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()
    with pytest.raises(InputError, match=r"has no manifest.json"):
        open_records(str(tmp_path / "out" / "train*"))
    (tmp_path / "out" / ".0123456789ab.train-00002-of-00004").write_bytes(b"half")
    (tmp_path / "out" / ".0123456789ac.labels.json").write_bytes(b"half")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("train*")}
    monkeypatch.setattr(shards, "write_shard", write)
    write_records(source, tmp_path / "out", config, workers=1)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("train*")}
    assert len(before) == 2 and len(after) == 4 and before.items() <= after.items()
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    assert {path.name for path in (tmp_path / "out").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def test_a_finished_run_is_not_repeated_and_other_settings_are_refused(tmp_path, capsys):
    source = from_folders(write_folders(tmp_path / "images", 2, 3))
    write_records(source, tmp_path / "out", RecordsConfig(), workers=1)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert write_records(source, tmp_path / "out", RecordsConfig(), workers=1)["num_classes"] == 2
    assert "already complete" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="other images or other settings"):
        write_records(source, tmp_path / "out", RecordsConfig(seed=1), workers=1)
    fewer = LabelledPhotos(source.photos[:-1], source.class_names)
    with pytest.raises(InputError, match="other images or other settings"):
        write_records(fewer, tmp_path / "out", RecordsConfig(), workers=1)


def test_shards_of_another_maker_are_refused(tmp_path):
    source = from_folders(write_folders(tmp_path / "images", 2, 2))
    (tmp_path / "train-00000-of-00128").write_bytes(b"")
    with pytest.raises(InputError, match="did not make"):
        write_records(source, tmp_path, RecordsConfig(), workers=1)


def test_number_of_shards_by_default(tmp_path):
    source = LabelledPhotos(tuple(photos([200, 313])), ("a", "b"))
    assert [shard.name for shard in shards.plan_shards(source, RecordsConfig())] == [
        f"train-{i:05d}-of-00003" for i in range(3)
    ]
    assert [len(shard.photos) for shard in shards.plan_shards(source, RecordsConfig())] == [171, 171, 171]
    assert len(shards.plan_shards(LabelledPhotos(tuple(photos([3, 2])), ("a", "b")), RecordsConfig(num_shards=9))) == 5

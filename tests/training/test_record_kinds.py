"""Records of every kind of image file: right, or listed as left out; turned photos; and what is said of it."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests import processes
from tests.delg.common.pixel_files import refused, right
from tests.training.pictures import picture, write_folders
from training.records.check import problems
from training.records.examples import read_photo
from training.records.shards import RecordsConfig, write_records
from training.records.sources import from_folders

RIGHT, REFUSED = right(), refused()


def command(folder, *flags):
    done = processes.run("records", *flags, cwd=folder)
    assert "Traceback" not in done.stderr
    return done


def turned(path, tag=6):
    exif = Image.Exif()
    exif[0x0112] = tag
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(1, 1, (32, 48))).save(path, exif=exif, quality=95)
    return path


def shown(photo):
    return tf.io.decode_jpeg(photo.data, channels=3).numpy()


@pytest.mark.parametrize("name", RIGHT)
def test_what_training_sees_of_a_kind(tmp_path, name):
    """JPEG of quality 95 without subsampling is within some steps of the pixels where they are smooth."""
    data, wanted = RIGHT[name]
    (tmp_path / name).write_bytes(data)
    photo = read_photo(tmp_path / name)
    found, wanted = shown(photo), wanted if wanted.ndim == 3 else np.dstack([wanted] * 3)
    assert found.shape == wanted.shape == (photo.height, photo.width, 3)
    assert np.abs(found - wanted).max() <= (1 if photo.format == "PNG" else 14)
    assert np.abs(found - wanted).mean() <= 2


def test_a_photo_is_turned_unless_asked_otherwise(tmp_path):
    path = turned(tmp_path / "a.jpg")
    plain = Image.open(path).convert("RGB")
    upright, stored = read_photo(path), read_photo(path, upright=False)
    assert (upright.height, upright.width, stored.height, stored.width) == (48, 32, 32, 48)
    assert stored.data == path.read_bytes()
    expected = np.rot90(np.asarray(plain), -1).astype(int)
    assert np.abs(shown(upright) - expected).mean() < 4 < np.abs(np.rot90(expected, 2) - expected).mean()
    assert read_photo(turned(tmp_path / "one.jpg", 1)).data == (tmp_path / "one.jpg").read_bytes()


def test_no_image_is_dropped_without_a_word(tmp_path):
    root = write_folders(tmp_path / "photos", 2, 2)
    for name, (data, _) in {name: REFUSED[name] for name in ("phone.heic", "photo.NEF", "float.tif")}.items():
        (root / "phones").mkdir(exist_ok=True)
        (root / "phones" / name).write_bytes(data)
    for name in ("16 bits.pgm", "white is 0, 16 bits.tif"):
        (root / "class_00" / name).write_bytes(RIGHT[name][0])
    Image.fromarray(picture(0, 0)).save(root / "class_01" / "b.JFIF", "JPEG")
    Image.fromarray(picture(0, 0)).save(root / "stray.gif")
    (root / "__MACOSX" / "class_00").mkdir(parents=True)
    (root / "__MACOSX" / "class_00" / "._0.jpg").write_bytes(b"x")
    (root / "class_00" / "notes.txt").write_text("no image")
    done = command(tmp_path, "--images_dir=photos", "--output_dir=records")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "records" / "manifest.json").read_text())
    assert manifest["images"]["train"] == 7
    assert {entry["id"] for entry in manifest["skipped"]} == {
        "phones/phone.heic",
        "phones/photo.NEF",
        "phones/float.tif",
        "stray.gif",
    }
    assert manifest["classes_without_training_images"] == ["phones"] and manifest["num_classes"] == 3
    done = command(tmp_path, "--check", "--output_dir=records")
    assert done.returncode == 1 and "is whole" not in done.stdout
    assert all(name in done.stdout for name in ("phone.heic", "photo.NEF", "float.tif", "stray.gif"))


def test_a_check_names_what_an_earlier_version_passed_over(tmp_path):
    root = write_folders(tmp_path / "photos", 2, 2)
    write_records(from_folders(root), tmp_path / "records", RecordsConfig(), workers=1)
    (root / "class_00" / "new.tif").write_bytes(RIGHT["16 bits, little.tif"][0])
    Image.fromarray(picture(0, 0)).save(root / "stray.png")
    found = list(problems(tmp_path / "records", from_folders(root)))
    assert len(found) == 2 and "new.tif" in found[0] and "stray.png" in found[1]


def test_the_policy_is_recorded_and_decides_the_records(tmp_path):
    root = write_folders(tmp_path / "photos", 2, 2)
    turned(root / "class_00" / "turned.jpg")
    sizes = {}
    for policy in ("apply", "ignore"):
        done = command(tmp_path, "--images_dir=photos", f"--output_dir={policy}", f"--exif={policy}")
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / policy / "manifest.json").read_text())["settings"]["exif"] == policy
        for record in tf.data.TFRecordDataset(str(tmp_path / policy / "train-00000-of-00001")):
            values = tf.train.Example.FromString(record.numpy()).features.feature
            if values["image/id"].bytes_list.value[0] == b"class_00/turned.jpg":
                sizes[policy] = [values[f"image/{side}"].int64_list.value[0] for side in ("height", "width")]
    assert sizes == {"apply": [48, 32], "ignore": [32, 48]}
    done = command(tmp_path, "--images_dir=photos", "--output_dir=ignore")
    assert done.returncode == 1 and "other settings" in done.stderr
    done = command(tmp_path, "--images_dir=photos", "--output_dir=apply")
    assert done.returncode == 0 and "already complete" in done.stdout


def test_records_of_the_landmarks_take_photos_as_they_are_stored(tmp_path):
    for name in ("aaa1", "bbb2"):
        turned(tmp_path / "photos" / f"{name}.jpg")
    (tmp_path / "train.csv").write_text("id,url,landmark_id\naaa1,,1\nbbb2,,2\n")
    done = command(tmp_path, "--images_dir=photos", "--train_csv_path=train.csv", "--output_dir=records")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "records" / "manifest.json").read_text())["settings"]["exif"] == "ignore"

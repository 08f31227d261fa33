"""Class folders, CSV files and the GLDv2 lists."""

from pathlib import Path

import pytest

from delg.common.errors import InputError
from tests.training.pictures import write_folders
from training.records.sources import from_csv, from_folders, from_gldv2


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_folders_are_classes_in_sorted_order_at_any_depth(tmp_path):
    for name in ("b/1.jpg", "a/deep/2.JPEG", "a/0.png", "a/notes.txt", ".hidden/3.jpg", "b/.4.jpg", "empty/readme.md"):
        touch(tmp_path / name)
    source = from_folders(tmp_path)
    assert source.class_names == ("a", "b")
    assert [(photo.id, photo.label) for photo in source.photos] == [
        ("a/0.png", 0),
        ("a/deep/2.JPEG", 0),
        ("b/1.jpg", 1),
    ]
    assert source.photos[2].path == tmp_path / "b" / "1.jpg"


def test_links_are_followed_but_not_in_circles_and_hidden_folders_are_left_out(tmp_path):
    for name in ("images/a/0.png", "images/b/1.jpg", "images/b/.thumbs/1.jpg", "elsewhere/2.jpg"):
        touch(tmp_path / name)
    (tmp_path / "images" / "a" / "round").symlink_to(tmp_path / "images" / "a")
    (tmp_path / "images" / "a" / "up").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "b" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "b" / "twice").symlink_to(tmp_path / "elsewhere")
    assert [photo.id for photo in from_folders(tmp_path / "images").photos] == ["a/0.png", "b/1.jpg", "b/more/2.jpg"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "one sub-folder per class"),
        (["1.jpg"], "one sub-folder per class"),
        (["a/1.jpg"], "at least two classes. Received: a"),
    ],
)
def test_folders_that_cannot_be_trained(tmp_path, names, message):
    for name in names:
        touch(tmp_path / name)
    with pytest.raises(InputError, match=message):
        from_folders(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        from_folders(tmp_path / "none")


def test_csv_labels_are_sorted_numerically_when_all_are_numbers(tmp_path):
    (tmp_path / "list.csv").write_text("label, path,other\n10,x.jpg,1\n9,sub/y.jpg,2\n10,z.jpg,3\n", encoding="utf-8")
    source = from_csv(tmp_path / "list.csv")
    assert source.class_names == ("9", "10")
    assert [(photo.id, photo.label) for photo in source.photos] == [("x.jpg", 1), ("sub/y.jpg", 0), ("z.jpg", 1)]
    assert source.photos[1].path == tmp_path / "sub" / "y.jpg"
    (tmp_path / "images").mkdir()
    moved = from_csv(tmp_path / "list.csv", tmp_path / "images")
    assert moved.photos[0].path == tmp_path / "images" / "x.jpg"


def test_csv_labels_are_sorted_as_text_otherwise(tmp_path):
    (tmp_path / "list.csv").write_text("path,label\na,10\nb,9\nc,07\n", encoding="utf-8-sig")
    assert from_csv(tmp_path / "list.csv").class_names == ("07", "10", "9")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na,1\n", "expects the columns path,label. Received: file,label"),
        ("", "an empty file"),
        ("path,label\na,1\nb,\n", "line 3: no value for label"),
        ("path,label\na,1\nb\n", "line 3: expected 2 values"),
        ("path,label\na,1\nb,2\na,3\n", "line 4: a has the label '3' here and '1' before"),
        ("path,label\na,1\nb,1\n", "at least two classes"),
    ],
)
def test_csv_errors(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        from_csv(tmp_path / "list.csv")


def test_csv_that_is_missing_or_binary(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        from_csv(tmp_path / "none.csv")
    (tmp_path / "list.csv").write_bytes(b"path,label\n\xff\xfe,1\n")
    with pytest.raises(InputError, match=r"list\.csv, line 2"):
        from_csv(tmp_path / "list.csv")


def test_gldv2_clean_list_in_the_published_layout(tmp_path):
    touch(tmp_path / "images" / "a" / "b" / "c" / "abcd.jpg")
    clean = tmp_path / "train_clean.csv"
    clean.write_text("landmark_id,images\n27,1234 abcd\n5,ffff\n", encoding="utf-8")
    source = from_gldv2(tmp_path / "images", None, clean)
    assert source.class_names == ("5", "27")
    assert [(photo.id, photo.label) for photo in source.photos] == [("1234", 1), ("abcd", 1), ("ffff", 0)]
    assert source.photos[2].path == tmp_path / "images" / "f" / "f" / "f" / "ffff.jpg"


def test_gldv2_full_list_in_one_folder(tmp_path):
    touch(tmp_path / "images" / "abcd.jpg")
    full, clean = tmp_path / "train.csv", tmp_path / "train_clean.csv"
    full.write_text("id,url,landmark_id\nabcd,http://x,3\nffff,,1\n", encoding="utf-8")
    clean.write_text("landmark_id,images\n3,abcd\n4,abcd2\n", encoding="utf-8")
    source = from_gldv2(tmp_path / "images", full)
    assert [(photo.id, photo.label) for photo in source.photos] == [("abcd", 1), ("ffff", 0)]
    assert source.photos[1].path == tmp_path / "images" / "ffff.jpg"
    assert from_gldv2(tmp_path / "images", full, clean).class_names == ("3", "4")


def test_gldv2_without_any_image(tmp_path):
    (tmp_path / "train.csv").write_text("id,url,landmark_id\nabcd,,1\nffff,,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="None of the images"):
        from_gldv2(tmp_path, tmp_path / "train.csv")
    with pytest.raises(InputError, match="needs --train_csv_path"):
        from_gldv2(tmp_path)


def test_written_folders_are_found(tmp_path):
    assert len(from_folders(write_folders(tmp_path, 2, 3)).photos) == 6

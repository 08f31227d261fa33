"""Which file a line of a list means."""

import unicodedata

import pytest

from delg.common.errors import InputError
from delg.common.image_lists import Finder, read_labelled, read_landmarks, read_paths, spelled

NFC, NFD = (unicodedata.normalize(form, "Tür/é ü.jpg") for form in ("NFC", "NFD"))


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def labelled(folder, text):
    (folder / "list.csv").write_text(text, encoding="utf-8")
    return [(one.path, one.label) for one in read_labelled(folder / "list.csv", folder, lambda row, _: None)]


@pytest.mark.parametrize(("there", "asked"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_a_name_is_found_in_either_normal_form(tmp_path, there, asked):
    touch(tmp_path, there)
    assert spelled(tmp_path, asked) == there
    find = Finder(tmp_path)
    assert find(asked, "list") == there and find(f"./{asked}", "list") == there
    assert find(asked.removesuffix(".jpg"), "list") == there, "without its suffix"
    assert find(asked.replace("jpg", "png"), "list") == asked.replace("jpg", "png"), "what is not there stays"


def test_parts_of_different_forms_and_two_files_of_one_name(tmp_path):
    mixed = NFC.partition("/")[0] + "/" + NFD.partition("/")[2]
    touch(tmp_path, mixed)
    assert spelled(tmp_path, NFC) == spelled(tmp_path, NFD) == mixed
    touch(tmp_path, "two/" + NFC, "two/" + NFD)
    assert spelled(tmp_path, "two/" + NFD) == "two/" + NFD, "a name is first of all itself"
    assert spelled(tmp_path, "two/" + NFC) == "two/" + NFC


def test_suffixes_tell_images_apart_and_a_name_without_one_must_be_of_one(tmp_path):
    touch(tmp_path, "a.jpg", "a.png", "b.JPG", "b.txt", "c.v2.png", "d", "d.jpg", "e/f.jpg", "e.jpg")
    find = Finder(tmp_path)
    paths = ["a.jpg", "a.png", "b", "c.v2", "d", "e//f", "e", "none", "none.jpg", "x" * 300]
    assert [find(path, "list") for path in paths] == [
        *("a.jpg", "a.png", "b.JPG", "c.v2.png", "d", "e/f.jpg", "e.jpg", "none", "none.jpg", "x" * 300)
    ]
    with pytest.raises(InputError, match=r"here, line 3: 'a' can be any of a\.jpg, a\.png"):
        find("a", "here, line 3")


def test_what_is_listed_twice_is_read_once(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", NFD)
    (tmp_path / "list.txt").write_text(f"{NFC}\n\nb.jpg\n {NFD}\n./b.jpg\nb\na.jpg\n", encoding="utf-8")
    assert read_paths(tmp_path / "list.txt", tmp_path) == [NFD, "b.jpg", "a.jpg"]
    rows = ["path,label", f"{NFC},tür", f"{NFD},{unicodedata.normalize('NFD', 'tür')}", "b.jpg, t ", "b,t"]
    assert labelled(tmp_path, "\n".join(rows)) == [(NFD, "tür"), ("b.jpg", "t")]
    with pytest.raises(InputError, match=r"list\.csv, line 3: b\.jpg has the label 'v' here and 't' before"):
        labelled(tmp_path, "path,label\nb.jpg,t\nb,v\n")


def test_classes_of_landmark_images(tmp_path):
    (tmp_path / "clean.csv").write_text("landmark_id,images\n7,a  b a\n3,c\n")
    assert read_landmarks(tmp_path / "clean.csv", clean=True) == {"a": "7", "b": "7", "c": "3"}
    (tmp_path / "train.csv").write_text("id,url,landmark_id\na,,7\nc,http://x,3\na,,7\n")
    assert read_landmarks(tmp_path / "train.csv", clean=False) == {"a": "7", "c": "3"}
    (tmp_path / "train.csv").write_text("id,url,landmark_id\na,,7\na,,3\n")
    with pytest.raises(InputError, match="line 3: the image a has the class 3 here and 7 before"):
        read_landmarks(tmp_path / "train.csv", clean=False)

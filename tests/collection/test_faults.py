"""Faults that were found by use: several processes and models, files that change meanwhile, odd files and folders."""

import os
import threading

import numpy as np
import pytest

from collection.collection import BusyError, Collection
from delg.common.errors import InputError
from tests.collection.conftest import MODEL
from tests.collection.test_sync import answers, fresh
from tests.extraction.pictures import picture, write_picture

OTHER = "histogram(pyramid=True)"


def test_two_that_were_opened_before_the_first_sync_do_not_mix_their_models(photos):
    first, second = Collection.open(photos, MODEL), Collection.open(photos, OTHER)
    third = Collection.open(photos)
    first.sync()
    with pytest.raises(InputError, match="pair"):
        second.sync()
    assert third.search("1.png", k=1)[0].path == "1.png"
    with pytest.raises(InputError, match="pair"):
        Collection.open(photos, OTHER)


def test_a_new_photo_never_gets_what_belonged_to_a_removed_one(photos):
    collection, reader = fresh(photos, None), Collection.open(photos)
    collection.sync(index="flat")
    assert len(reader) == 8
    (photos / "album" / "7.png").unlink()
    collection.sync()
    write_picture(photos / "new.png", 120, 160, 90)
    collection.sync()
    for one in (collection, reader):
        best = one.search(picture(120, 160, 90), k=1)[0]
        assert best.path == "new.png"
        assert best.similarity == pytest.approx(1, abs=1e-5)


def test_an_edited_photo_that_is_renamed_is_described_again(photos):
    collection = fresh(photos, None)
    write_picture(photos / "1.png", 120, 160, 91)
    collection.rename("1.png", "z.png")
    assert list(collection.sync().changed) == ["z.png"]
    assert collection.search(picture(120, 160, 91), k=1)[0].path == "z.png"
    (photos / "bad.png").write_bytes(b"bad")
    collection.sync()
    (photos / "bad.png").rename(photos / "worse.png")
    assert list(collection.sync().renamed) == ["bad.png"]
    assert list(collection.failed) == ["worse.png"]


def test_local_features_of_a_file_that_changes_while_it_is_described_are_not_kept(photos, monkeypatch):
    collection = Collection.open(photos, MODEL)
    (photos / "copy.png").write_bytes((photos / "1.png").read_bytes())
    collection.sync(local=False)
    describe = collection._contents.describer.describe

    def edited(*arguments):
        for name in ("1.png", "copy.png"):
            write_picture(photos / name, 120, 160, 92)
        yield from describe(*arguments)

    monkeypatch.setattr(collection._contents.describer, "describe", edited)
    collection.complete()
    monkeypatch.undo()
    write_picture(photos / "1.png", 120, 160, 1)
    collection.sync()
    best = collection.search(picture(120, 160, 1), k=1)[0]
    assert (best.path, best.inliers >= 15) == ("1.png", True)


def test_a_lost_index_is_built_anew_and_answers_stay_right(photos, tmp_path):
    collection = Collection.open(photos, MODEL)
    collection.sync(index="flat")
    expected = answers(collection, ["1.png"])
    for file in (photos / ".delg").glob("index-*.npy"):
        file.unlink()
    assert answers(Collection.open(photos), ["1.png"]) == expected
    again = Collection.open(photos)
    again.sync()
    assert len(list((photos / ".delg").glob("index-*.npy"))) == 1
    assert answers(again, ["1.png"]) == expected


def test_a_place_of_descriptions_is_of_one_folder(photos, tmp_path):
    fresh(photos, tmp_path / "state")
    other = tmp_path / "other"
    write_picture(other / "a.png")
    with pytest.raises(InputError, match="photos"):
        Collection.open(other, state=tmp_path / "state").sync()
    assert len(Collection.open(photos, state=tmp_path / "state")) == 8


def test_an_empty_mount_point_is_not_a_removal_of_all_photos(photos, tmp_path):
    collection = fresh(photos, tmp_path / "state")
    photos.rename(tmp_path / "away")
    photos.mkdir()
    with pytest.raises(InputError, match="no photo any more"):
        collection.sync()
    photos.rmdir()
    (tmp_path / "away").rename(photos)
    assert collection.sync().described == 0


def test_a_pipe_named_like_a_photo_is_no_photo(photos):
    os.mkfifo(photos / "pipe.jpg")
    collection = Collection.open(photos, MODEL)
    assert collection.sync().failed == {"pipe.jpg": "not a file"}


def test_nothing_waits_for_one_that_describes_photos(photos):
    collection, other = fresh(photos, None), Collection.open(photos)
    begun, ended = threading.Event(), threading.Event()

    def hold():
        with collection._state.alone():
            begun.set()
            ended.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(60)
    with pytest.raises(BusyError):
        other.sync(wait=False)
    assert other.search("1.png", k=1)[0].path == "1.png"
    ended.set()
    thread.join()
    assert not other.sync(wait=False)


def test_a_sync_without_changes_changes_nothing(photos):
    collection = fresh(photos, None)
    with collection._state.reading() as transaction:
        before = transaction.changes()
    collection.sync()
    with collection._state.reading() as transaction:
        assert transaction.changes() == before


def test_files_of_a_stopped_build_are_deleted(photos):
    collection = fresh(photos, None)
    (photos / ".delg" / "index-1").mkdir()
    (photos / ".delg" / "index-1.npy").write_bytes(b"")
    collection.sync()
    assert not list((photos / ".delg").glob("index-*"))


@pytest.mark.parametrize("query", ["a\0b", None, 3, "x" * 5000])
def test_odd_queries_are_one_sentence(photos, query):
    with pytest.raises(InputError):
        fresh(photos, None).search(query)


def test_odd_additions_are_one_sentence_and_leave_nothing(photos, tmp_path):
    collection = fresh(photos, None)
    before = sorted(photos.rglob("*"))
    for image, path in (
        (tmp_path / "absent.jpg", None),
        (tmp_path / "absent.jpg", "1.png"),
        (tmp_path, "x.jpg"),
        (picture(9, 9), f"{'x' * 300}.jpg"),
        (b"no image", "n/m/o.jpg"),
        (picture(9, 9), "1.png/a.png"),
    ):
        with pytest.raises(InputError):
            collection.add(image, path)
    (photos / "1.png").unlink()
    with pytest.raises(InputError):
        collection.rename("1.png", "2b.png")
    assert sorted(photos.rglob("*")) == [place for place in before if place.name != "1.png"]


def test_paths_are_recorded_in_one_spelling(photos):
    collection = fresh(photos, None)
    assert collection.add(picture(50, 50, 3), "album/./x.jpg") == "album/x.jpg"
    assert not collection.sync()
    collection.remove("album//x.jpg")
    assert "album/x.jpg" not in collection.paths


def test_an_endless_list_of_queries_is_answered_one_by_one(photos):
    collection = fresh(photos, None)

    def endless():
        while True:
            yield "1.png"

    assert next(collection.search_many(endless(), k=1))[0].path == "1.png"


def test_an_empty_collection_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    collection = Collection.open(tmp_path / "empty", MODEL)
    assert not collection.sync()
    for question in (collection.calibrate, lambda: collection.match(picture(9, 9), picture(9, 9))):
        with pytest.raises(InputError):
            question()
    with pytest.raises(InputError):
        collection.search(np.zeros((9, 9, 3), np.uint8))

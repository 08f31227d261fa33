"""A collection follows its folder: every answer equals that of a collection made anew."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from collection.collection import Collection
from delg.common.errors import InputError
from tests.collection.conftest import MODEL
from tests.extraction.pictures import picture, write_picture
from tests.processes import run


def answers(collection, queries):
    """Paths, similarities and inliers of all queries."""
    return [
        [(one.path, round(one.similarity, 5), one.inliers, one.before) for one in collection.search(query, k=20)]
        for query in queries
    ]


def fresh(folder, place):
    collection = Collection.open(folder, MODEL, state=place)
    collection.sync()
    return collection


def test_a_script_of_changes(photos, tmp_path):
    for seed in range(20, 40):
        write_picture(photos / f"{seed}.png", 60, 80, seed)
    collection = Collection.open(photos, MODEL)
    assert collection.sync().described == 28
    queries = [write_picture(tmp_path / f"query{seed}.png", 120, 160, seed) for seed in (0, 3, 50)]

    for seed in range(50, 70):
        write_picture(photos / f"new{seed}.png", 60, 80, seed)
    for seed in range(20, 30):
        (photos / f"{seed}.png").unlink()
    for seed in range(30, 35):
        (photos / f"{seed}.png").rename(photos / f"renamed{seed}.png")
    for seed in range(35, 38):
        write_picture(photos / f"{seed}.png", 60, 80, 100 + seed)
    (photos / "broken.jpg").write_bytes(b"no image")
    (photos / "38.png").rename(photos / "album" / "38.png")
    (photos / "39.png").rename(photos / "39.PNG")
    changes = collection.sync()

    assert sorted(changes.added) == [f"new{seed}.png" for seed in range(50, 70)]
    assert list(changes.removed) == [f"{seed}.png" for seed in range(20, 30)]
    assert changes.renamed == {f"{seed}.png": f"renamed{seed}.png" for seed in range(30, 35)} | {
        "38.png": "album/38.png",
        "39.png": "39.PNG",
    }
    assert list(changes.changed) == ["35.png", "36.png", "37.png"]
    assert list(changes.failed) == ["broken.jpg"] == list(collection.failed)
    assert changes.described == 23
    assert str(changes) == "20 added, 10 removed, 7 renamed, 3 changed, 1 failed"
    assert answers(collection, queries) == answers(fresh(photos, tmp_path / "anew"), queries)
    assert not collection.sync()


def test_an_edit_that_keeps_size_and_time_is_seen(photos):
    Image.fromarray(picture(40, 40, 1)).save(photos / "a.bmp")
    collection = fresh(photos, None)
    before = (photos / "a.bmp").stat()
    Image.fromarray(picture(40, 40, 2)).save(photos / "a.bmp")
    os.utime(photos / "a.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (photos / "a.bmp").stat().st_size == before.st_size
    assert list(collection.sync().changed) == ["a.bmp"]


def test_a_copy_is_not_described_again_and_a_touched_file_has_not_changed(photos):
    collection = fresh(photos, None)
    shutil.copy(photos / "1.png", photos / "copy.png")
    (photos / "2.png").touch()
    changes = collection.sync()
    assert (list(changes.added), changes.changed, changes.described) == (["copy.png"], [], 0)
    assert [one.path for one in collection.search(photos / "1.png", k=2)] == ["1.png", "copy.png"]


def test_a_deleted_file_leaves_every_answer_before_the_next_sync(photos):
    collection = fresh(photos, None)
    (photos / "1.png").unlink()
    assert "1.png" not in [one.path for one in collection.search(photos / "2.png", k=8)]
    assert len(collection.search(photos / "2.png", k=7)) == 7
    assert list(collection.pending().removed) == ["1.png"]


def test_an_answer_says_which_photo_has_changed_since_it_was_described(photos):
    collection = fresh(photos, None)
    write_picture(photos / "1.png", 100, 100, 60)
    assert [one.path for one in collection.search("2.png", k=8) if one.changed] == ["1.png"]
    collection.sync()
    assert not [one for one in collection.search("2.png", k=8) if one.changed]


def test_a_broken_photo_leaves_the_answers_and_comes_back_when_it_is_mended(photos):
    collection = fresh(photos, None)
    (photos / "1.png").write_bytes(b"broken")
    assert list(collection.sync().failed) == ["1.png"]
    assert "1.png" not in collection.paths
    assert not collection.sync().failed
    write_picture(photos / "1.png", 120, 160, 1)
    assert list(collection.sync().changed) == ["1.png"]
    assert "1.png" in collection.paths


def test_searches_see_the_photos_before_a_sync_until_it_ends(photos, monkeypatch):
    collection, reader = fresh(photos, None), Collection.open(photos)
    assert len(reader) == 8
    for seed in range(50, 90):
        write_picture(photos / f"new{seed}.png", 60, 80, seed)
    (photos / "renamed.png").write_bytes((photos / "0.png").read_bytes())
    (photos / "0.png").unlink()
    seen = []
    describe = collection._contents.describer.describe

    def watched(*arguments):
        for batch in describe(*arguments):
            seen.append(reader.paths)
            yield batch

    monkeypatch.setattr(collection._contents.describer, "describe", watched)
    collection.sync()
    assert len(seen) == 3
    assert all(len(paths) == 8 and "0.png" in paths for paths in seen)
    assert len(reader.paths) == 48
    assert "renamed.png" in reader.paths


def test_the_first_sync_shows_photos_as_they_are_described(photos, monkeypatch):
    for seed in range(20, 60):
        write_picture(photos / f"{seed}.png", 60, 80, seed)
    collection, reader = Collection.open(photos, MODEL), Collection.open(photos)
    seen = []
    describe = collection._contents.describer.describe

    def watched(*arguments):
        for batch in describe(*arguments):
            seen.append(len(reader))
            yield batch

    monkeypatch.setattr(collection._contents.describer, "describe", watched)
    collection.sync()
    assert seen == [0, 16, 32]
    assert len(reader) == 48


def test_local_features_may_be_left_to_the_searches(photos, tmp_path):
    late = Collection.open(photos, MODEL, state=tmp_path / "late")
    late.sync(local=False)
    query = write_picture(tmp_path / "query.png", 120, 160, 3)
    first = answers(late, [query])
    assert first == answers(fresh(photos, tmp_path / "early"), [query])
    assert late.complete() == 0
    write_picture(photos / "new.png", 120, 160, 77)
    write_picture(photos / "newer.png", 120, 160, 78)
    late.sync(local=False)
    assert [late.complete(limit=1), late.complete(limit=5), late.complete()] == [1, 1, 0]


def test_photos_are_added_removed_and_renamed(photos, tmp_path):
    collection = fresh(photos, None)
    new = write_picture(tmp_path / "elsewhere" / "new.png", 120, 160, 30)
    assert collection.add(new) == "new.png"
    assert collection.add(picture(50, 50, 31), "album/31.png") == "album/31.png"
    assert collection.search(new, k=1)[0].path == "new.png"
    collection.rename("new.png", "album/old.png")
    assert collection.search(new, k=1)[0].path == "album/old.png"
    collection.remove("album/old.png")
    assert "album/old.png" not in collection.paths
    assert (photos / "album/old.png").exists()
    assert not collection.sync()
    assert collection.add(photos / "album/old.png") == "album/old.png"
    collection.remove("album/old.png", delete=True)
    assert not (photos / "album/old.png").exists()
    assert not collection.sync()


@pytest.mark.parametrize(
    "path",
    ["../out.png", "/tmp/out.png", "a/../../out.png", ".hidden/a.png", "a.txt", "", "a\0.png", "..\\a.png", "1.png"],
)
def test_a_photo_is_not_written_elsewhere_nor_over_another_one(photos, path):
    collection = fresh(photos, None)
    before = sorted(file for file in photos.parent.rglob("*.png"))
    with pytest.raises(InputError):
        collection.add(picture(50, 50, 31), path)
    assert sorted(file for file in photos.parent.rglob("*.png")) == before


def test_a_link_out_of_the_folder_is_no_place_for_a_photo(photos, tmp_path):
    collection = fresh(photos, None)
    (tmp_path / "outside").mkdir()
    (photos / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="link"):
        collection.add(picture(50, 50, 31), "link/a.png")
    assert not list((tmp_path / "outside").iterdir())


def test_a_link_out_of_the_folder_is_not_followed_and_says_so(photos, tmp_path):
    outside = write_picture(tmp_path / "outside" / "9.png", 120, 160, 9).parent
    (photos / "linked").symlink_to(outside)
    (photos / "9.png").symlink_to(outside / "9.png")
    (photos / "inner.png").symlink_to("0.png")
    collection = fresh(photos, None)
    assert len(collection) == 9 and "inner.png" in collection.paths
    assert collection.failed.keys() == {"linked", "9.png"} and "link" in collection.failed["linked"]
    (photos / "1.png").unlink()
    (photos / "1.png").symlink_to(outside / "9.png")
    assert collection.sync().failed.keys() == {"1.png"}
    assert "1.png" not in collection.paths and not collection.sync()


def test_bytes_that_are_no_image_are_not_added(photos):
    collection = fresh(photos, None)
    with pytest.raises(InputError, match=r"bad\.png"):
        collection.add(b"no image", "bad.png")
    assert not (photos / "bad.png").exists()
    assert not collection.sync()


def test_the_exported_store_holds_what_the_collection_holds(photos, tmp_path):
    from extraction.formats.table import open_features

    collection = Collection.open(photos, MODEL)
    collection.sync(local=False)
    collection.export(tmp_path / "store")
    store = open_features(tmp_path / "store")
    assert store.names == collection.paths
    assert len(store.features(0)) > 10
    assert np.allclose(np.linalg.norm(store.global_descriptors, axis=1), 1, atol=1e-5)


def test_photos_are_described_on_a_ray_cluster(photos, tmp_path):
    pytest.importorskip("ray")
    (photos / "bad.png").write_bytes(b"no image")
    place = f"--collection={tmp_path / 'state'}"
    done = run("sync", str(photos), f"--model={MODEL}", place, "--engine=ray")
    assert done.returncode == 0 and "8 added, 1 failed" in done.stdout, done.stderr
    collection, here = Collection.open(photos, state=tmp_path / "state"), fresh(photos, tmp_path / "here")
    assert answers(collection, ["3.png", "album/6.png"]) == answers(here, ["3.png", "album/6.png"])
    assert collection.failed == here.failed

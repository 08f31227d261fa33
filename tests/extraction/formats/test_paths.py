"""Where images lay: kept by stores and all formats, and what hloc finds in our files by it."""

import json
import os

import h5py
import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.features import Features
from extraction.formats.official import OfficialFiles
from extraction.formats.official_writer import extract_official
from extraction.formats.table import convert
from extraction.images import ImageRef, list_images, read_image_list, relative_path
from extraction.pipeline import extract
from extraction.store.reader import FeatureStore
from extraction.store.tools import merge, verify
from extraction.store.writer import StoreWriter
from tests.extraction.pictures import Counting, features, write_picture
from tests.processes import run

FILES = (
    "a.jpg",
    "a.png",
    "a.jpg.jpg",
    "b.jpg",
    "b/scores.jpg",
    "b/keypoints.png",
    "jpg/c.JPG",
    "jpg/c d.jpeg",
    "jpg/ü, %20.png",
    "descriptors.png",
)


@pytest.fixture
def photos(tmp_path):
    for i, place in enumerate(FILES):
        write_picture(tmp_path / "photos" / place, 40 + i, 60, seed=i)
    return tmp_path / "photos"


@pytest.fixture
def store(photos, tmp_path):
    return extract(Counting(), list_images(photos), tmp_path / "store", progress=False)


def paths(store):
    return {name: store.path_of(i) for i, name in enumerate(store.names)}


def without_paths(store):
    """A store of images whose paths are not known."""
    for place in store.folder.glob("shard-*/index.json"):
        index = json.loads(place.read_text())
        index["paths"] = [""] * len(index["names"])
        place.write_text(json.dumps(index))
    return FeatureStore.open(store.folder)


def test_each_image_has_a_name_and_its_path(photos, store):
    assert sorted(paths(store).values()) == sorted(FILES) and len(set(store.names)) == len(FILES)
    assert {"a.jpg", "a.png", "a.jpg.jpg", "b", "b/scores", "jpg/c"} <= set(store.names)
    for name, path in paths(store).items():
        assert store.features(store.index_of(name)).image_size == (60, 40 + FILES.index(path))


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("a", "/x/a.jpg", "a.jpg"),
        ("a.jpg", "/x/a.jpg.jpg", "a.jpg.jpg"),
        ("a.jpg", "/x/a.jpg", "a.jpg"),
        ("s/a", "x/s/a.tar.png", ""),
        ("s/a", "s/a.png", "s/a.png"),
        ("a", "a", "a"),
        ("/x/a", "/x/a.jpg", "/x/a.jpg"),
        ("../a", "x/../a.jpg", "../a.jpg"),
        ("a.jpg@1,2,3,4", "x/a.jpg", ""),
        ("ba", "x/aba.jpg", ""),
        ("id", "", ""),
    ],
)
def test_the_path_by_name_and_file(name, path, expected):
    assert relative_path(ImageRef(name, path)) == expected


def test_paths_of_a_list_and_of_names_that_are_not_utf8(photos, tmp_path):
    (tmp_path / "list.txt").write_text("jpg/c.JPG\nb/scores.jpg\n")
    found = extract(Counting(), read_image_list(tmp_path / "list.txt", photos), tmp_path / "listed", progress=False)
    assert paths(found) == {"jpg/c": "jpg/c.JPG", "b/scores": "b/scores.jpg"}
    odd = os.fsdecode(os.fsencode(tmp_path / "odd") + b"/\xe9.png")
    write_picture(tmp_path / "odd" / "x.png")
    (tmp_path / "odd" / "x.png").rename(odd)
    found = extract(Counting(), list_images(tmp_path / "odd"), tmp_path / "of_odd", progress=False)
    assert paths(found) == {r"\xe9": r"\xe9.png"}


def list_h5_names(path):
    """As hloc does: a name is the group that a dataset lies in."""
    names = set()
    with h5py.File(path, "r", libver="latest") as file:
        file.visititems(
            lambda _, item: names.add(item.parent.name.strip("/")) if isinstance(item, h5py.Dataset) else None
        )
    return names


def test_hloc_finds_images_by_their_paths(store, tmp_path):
    convert(store.folder, tmp_path / "hloc", "hloc")
    assert list_h5_names(tmp_path / "hloc" / "local.h5") == set(FILES)
    assert list_h5_names(tmp_path / "hloc" / "global.h5") == set(FILES)
    with h5py.File(tmp_path / "hloc" / "local.h5") as file, h5py.File(tmp_path / "hloc" / "global.h5") as vectors:
        for i in range(len(store)):
            one, group = store.features(i), file[store.path_of(i)]
            read = {key: value.__array__() for key, value in group.items()}  # as its matcher reads a pair
            n = len(one)
            shapes = [read[key].shape for key in ("keypoints", "descriptors", "scores", "image_size")]
            assert shapes == [(n, 2), (2, n), (n,), (2,)]
            np.testing.assert_array_equal(read["keypoints"], one.keypoints)
            np.testing.assert_array_equal(read["descriptors"].T, one.descriptors)
            assert tuple(read["image_size"])[::-1] == one.image_size[::-1]
            vector = vectors[store.path_of(i)]["global_descriptor"].__array__()
            np.testing.assert_array_equal(vector, one.global_descriptor)
        database = np.stack([vectors[name]["global_descriptor"].__array__() for name in sorted(FILES)])
        assert database.shape == (len(FILES), 3)


@pytest.mark.parametrize("form", ["hloc", "ames", "csv", "official"])
def test_names_and_paths_come_back_from_every_format(store, tmp_path, form):
    convert(store.folder, tmp_path / form, form)
    convert(tmp_path / form, tmp_path / "back", "store")
    back = FeatureStore.open(tmp_path / "back")
    assert paths(back) == paths(store)
    for i, name in enumerate(store.names):
        found = back.features(back.index_of(name))
        np.testing.assert_array_equal(found.global_descriptor, store.features(i).global_descriptor)
        np.testing.assert_array_equal(found.keypoints, store.features(i).keypoints)
    verify(back)


@pytest.mark.parametrize("form", ["hloc", "ames", "csv", "official"])
def test_odd_names_come_back_from_every_format(tmp_path, form):
    names = [
        "x 1",
        "x%201",
        " lead",
        "tab\tin",
        'quo"te',
        "a,b",
        "ü",
        "u\u0308",
        "写真",
        "new\nline",
        "a;b",
        "'",
        "#",
        "-",
    ]
    writer = StoreWriter(tmp_path / "store", {"extractor": "test"}, [ImageRef(name, f"x/{name}.png") for name in names])
    writer.write(0, [features(name, 2, i) for i, name in enumerate(names)], [])
    first = writer.finish()
    convert(first.folder, tmp_path / form, form)
    convert(tmp_path / form, tmp_path / "back", "store")
    back = FeatureStore.open(tmp_path / "back")
    assert paths(back) == paths(first) == {name: f"{name}.png" for name in names}


def test_a_store_without_paths_opens(store, tmp_path, capsys):
    pathless = without_paths(store)
    assert set(paths(pathless).values()) == {""} and len(pathless) == len(FILES)
    verify(pathless)
    with pytest.raises(InputError, match=r"'b/(scores|keypoints)' lies where HDF5 keeps"):
        convert(pathless.folder, tmp_path / "hloc", "hloc")
    assert not list((tmp_path / "hloc").glob("*.h5"))
    assert f"{len(FILES)} of {len(FILES)} images are not known" in capsys.readouterr().err
    convert(pathless.folder, tmp_path / "csv", "csv")


def test_a_store_without_paths_and_such_names_goes_to_hloc_by_its_names(tmp_path, capsys):
    write_picture(tmp_path / "p" / "s" / "a.jpg")
    write_picture(tmp_path / "p" / "s.jpg")
    pathless = without_paths(extract(Counting(), list_images(tmp_path / "p"), tmp_path / "store", progress=False))
    convert(pathless.folder, tmp_path / "hloc", "hloc")
    assert list_h5_names(tmp_path / "hloc" / "local.h5") == {"s/a", "s"}
    convert(tmp_path / "hloc", tmp_path / "back", "store")
    assert paths(FeatureStore.open(tmp_path / "back")) == {"s": "", "s/a": ""}


@pytest.mark.parametrize("bad", ["./a", "a/./b", "/"])
def test_names_that_hdf5_takes_for_another_are_refused(tmp_path, bad):
    writer = StoreWriter(tmp_path / "store", {"extractor": "test"}, [ImageRef(bad, "")])
    writer.write(0, [Features(bad, (1, 1), np.ones(1, np.float32))], [])
    with pytest.raises(InputError, match="cannot be a group of HDF5"):
        convert(writer.finish().folder, tmp_path / "hloc", "hloc")


def test_merged_and_appended_stores_keep_paths(photos, store, tmp_path):
    write_picture(tmp_path / "more" / "m.tif.png")
    other = extract(Counting(), list_images(tmp_path / "more"), tmp_path / "other", progress=False)
    both = merge([store.folder, other.folder], tmp_path / "both")
    assert paths(both) == paths(store) | {"m.tif": "m.tif.png"}
    with pytest.raises(InputError, match="have one path"):  # of two folders: a.jpg and, beside a.png, a.jpg
        write_picture(tmp_path / "again" / "a.jpg")
        again = extract(Counting(), list_images(tmp_path / "again"), tmp_path / "of_again", progress=False)
        convert(merge([store.folder, again.folder], tmp_path / "twice").folder, tmp_path / "no", "hloc")

    write_picture(photos / "b.png")  # b.jpg is called b.jpg now
    grown = extract(Counting(), list_images(photos), store.folder, progress=False, append=True)
    assert paths(grown) == paths(store) | {"b.png": "b.png"}


def test_official_files_hold_paths_in_their_record(photos, tmp_path):
    images = list_images(photos)
    assert extract_official(Counting(), images, tmp_path / "official", progress=False) == []
    found = OfficialFiles.open(tmp_path / "official", [ref.name for ref in images])
    assert sorted(paths(found).values()) == sorted(FILES)


@pytest.mark.parametrize("character", ["n", "ü", "写"])
def test_official_files_of_the_longest_names(tmp_path, character):
    most = 255 - len(".delg_global")
    width = len(character.encode())
    name = character * (most // width) + "n" * (most % width)
    ref = ImageRef(name, str(write_picture(tmp_path / "p.png")))
    assert extract_official(Counting(), [ref], tmp_path / "official", progress=False) == []
    assert len(OfficialFiles.open(tmp_path / "official", [name]).features(0)) == 1
    store = extract(Counting(), [ref], tmp_path / "store", progress=False)
    convert(store.folder, tmp_path / "converted", "official")
    assert (tmp_path / "converted" / f"{name}.delg_global").is_file()


def test_names_too_long_for_official_files_are_refused_before_the_work(tmp_path):
    place = str(write_picture(tmp_path / "p.png"))
    refs = [ImageRef("good", place), ImageRef("folder/" + "n" * 244, place)]
    extractor = Counting()
    with pytest.raises(InputError, match="up to 255 bytes"):
        extract_official(extractor, refs, tmp_path / "official", progress=False)
    assert not extractor.calls and not (tmp_path / "official").exists()
    store = extract(Counting(), refs, tmp_path / "store", progress=False)
    with pytest.raises(InputError, match="up to 255 bytes"):
        convert(store.folder, tmp_path / "converted", "official")
    assert not list((tmp_path / "converted").iterdir())


@pytest.mark.slow
def test_the_search_prints_paths(photos, tmp_path):
    done = run("extract", "--model=histogram", "--images_dir=photos", "--output_dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("index", "--features_dir=out", "--output_dir=index", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for place in ("--features_dir=out", "--index=index"):
        done = run(
            "search", "--model=histogram", "--query=photos/a.jpg.jpg", place, f"--top_k={len(FILES)}", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        printed = [line.split(maxsplit=2)[2] for line in done.stdout.splitlines()[1:]]
        assert printed[0] == "a.jpg.jpg" and sorted(printed) == sorted(FILES)
    page = "--output=page.html"
    done = run(
        "search", "--model=histogram", "--query=photos/a.jpg.jpg", place, page, "--images_dir=photos", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be shown" not in (tmp_path / "page.html").read_text()

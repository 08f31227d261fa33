"""Images that are added later, and several jobs that fill one store."""

import os

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.files import read_json, write_json
from extraction.images import list_images
from extraction.pipeline import begin, extract, extract_share, write_shards
from extraction.store.reader import FeatureStore
from extraction.store.tools import behind
from tests.extraction.pictures import Counting, tree, write_picture
from tests.processes import Started, run


def photos(folder, names):
    for name in names:
        write_picture(folder / f"{name}.png", 8, 8, seed=int(name))
    return list_images(folder)


def names(first, last):
    return [f"{i:03d}" for i in range(first, last)]


def test_later_images_are_appended_without_redoing_the_rest(tmp_path):
    first = photos(tmp_path / "photos", names(50, 120))
    (tmp_path / "photos" / "bad.png").write_text("no image")
    first = list_images(tmp_path / "photos")
    extract(Counting(), first, tmp_path / "store", progress=False)
    before = tree(tmp_path / "store")
    every = photos(tmp_path / "photos", [*names(0, 50), *names(120, 200)])
    with pytest.raises(InputError, match=r"images \(71 and 201\)"):
        extract(Counting(), every, tmp_path / "store", progress=False)
    extractor = Counting()
    store = extract(extractor, every, tmp_path / "store", progress=False, append=True)
    assert sorted(name for name, _, _ in extractor.calls) == [*names(0, 50), *names(120, 200)]
    assert store.names == [*names(50, 120), *names(0, 50), *names(120, 200)]
    assert [entry["name"] for entry in store.skipped] == ["bad"]
    after = tree(tmp_path / "store")
    assert all(after[path] == data for path, data in before.items() if path.startswith("shard-"))
    alone = extract(Counting(), every, tmp_path / "whole", progress=False)
    for name in ("000", "050", "199"):
        row, other = store.index_of(name), alone.index_of(name)
        np.testing.assert_array_equal(store.global_descriptors[row], alone.global_descriptors[other])
        assert store.features(row).name == name
    again = Counting()
    for images, append in ((every, True), (first, True), (first, False)):
        assert len(extract(again, images, tmp_path / "store", progress=False, append=append)) == 200
    assert again.calls == [] and tree(tmp_path / "store") == after
    with pytest.raises(InputError, match=r"a \('absent' and 1\)"):
        extract(Counting(a=1), every, tmp_path / "store", progress=False, append=True)


def test_an_append_that_was_stopped_continues(tmp_path):
    images = photos(tmp_path / "photos", names(0, 3))
    extract(Counting(), images, tmp_path / "store", progress=False)
    images = photos(tmp_path / "photos", names(3, 150))
    writer = begin(Counting(), images, tmp_path / "store", append=True)
    assert writer.missing() == [1, 2, 3]
    write_shards(Counting(), writer, [2], progress=False, num_threads=1)
    assert len(FeatureStore.open(tmp_path / "store")) == 3  # what was there can still be read
    with pytest.raises(InputError, match="being added"):
        extract(Counting(), images[:3], tmp_path / "store", progress=False)
    more = photos(tmp_path / "photos", ["200"])
    with pytest.raises(InputError, match="not finished"):
        extract(Counting(), more, tmp_path / "store", progress=False, append=True)
    extractor = Counting()
    store = extract(extractor, images, tmp_path / "store", progress=False, append=True)
    assert len(extractor.calls) == 147 - 64 and store.names == names(0, 150)
    assert len(extract(extractor, more, tmp_path / "store", progress=False, append=True)) == 151
    assert len(extract(Counting(), images, tmp_path / "new", progress=False, append=True)) == 150


def test_the_last_of_several_jobs_completes_the_store(tmp_path):
    images = photos(tmp_path / "photos", names(0, 200))
    alone = extract(Counting(), images, tmp_path / "alone", progress=False)
    with pytest.raises(InputError, match="shard_index expects 0 to 2"):
        extract_share(Counting(), images, tmp_path / "store", (3, 3))
    calls = []
    for number in (1, 2, 0):
        extractor = Counting()
        store = extract_share(extractor, images, tmp_path / "store", (number, 3), progress=False)
        calls.append(len(extractor.calls))
        assert (store is None) == (number != 0)
    assert calls == [64, 64, 72]
    assert tree(alone.folder) == tree(store.folder)


def test_jobs_at_the_same_time(tmp_path):
    photos(tmp_path / "photos", names(0, 200))
    flags = ["--images_dir=photos", "--model=rootsift", "--num_shards=2"]
    command = ["extract", *flags]
    jobs = [Started(*command, "--output_dir=store", f"--shard_index={i}", cwd=tmp_path) for i in range(2)]
    done = [job.finished() for job in jobs]
    assert [one.returncode for one in done] == [0, 0]
    assert any("200 images, 0 skipped" in one.stdout for one in done)
    assert run(*command[:-1], "--output_dir=alone", cwd=tmp_path).returncode == 0
    assert tree(tmp_path / "store") == tree(tmp_path / "alone")


@pytest.mark.parametrize("contents", [[], {"images": 3}, {"images": "3", "fingerprint": ""}, {"appended": [1]}])
def test_a_damaged_plan_is_a_sentence(tmp_path, contents):
    images = photos(tmp_path / "photos", names(0, 3))
    extract(Counting(), images, tmp_path / "store", progress=False)
    plan = read_json(tmp_path / "store" / "plan.json")
    if isinstance(contents, dict) and "appended" in contents:
        contents = plan["contents"] | contents
    write_json(tmp_path / "store" / "plan.json", plan | {"contents": contents})
    for append in (False, True):
        with pytest.raises(InputError, match="not the plan of a feature store"):
            extract(Counting(), images, tmp_path / "store", progress=False, append=append)


def test_features_that_a_folder_has_left_behind_are_counted(tmp_path):
    for seed in range(4):
        write_picture(tmp_path / "photos" / f"{seed}.png", seed=seed)
    store = extract(Counting(), list_images(tmp_path / "photos"), tmp_path / "store", progress=False)
    assert behind(store, list_images(tmp_path / "photos")) == ""
    (tmp_path / "photos" / "0.png").rename(tmp_path / "photos" / "renamed.png")
    written = (tmp_path / "photos" / "1.png").stat().st_mtime
    os.utime(tmp_path / "photos" / "1.png", (written + 100, written + 100))
    store = extract(Counting(), list_images(tmp_path / "photos"), tmp_path / "store", progress=False, append=True)
    assert behind(store, list_images(tmp_path / "photos")) == "1 removed, 1 changed"

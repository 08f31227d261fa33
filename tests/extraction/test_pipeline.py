from dataclasses import replace

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.describing import describe
from extraction.images import BadImageError, ImageRef, list_images
from extraction.pipeline import extract
from extraction.store.reader import FeatureStore
from tests.extraction.pictures import Counting, picture, tree, write_picture


def run(extractor, images, folder, **options):
    return extract(extractor, images, folder, progress=False, **options)


def test_good_images_are_done_and_bad_ones_named(tmp_path):
    photos = tmp_path / "photos"
    whole = write_picture(photos / "a.jpg", 200, 300).read_bytes()
    write_picture(photos / "e.png", 1, 1)
    (photos / "b.jpg").write_bytes(whole[:3000])
    (photos / "c.jpg").write_text("hello")
    (photos / "d.jpg").write_bytes(b"")
    store = run(Counting(), list_images(photos), tmp_path / "store")
    assert store.names == ["a", "e"]
    assert [entry["name"] for entry in store.skipped] == ["b", "c", "d"]
    assert "truncated" in store.skipped[0]["reason"]
    assert store.skipped[2]["reason"] == "the file is empty"
    assert store.features(0).image_size == (300, 200)
    assert store.settings["crop"] is False


def test_crops_are_in_pixels_of_the_whole_photo(tmp_path):
    path = str(write_picture(tmp_path / "x.png", 60, 80))
    extractor = Counting()
    store = run(extractor, [ImageRef("x", path, (20, 10, 60, 30))], tmp_path / "store")
    assert extractor.calls == [("x", (20, 40, 3), 0.5)]
    assert store.features(0).image_size == (80, 60)
    assert store.features(0).keypoints.tolist() == [[21.0, 12.0]]
    assert store.settings["crop"] is True


def test_the_extractor_decides_how_a_crop_becomes_whole_pixels(tmp_path):
    ref = ImageRef("q", str(write_picture(tmp_path / "q.png", 60, 80)), (10.6, 5.0, 30.6, 25.0))
    shapes = []
    for settings in ({}, {"crop_rule": "round"}, {"crop_rule": "truncate"}):
        extractor = Counting(**settings)
        features = describe(extractor, ref)
        shapes.append((extractor.calls[0][1], features.keypoints[0].tolist()))
    assert shapes == [((20, 20, 3), [12, 7]), ((20, 20, 3), [12, 7]), ((20, 20, 3), [11, 7])]


def test_descriptors_that_compare_with_nothing_are_a_reason_to_skip(tmp_path):
    paths = [str(write_picture(tmp_path / f"{i}.png", 20, 20)) for i in range(4)]

    class Broken(Counting):
        def __call__(self, image, name, resize_factor=1.0, size=None):
            found, nothing = super().__call__(image, name, resize_factor), np.zeros(3, np.float32)
            broken = {
                "nan": {"global_descriptor": nothing + np.nan},
                "zero": {"global_descriptor": nothing},
                "local": {"descriptors": np.full((1, 2), np.inf, np.float32)},
            }
            return replace(found, **broken.get(name, {}))

    images = [ImageRef(name, path) for name, path in zip(("good", "nan", "zero", "local"), paths)]
    store = run(Broken(), images, tmp_path / "store")
    assert store.names == ["good"]
    reasons = ["its descriptors are not finite", "its global descriptor is zero", "its descriptors are not finite"]
    assert [entry["reason"] for entry in store.skipped] == reasons


def test_a_finished_store_is_not_made_again(tmp_path):
    for i in range(5):
        write_picture(tmp_path / "photos" / f"{i}.jpg", seed=i)
    images = list_images(tmp_path / "photos")
    first = run(Counting(a=1), images, tmp_path / "store")
    before = tree(tmp_path / "store")
    extractor = Counting(a=1)
    again = run(extractor, images, tmp_path / "store")
    assert extractor.calls == []
    assert again.names == first.names
    assert tree(tmp_path / "store") == before
    with pytest.raises(InputError, match=r"a \(1 and 2\)"):
        run(Counting(a=2), images, tmp_path / "store")
    with pytest.raises(InputError, match=r"images \(5 and 4\)"):
        run(Counting(a=1), images[:4], tmp_path / "store")


def test_a_run_that_failed_continues_with_what_is_missing(tmp_path):
    for i in range(150):
        write_picture(tmp_path / "photos" / f"{i:03d}.png", 8, 8, seed=i)
    images = list_images(tmp_path / "photos")

    failing = Counting()
    failing.fails_at = "100"
    with pytest.raises(MemoryError):
        run(failing, images, tmp_path / "part")
    with pytest.raises(InputError, match="not finished"):
        FeatureStore.open(tmp_path / "part")
    extractor = Counting()
    store = run(extractor, images, tmp_path / "part", num_threads=3)
    assert sorted(name for name, _, _ in extractor.calls) == [f"{i:03d}" for i in range(64, 150)]
    run(Counting(), images, tmp_path / "whole", num_threads=1)
    assert tree(tmp_path / "part") == tree(tmp_path / "whole")
    colour = picture(8, 8, seed=149).reshape(-1, 3).mean(0) + 1
    np.testing.assert_allclose(store.global_descriptors[149], colour / np.linalg.norm(colour), rtol=1e-5)


def test_no_images_twice_the_same_and_all_bad(tmp_path):
    with pytest.raises(InputError, match="at least one image"):
        run(Counting(), [], tmp_path / "store")
    with pytest.raises(InputError, match="unique"):
        run(Counting(), [ImageRef("a", "x"), ImageRef("a", "y")], tmp_path / "store")
    with pytest.raises(InputError, match="None of the 1 images"):
        run(Counting(), [ImageRef("a", str(tmp_path / "absent.jpg"))], tmp_path / "store")


def test_describe_one_image(tmp_path):
    path = str(write_picture(tmp_path / "x.png", 60, 80))
    assert describe(Counting(), ImageRef("x", path, (20, 10, 60, 30))).keypoints.tolist() == [[21.0, 12.0]]
    with pytest.raises(BadImageError):
        describe(Counting(), ImageRef("x", "absent.jpg"))

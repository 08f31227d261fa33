"""Official files as a feature source, and features written as such files."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.extractors.base import HEADS, HeadSelection, select_heads
from extraction.formats.official import OfficialFiles
from extraction.formats.official_writer import extract_official, write_features
from extraction.formats.table import open_features
from extraction.images import ImageRef
from extraction.pipeline import extract
from extraction.resize import TooSmallError
from extraction.settings import recorded_settings
from extraction.store.reader import FeatureStore
from protos.arrays import read_global, write_global
from protos.local_features import read_local, write_local
from tests.extraction.pictures import Counting, features, tree, write_picture

NAMES = ["b", "a.1", "deep/c"]


@pytest.fixture
def folder(tmp_path):
    """Three images as another program left them: local features 3, 0 and 2."""
    for i, (name, n) in enumerate(zip(NAMES, (3, 0, 2))):
        write_features(tmp_path / "f", features(name, n, i))
    return tmp_path / "f"


def test_features_are_read_in_the_order_of_the_names(folder):
    files = OfficialFiles.open(folder, NAMES)
    assert files.names == NAMES and len(files) == 3 and files.skipped == []
    assert files.global_descriptors.shape == (3, 8) and files.global_descriptors.dtype == np.float32
    for i, n in enumerate((3, 0, 2)):
        expected, found = features(NAMES[i], n, i), files.features(i)
        assert (found.name, found.image_size, len(found)) == (NAMES[i], (0, 0), n)
        np.testing.assert_array_equal(found.global_descriptor, expected.global_descriptor)
        np.testing.assert_array_equal(files.global_descriptors[i], expected.global_descriptor)
        for key in ("keypoints", "scores", "scales") + (("descriptors",) if n else ()):
            np.testing.assert_array_equal(getattr(found, key), getattr(expected, key), err_msg=key)
            assert getattr(found, key).dtype == np.float32
    assert files.index_of("deep/c") == 2
    for i in (-1, 3):
        with pytest.raises(IndexError):
            files.features(i)
    assert OfficialFiles.open(folder, NAMES[1:]).names == NAMES[1:]
    copy = pickle.loads(pickle.dumps(files))
    np.testing.assert_array_equal(copy.features(2).descriptors, files.features(2).descriptors)


def test_local_features_come_by_score_and_as_x_y(tmp_path):
    write_global(tmp_path / "i.delg_global", [0.6, 0.8])
    write_local(tmp_path / "i.delf", [[1, 2], [3, 4], [5, 6]], [1, 2, 3], [[1, 0], [0, 1], [0.6, 0.8]], [5, 9, 5])
    found = OfficialFiles.open(tmp_path, ["i"]).features(0)
    assert found.scores.tolist() == [9, 5, 5] and found.scales.tolist() == [2, 1, 3]
    assert found.keypoints.tolist() == [[4, 3], [2, 1], [6, 5]]
    np.testing.assert_array_equal(found.descriptors[:, 0], np.float32([0, 1, 0.6]))


def test_bytes_per_image(folder, tmp_path):
    files = OfficialFiles.open(folder, NAMES)
    sizes = [(folder / f"{name}.delg_local").stat().st_size for name in NAMES]
    assert files.bytes_per_image() == {"global": 32.0, "local": sum(sizes) / 3} and sizes[1] == 0
    write_global(tmp_path / "g" / "x.delg_global", [1.0, 0.0, 0.0])
    alone = OfficialFiles.open(tmp_path / "g", ["x"])
    assert alone.bytes_per_image() == {"global": 12.0, "local": 0.0} and len(alone.features(0)) == 0


def test_an_image_without_a_global_descriptor_is_skipped(folder):
    write_global(folder / "b.delg_global", [])
    files = OfficialFiles.open(folder, NAMES)
    assert files.names == ["a.1", "deep/c"] and files.global_descriptors.shape == (2, 8)
    assert [entry["name"] for entry in files.skipped] == ["b"] and "very small" in files.skipped[0]["reason"]
    for name in NAMES:
        write_global(folder / f"{name}.delg_global", [])
    files = OfficialFiles.open(folder, NAMES)  # local features only
    assert files.names == NAMES and files.global_descriptors.shape == (3, 0) and not files.skipped


def test_the_identity_is_of_local_features_too(folder):
    before = OfficialFiles.open(folder, NAMES).identity()
    assert OfficialFiles.open(folder, NAMES).identity() == before
    place = folder / "b.delg_local"
    size = place.stat().st_size
    other = features("b", 3, 7)
    write_features(folder, replace(other, global_descriptor=features("b", 3, 0).global_descriptor))
    assert place.stat().st_size == size and OfficialFiles.open(folder, NAMES).identity() != before


def test_missing_and_damaged_files_are_named(folder):
    with pytest.raises(InputError, match=r"misses the file NAME\.delg_global of 2 of 4 images; the first is x\.delg"):
        OfficialFiles.open(folder, ["b", "x", "a.1", "y"])
    (folder / "a.1.delg_local").unlink()
    with pytest.raises(InputError, match=r"NAME\.delg_local of 1 of 3 images; the first is a\.1\.delg_local"):
        OfficialFiles.open(folder, NAMES)
    write_local(folder / "a.1.delg_local", np.zeros((0, 2)), [], np.zeros((0, 4)), [])
    (folder / "b.delg_local").write_bytes(b"damaged")
    files = OfficialFiles.open(folder, NAMES)
    with pytest.raises(InputError, match=r"b\.delg_local is damaged"):
        files.features(0)
    write_global(folder / "deep" / "c.delg_global", [1.0, 0.0])
    with pytest.raises(InputError, match=r"c\.delg_global holds 2 values; expected 8, as in b\.delg_global"):
        OfficialFiles.open(folder, NAMES)
    (folder / "deep" / "c.delg_global").write_bytes(b"\x0a")
    with pytest.raises(InputError, match=r"c\.delg_global is damaged"):
        OfficialFiles.open(folder, NAMES)


def test_settings_that_are_known_are_compared(folder, tmp_path):
    files = OfficialFiles.open(folder, NAMES)
    files.check_compatible(OfficialFiles.open(folder, NAMES[:1]))
    write_global(tmp_path / "g" / "x.delg_global", [1.0, 0.0])
    with pytest.raises(InputError, match=r"global_dimension \(8 and 2\)"):
        files.check_compatible(OfficialFiles.open(tmp_path / "g", ["x"]))
    write_picture(tmp_path / "p.png")
    extract_official(Counting(), [ImageRef("p", str(tmp_path / "p.png"))], tmp_path / "o", progress=False)
    ours = OfficialFiles.open(tmp_path / "o", ["p"])
    assert ours.settings == recorded_settings(Counting()) | {"crop": False}
    assert ours.settings.keys() == {"extractor", "source_sha256", "crop"}
    with pytest.raises(InputError, match=r"extractor \('counting' and 'unknown, official files'\)"):
        ours.check_compatible(files)


def test_a_folder_is_a_store_or_official_files(folder, tmp_path):
    assert isinstance(open_features(folder, NAMES), OfficialFiles)
    write_picture(tmp_path / "p.png")
    images = [ImageRef("p", str(tmp_path / "p.png"))]
    extract(Counting(), images, tmp_path / "s", progress=False)
    assert type(open_features(tmp_path / "s", ["p"])) is FeatureStore
    (tmp_path / "s" / "manifest.json").unlink()
    with pytest.raises(InputError, match="not finished"):
        open_features(tmp_path / "s", ["p"])
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "none", tmp_path / "empty"):
        with pytest.raises(InputError, match="no features of a known format"):
            open_features(place, ["p"])


@pytest.fixture
def images(tmp_path):
    refs = [ImageRef(f"i{i}", str(write_picture(tmp_path / f"{i}.png", 60, 80, seed=i))) for i in range(4)]
    (tmp_path / "bad.png").write_text("x")
    return [*refs, ImageRef("bad", str(tmp_path / "bad.png"))]


def test_extraction_writes_the_files_and_continues(tmp_path, images, capsys):
    whole = Counting()
    skipped = extract_official(whole, images, tmp_path / "o")
    assert "skipped=1" in capsys.readouterr().err
    assert skipped == [{"name": "bad", "reason": "not an image that Pillow can decode"}]
    names = {f"i{i}.{kind}" for i in range(4) for kind in ("delg_global", "delg_local")}
    assert set(tree(tmp_path / "o")) == {*names, "extraction.json"}
    np.testing.assert_allclose(np.linalg.norm(read_global(tmp_path / "o" / "i2.delg_global")), 1, atol=1e-6)
    record = json.loads((tmp_path / "o" / "extraction.json").read_text())
    (tmp_path / "o" / "i1.delg_global").unlink()  # as if it had been stopped there
    (tmp_path / "o" / "extraction.json").write_text(json.dumps({k: v for k, v in record.items() if k != "skipped"}))
    with pytest.raises(InputError, match="not finished"):
        OfficialFiles.open(tmp_path / "o", ["i0"])
    again = Counting()
    assert extract_official(again, images, tmp_path / "o", progress=False) == skipped
    assert [name for name, _, _ in again.calls] == ["i1"] and len(whole.calls) == 4
    before = tree(tmp_path / "o")
    assert extract_official(again, images, tmp_path / "o", progress=False) == skipped
    assert len(again.calls) == 1 and tree(tmp_path / "o") == before


def test_other_settings_and_foreign_files_are_refused(tmp_path, images, folder):
    extract_official(Counting(), images, tmp_path / "o", progress=False)
    with pytest.raises(InputError, match=r"other settings or images.*size \('absent' and 3\)"):
        extract_official(Counting(size=3), images, tmp_path / "o", progress=False)
    with pytest.raises(InputError, match=r"other settings or images.*images \(5 and 4\)"):
        extract_official(Counting(), images[1:], tmp_path / "o", progress=False)
    with pytest.raises(InputError, match=r"extraction\.json.*choose another folder"):
        extract_official(Counting(), images, folder, progress=False)
    with pytest.raises(InputError, match="one image or more"):
        extract_official(Counting(), [images[0], images[0]], tmp_path / "p", progress=False)
    with pytest.raises(InputError, match="None of the 1 images could be read: bad"):
        extract_official(Counting(), images[-1:], tmp_path / "q", progress=False)


def test_a_store_and_official_files_do_not_share_a_folder(tmp_path, images):
    extract_official(Counting(), images, tmp_path / "o", progress=False)
    with pytest.raises(InputError, match="holds official files; choose another folder for the feature store"):
        extract(Counting(), images, tmp_path / "o", progress=False)
    (tmp_path / "o" / "extraction.json").unlink()
    with pytest.raises(InputError, match="holds official files"):
        extract(Counting(), images, tmp_path / "o", progress=False)
    assert not (tmp_path / "o" / "plan.json").exists()
    extract(Counting(), images, tmp_path / "s", progress=False)
    with pytest.raises(InputError, match="holds a feature store; choose another folder for the official files"):
        extract_official(Counting(), images, tmp_path / "s", progress=False)
    (tmp_path / "s" / "manifest.json").unlink()
    with pytest.raises(InputError, match="holds a feature store"):
        extract_official(Counting(), images, tmp_path / "s", progress=False)
    assert not (tmp_path / "s" / "extraction.json").exists()


@pytest.mark.parametrize("name", ["/x", "../x", "a/../../x", ""])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, images, name):
    with pytest.raises(InputError, match=r"names of images relative to their folder and without '\.\.'"):
        extract_official(Counting(), [replace(images[0], name=name)], tmp_path / "o", progress=False)
    with pytest.raises(InputError, match="relative to their folder"):
        write_features(tmp_path / "o", replace(features("x", 2, 0), name=name))
    with pytest.raises(InputError, match="relative to their folder"):
        OfficialFiles.open(tmp_path, [name])
    assert not (tmp_path / "o").exists()


class Failing(Counting):
    def __call__(self, image, name, resize_factor=1.0, size=None):
        raise InputError("wrong from the first image on")


def test_a_run_that_ended_before_its_first_image_blocks_nothing(tmp_path, images):
    for run in (extract_official, extract):
        place = tmp_path / run.__name__
        with pytest.raises(InputError, match="first image"):
            run(Failing(wrong=1), images, place, progress=False)
        run(Counting(), images, place, progress=False)
        with pytest.raises(InputError, match="other settings"):
            run(Counting(wrong=1), images, place, progress=False)


class Small(Counting):
    def __call__(self, image, name, resize_factor=1.0, size=None):
        if image.shape[0] < 12:
            raise TooSmallError("11 pixels")
        return super().__call__(image, name, resize_factor)


@pytest.mark.parametrize("heads", [HEADS, ("global",), ("local",)])
def test_images_that_are_too_small_get_empty_files(tmp_path, images, heads):
    write_picture(tmp_path / "tiny.png", 11, 60)
    tiny = ImageRef("tiny", str(tmp_path / "tiny.png"))
    refs = [images[0], tiny, images[1]]
    skipped = extract_official(Small(), refs, tmp_path / "o", heads=heads, progress=False)
    assert skipped == [{"name": "tiny", "reason": "11 pixels"}]
    if "local" in heads:
        assert (tmp_path / "o" / "tiny.delg_local").read_bytes() == b""
    if "global" in heads:
        assert read_global(tmp_path / "o" / "tiny.delg_global").shape == (0,)
        assert OfficialFiles.open(tmp_path / "o", ["i0", "tiny", "i1"]).skipped == skipped
    record = json.loads((tmp_path / "o" / "extraction.json").read_text())
    (tmp_path / "o" / "extraction.json").write_text(json.dumps({k: v for k, v in record.items() if k != "skipped"}))
    before = tree(tmp_path / "o")
    again = Small()
    assert extract_official(again, refs, tmp_path / "o", heads=heads, progress=False) == skipped
    assert not again.calls and set(tree(tmp_path / "o")) == set(before)
    with pytest.raises(InputError, match="None of the 1 images could be read"):
        extract_official(Small(), [tiny], tmp_path / "p", heads=heads, progress=False)
    assert not tree(tmp_path / "p")


def test_no_official_files_of_less_than_ten_pixels_hold_features(tmp_path, images):
    """The released extractor leaves them empty, whatever the model."""
    sizes = {"nine": (9, 60), "ten": (10, 60), "thin": (60, 9)}
    refs = [ImageRef(name, str(write_picture(tmp_path / f"{name}.png", *size))) for name, size in sizes.items()]
    boxed = [
        replace(images[0], name=name, crop=(3.0, 3.0, right, 40.0)) for name, right in (("box", 12.0), ("more", 13.0))
    ]
    counting = Counting()
    skipped = extract_official(counting, refs + boxed, tmp_path / "o", progress=False)
    assert sorted(entry["name"] for entry in skipped) == ["box", "nine", "thin"]
    assert sorted(call[0] for call in counting.calls) == ["more", "ten"]
    for name in ("box", "nine", "thin"):
        assert (tmp_path / "o" / f"{name}.delg_local").read_bytes() == b""
        assert read_global(tmp_path / "o" / f"{name}.delg_global").shape == (0,)
    counting.base_size = lambda size, factor: (size[0] // 5, size[1] // 5)  # it is the size after resizing that counts
    skipped = extract_official(counting, [images[0], refs[1]], tmp_path / "p", progress=False)
    assert [entry["name"] for entry in skipped] == ["ten"]


def test_keypoints_of_a_crop_are_those_of_the_crop(tmp_path, images):
    extractor = Counting()
    query = replace(images[0], crop=(10.0, 20.0, 50.0, 50.0))
    extract_official(extractor, [query], tmp_path / "o", progress=False)
    assert extractor.calls == [("i0", (30, 40, 3), 0.5)]
    assert read_local(tmp_path / "o" / "i0.delg_local").locations.tolist() == [[2.0, 1.0]]
    assert json.loads((tmp_path / "o" / "extraction.json").read_text())["settings"]["crop"] is True


def test_kinds(tmp_path, images):
    only = ("global",)
    extract_official(select_heads(Counting(), only), images[:1], tmp_path / "g", heads=only, progress=False)
    assert set(tree(tmp_path / "g")) == {"i0.delg_global", "extraction.json"}
    only = ("local",)
    extract_official(select_heads(Counting(), only), images[:1], tmp_path / "l", heads=only, progress=False)
    assert set(tree(tmp_path / "l")) == {"i0.delg_local", "extraction.json"}
    counting = Counting()
    assert select_heads(counting, HEADS) is counting
    image = np.zeros((8, 9, 3), np.uint8)
    part = HeadSelection(counting, ("global",))
    assert len(part(image, "x")) == 0 and part(image, "x").global_descriptor.size == 3
    assert part.settings["use_local_features"] is False and counting.settings == {"extractor": "counting"}
    part = HeadSelection(counting, only)
    assert len(part(image, "x", resize_factor=0.5)) == 1 and part(image, "x").global_descriptor.size == 0
    assert counting.calls[-2][2] == 0.5

"""How image files become pixels and features: found, turned, cut off, cropped; and what a store says of it."""

import json

import numpy as np
import pytest
from PIL import Image

from delg.common.decoding import BadImageError
from delg.common.errors import InputError
from delg.common.image_files import formats, is_image_name, suffixes
from extraction.describing import describe, describe_together
from extraction.extractors.rootsift import RootSift
from extraction.formats.checks import check_settings
from extraction.formats.official import OfficialFiles
from extraction.images import ImageRef, Reading, crop_size, load_image, load_shrunk
from extraction.settings import common_settings, set_reading
from extraction.store.reader import FeatureStore
from tests import processes
from tests.delg.common.pixel_files import refused, right
from tests.extraction.pictures import Counting, picture, write_picture

IGNORE, PAD = Reading("ignore"), Reading(crop_border="pad")


def turned(path, tag=6, seed=0):
    """A photo of 120 x 160 pixels that a viewer shows as 160 x 120, or as ``tag`` says."""
    exif = Image.Exif()
    exif[0x0112] = tag
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(120, 160, seed)).save(path, exif=exif)
    return path


def run(folder, *arguments):
    done = processes.run(*arguments, cwd=folder)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(
    "suffix",
    [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "bmp",
        "gif",
        "tif",
        "tiff",
        "avif",
        "jp2",
        "mpo",
        "pgm",
        "ppm",
        "pbm",
        "pnm",
        "heic",
        "heif",
        "jxl",
        "svg",
        "nef",
        "cr2",
        "dng",
        "psd",
    ],
)
def test_files_that_are_images_by_their_names(suffix):
    assert f".{suffix}" in suffixes()
    assert all(is_image_name(f"a.{name}") for name in (suffix, suffix.upper(), suffix.title(), f"b.{suffix}"))
    assert not is_image_name(f"._a.{suffix}") and not is_image_name(f"a.{suffix}.txt") and not is_image_name(suffix)


@pytest.mark.parametrize(
    "suffix", ["txt", "csv", "json", "pdf", "mpg", "h5", "hdf", "fits", "ps", "npy", "xmp", "mp4", "zip"]
)
def test_files_that_are_none(suffix):
    assert not is_image_name(f"a.{suffix}")


def test_no_format_is_decoded_that_runs_another_program_or_holds_no_photo():
    assert {"JPEG", "PNG", "TIFF", "GIF", "PPM", "WEBP"} <= set(formats())
    assert not {"EPS", "WMF", "MPEG", "HDF5", "FITS", "XBM", "SPIDER"} & set(formats())


def test_every_kind_is_described_or_among_the_skipped(tmp_path):
    good, bad = right(), refused()
    for name, (data, _) in (good | bad).items():
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    (tmp_path / "photos" / "__MACOSX").mkdir()
    (tmp_path / "photos" / "__MACOSX" / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "photos" / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    done = run(tmp_path, "extract", "--images_dir=photos", "--model=histogram", "--output_dir=features")
    assert done.returncode == 0, done.stderr
    store = FeatureStore.open(tmp_path / "features")
    reasons = {entry["name"]: entry["reason"] for entry in store.skipped}
    stems = [name.rpartition(".")[0] for name in (good | bad)]
    named = lambda name: name.rpartition(".")[0] if stems.count(name.rpartition(".")[0]) == 1 else name  # noqa: E731
    assert set(store.names) == {named(name) for name in good}
    assert set(reasons) == {named(name) for name in bad}
    assert all(bad[name][1] in reasons[named(name)] for name in bad)


def test_the_orientation_is_obeyed_unless_asked_otherwise(tmp_path):
    ref = ImageRef("x", str(turned(tmp_path / "x.png")))
    pixels, size, _ = load_image(ref)
    np.testing.assert_array_equal(pixels, np.rot90(picture(120, 160), -1))
    assert size == (120, 160) and crop_size(ref) == ((120, 160), (120, 160))
    pixels, size, _ = load_image(ref, IGNORE)
    np.testing.assert_array_equal(pixels, picture(120, 160))
    assert size == (160, 120) and crop_size(ref, IGNORE) == ((160, 120), (160, 120))
    boxed = ImageRef("x", ref.path, (10.0, 20.0, 50.0, 140.0))  # in pixels of the upright photo
    pixels, size, offset = load_image(boxed)
    np.testing.assert_array_equal(pixels, np.rot90(picture(120, 160), -1)[20:140, 10:50])
    assert (size, offset) == ((120, 160), (10, 20))


def test_a_large_photo_is_turned_before_it_is_shrunk(tmp_path, monkeypatch):
    monkeypatch.setattr("extraction.images.LARGE", 1000)
    for tag in (3, 6, 7):
        ref = ImageRef("x", str(turned(tmp_path / f"{tag}.png", tag)))
        whole, size, _ = load_image(ref)
        target = (size[0] // 3, size[1] // 2)
        shrunk, *more = load_shrunk(ref, shrink=lambda side, factor, target=target: target)
        wide = Image.fromarray(whole).resize((target[0], size[1]), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(shrunk, np.asarray(wide.resize(target, Image.Resampling.BILINEAR)))
        assert more == [size, (0, 0), size]


def test_a_crop_beyond_the_photo_is_cut_or_black(tmp_path):
    """``Image.crop`` of the released code fills with black."""
    path = str(write_picture(tmp_path / "x.png", 60, 80))
    for crop in (
        (-5.0, -7.5, 30.0, 40.0),
        (60.4, 10.0, 90.0, 75.6),
        (-3.0, -4.0, 85.0, 66.0),
        (100.0, 10.0, 120.0, 30.0),
    ):
        ref, sides = ImageRef("x", path, crop), tuple(round(side) for side in crop)
        with Image.open(path) as image:
            expected = np.asarray(image.crop(sides))
        found, size, offset = load_image(ref, PAD)
        np.testing.assert_array_equal(found, expected)
        assert (size, offset) == ((80, 60), sides[:2])
        assert crop_size(ref, PAD)[0] == (sides[2] - sides[0], sides[3] - sides[1])
    with pytest.raises(BadImageError, match="holds no pixel"):
        load_image(ref)
    found, _, offset = load_image(ImageRef("x", path, (-5.0, -7.0, 30.0, 40.0)))
    assert found.shape == (40, 30, 3) and offset == (0, 0)
    with pytest.raises(BadImageError, match="million pixels"):
        load_image(ImageRef("x", path, (-5.0, -5.0, 1e5, 1e5)), PAD)
    with pytest.raises(BadImageError, match="holds no pixel"):
        load_image(ImageRef("x", path, (20.0, 20.0, 20.3, 30.0)), PAD)


def test_keypoints_of_a_padded_crop_are_in_the_photo(tmp_path):
    ref = ImageRef("x", str(write_picture(tmp_path / "x.png", 60, 80)), (-5.0, -7.0, 35.0, 43.0))
    counting = set_reading(Counting(), crop_border="pad")
    found = describe(counting, ref)
    assert counting.calls == [("x", (50, 40, 3), 50 / 80)]
    assert found.image_size == (80, 60) and found.keypoints.tolist() == [[-4.0, -5.0]]


def test_images_of_one_run_whose_heads_were_wrong_are_described_apart(tmp_path):
    from tests.delg.common.pixel_files import chunk, png

    tag = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    (tmp_path / "late.png").write_bytes(png(picture(), 8, 2, late=chunk(b"eXIf", tag)))
    write_picture(tmp_path / "plain.png")
    refs = [ImageRef(name, str(tmp_path / f"{name}.png")) for name in ("plain", "late")]
    runs = []

    class Together(Counting):
        batched = True

        def together(self, pictures):
            runs.append([one.name for one in pictures])
            return [self(one.image, one.name) for one in pictures]

    extractor = set_reading(Together(), exif="apply")
    found = describe_together(extractor, refs)
    assert [one.image_size for one in found] == [(80, 60), (60, 80)]
    assert runs == [["plain"], ["late"]]
    set_reading(extractor, exif="ignore")
    describe_together(extractor, refs)
    assert runs[2:] == [["plain", "late"]]


def test_the_commands_record_and_obey_the_policy(tmp_path):
    turned(tmp_path / "photos" / "a.jpg", seed=1)
    turned(tmp_path / "photos" / "b.jpg", 1, seed=2)
    for name, flags in {"own": [], "stored": ["--exif=ignore"]}.items():
        done = run(tmp_path, "extract", "--images_dir=photos", "--model=rootsift", f"--output_dir={name}", *flags)
        assert done.returncode == 0, done.stderr
    own, stored = (FeatureStore.open(tmp_path / name) for name in ("own", "stored"))
    assert (own.settings["exif"], stored.settings["exif"]) == ("orientation applied", "orientation ignored")
    assert [own.features(i).image_size for i in range(2)] == [(120, 160), (160, 120)]
    assert [stored.features(i).image_size for i in range(2)] == [(160, 120), (160, 120)]
    with pytest.raises(InputError, match="exif"):
        own.check_compatible(stored)
    done = run(tmp_path, "extract", "--images_dir=photos", "--model=rootsift", "--output_dir=own", "--exif=ignore")
    assert done.returncode == 1 and "exif" in done.stderr
    for name in ("own", "stored"):  # the query is read as the store was, so that it finds itself exactly
        query = ["--query=photos/a.jpg", "--model=rootsift", f"--features_dir={name}"]
        done = run(tmp_path, "search", *query, "--images_dir=photos", f"--output={name}.html")
        assert done.returncode == 0 and "1.0000  a.jpg\n" in done.stdout, done.stdout + done.stderr
    done = run(tmp_path, "index", "--features_dir=stored", "--output_dir=index")
    assert done.returncode == 0, done.stderr
    done = run(tmp_path, "search", "--query=photos/a.jpg", "--model=rootsift", "--index=index")
    assert done.returncode == 0 and "1.0000  a.jpg\n" in done.stdout, done.stdout + done.stderr


def test_official_files_are_made_as_released(tmp_path):
    turned(tmp_path / "photos" / "a.jpg", seed=1)
    whole = write_picture(tmp_path / "photos" / "cut.jpg", 120, 160, seed=2)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    given = ["extract", "--images_dir=photos", "--model=rootsift", "--feature_files=official"]
    done = run(tmp_path, *given, "--output_dir=released")
    assert done.returncode == 0 and "2 images, 0 skipped" in done.stdout, done.stderr
    settings = json.loads((tmp_path / "released" / "extraction.json").read_text())["settings"]
    assert (settings["exif"], settings["truncated"], settings["crop_border"]) == (
        "orientation ignored",
        "describe",
        "pad",
    )
    found = OfficialFiles.open(tmp_path / "released", ["a", "cut"])
    expected = RootSift()(load_image(ImageRef("a", str(tmp_path / "photos" / "a.jpg")), IGNORE)[0], "a")
    np.testing.assert_array_equal(found.features(0).keypoints, expected.keypoints)
    grey = load_image(ImageRef("cut", str(whole)), Reading(truncated="describe"))[0]
    np.testing.assert_array_equal(found.features(1).keypoints, RootSift()(grey, "cut").keypoints)
    done = run(tmp_path, *given, "--output_dir=ours", "--truncated=skip", "--exif=apply", "--crop_border=cut")
    assert done.returncode == 0 and "1 images, 1 skipped: cut (" in done.stdout, done.stdout + done.stderr
    assert not list((tmp_path / "ours").glob("cut*"))
    done = run(tmp_path, "extract", "--images_dir=photos", "--model=rootsift", "--output_dir=s", "--truncated=describe")
    assert done.returncode == 0 and "2 images, 0 skipped" in done.stdout, done.stdout + done.stderr


def test_features_that_do_not_record_how_images_are_read_count_as_released():
    assert Reading.of({"extractor": "unknown, official files"}) == IGNORE


def test_switches_that_touch_damaged_photos_and_boxes_alone_may_differ():
    settings = common_settings("counting")
    check_settings(settings, settings | {"truncated": "describe", "crop_border": "pad"}, "Two")


@pytest.mark.parametrize("choice", [{"exif": "maybe"}, {"truncated": "x"}, {"crop_border": ""}, {"crop_rule": "up"}])
def test_unknown_choices_are_a_sentence(choice):
    with pytest.raises(InputError, match=f"Unknown {next(iter(choice))}"):
        Reading(**choice)

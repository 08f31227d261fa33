"""Every kind of pixels comes out right to within 1 of 255, or not at all; turned, cut off and resized files."""

import hashlib
import threading

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, features

from delg.common.decoding import BadImageError, opened, resized
from tests.delg.common.pixel_files import RAMP16, RGB8, RGB16, chunk, png, refused, right, tiff
from tests.extraction.pictures import picture, write_picture

RIGHT, REFUSED = right(), refused()
SCENE = np.dstack([np.arange(48, dtype=np.uint8).reshape(6, 8)] * 3)
TURNED = {  # what a viewer shows of SCENE by the value of the tag (EXIF 2.3, 4.6.4): where its first row and column go
    1: SCENE,
    2: SCENE[:, ::-1],
    3: SCENE[::-1, ::-1],
    4: SCENE[::-1],
    5: SCENE.transpose(1, 0, 2),
    6: np.rot90(SCENE, -1),
    7: SCENE[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(SCENE),
}


def pixels(path, upright=True, tolerant=False):
    with opened(path, upright=upright, tolerant=tolerant) as photo:
        found = np.asarray(photo.rgb())
        assert photo.size == (found.shape[1], found.shape[0])
    return found


@pytest.mark.parametrize("name", RIGHT)
def test_kinds_that_are_decoded(tmp_path, name):
    data, wanted = RIGHT[name]
    (tmp_path / name).write_bytes(data)
    wanted = wanted if wanted.ndim == 3 else np.dstack([wanted] * 3)
    for upright in (True, False):
        found = pixels(tmp_path / name, upright)
        assert found.dtype == np.uint8 and found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("name", REFUSED)
def test_kinds_that_are_refused(tmp_path, name):
    data, reason = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadImageError) as error:
        pixels(tmp_path / name)
    assert reason in str(error.value) and str(tmp_path) not in str(error.value)


def test_jpeg_2000_of_16_bits(tmp_path):
    """Pillow makes white black where it brings colours of more than 8 bits to 8."""
    for name, values in (("grey", RAMP16), ("colour", RGB16), ("plain", RGB8)):
        assert cv2.imwrite(str(tmp_path / f"{name}.jp2"), values[..., ::-1].copy() if values.ndim == 3 else values)
    with pytest.raises(BadImageError, match="JPEG 2000"):
        pixels(tmp_path / "colour.jp2")
    assert np.abs(pixels(tmp_path / "grey.jp2")[..., 0] - RAMP16 / 257).max() <= 1
    assert np.abs(pixels(tmp_path / "plain.jp2").astype(int) - RGB8).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_eight_bits_are_what_pillow_alone_makes_of_them(tmp_path, mode):
    kinds = {"1": "png", "LA": "png", "P": "gif", "RGBA": "webp", "YCbCr": "tif"}
    path = tmp_path / f"x.{kinds.get(mode, 'jpg')}"
    Image.fromarray(picture()).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    for upright in (True, False):
        np.testing.assert_array_equal(pixels(path, upright), expected)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "avif", "mpo"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_the_orientation_tag_is_obeyed_or_ignored(tmp_path, kind, tag):
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif, big = Image.Exif(), np.kron(SCENE * 5, np.ones((16, 16, 1), np.uint8))
    exif[0x0112] = tag
    path = tmp_path / f"x.{kind}"
    options = {"webp": {"lossless": True}, "tif": {}, "png": {}}.get(kind, {"quality": 95})
    Image.fromarray(big).save(path, exif=exif, **options)
    upright = np.kron(TURNED[tag] * 5, np.ones((16, 16, 1), np.uint8))
    for wanted, obey in ((upright, True), (big, False)):
        with opened(path, upright=obey) as photo:
            assert photo.size == (wanted.shape[1], wanted.shape[0])  # by the head
        found = pixels(path, obey)
        assert found.shape == wanted.shape
        assert np.abs(found.astype(int) - wanted).max() <= (0 if kind in ("png", "webp", "tif") else 6)


def test_orientation_tags_that_say_nothing(tmp_path):
    for number, tag in enumerate((0, 9, 65535)):
        exif = Image.Exif()
        exif[0x0112] = tag
        Image.fromarray(SCENE).save(tmp_path / f"{number}.png", exif=exif)
        np.testing.assert_array_equal(pixels(tmp_path / f"{number}.png"), SCENE)
    (tmp_path / "damaged.png").write_bytes(png(SCENE, 8, 2, chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")))
    np.testing.assert_array_equal(pixels(tmp_path / "damaged.png"), SCENE)


def test_the_orientation_tag_behind_the_pixels_of_a_png(tmp_path):
    tag = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    (tmp_path / "x.png").write_bytes(png(SCENE, 8, 2, late=chunk(b"eXIf", tag)))
    np.testing.assert_array_equal(pixels(tmp_path / "x.png"), TURNED[6])
    np.testing.assert_array_equal(pixels(tmp_path / "x.png", upright=False), SCENE)


def test_a_file_that_is_cut_off_is_refused_or_filled_up(tmp_path):
    whole = write_picture(tmp_path / "whole.jpg", 200, 300)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(BadImageError, match="truncated"):
        pixels(cut)
    found, expected = pixels(cut, tolerant=True), pixels(whole)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found[:56], expected[:56])
    assert (found[-16:] == 128).all() and (expected[-16:] != 128).any()
    cut.with_suffix(".png").write_bytes(png(RGB8, 8, 2)[:600])
    assert not pixels(cut.with_suffix(".png"), tolerant=True)[-1].any()
    with pytest.raises(BadImageError, match="truncated"):  # the switch, which is the process's, is off again
        pixels(cut)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    (tmp_path / "head.jpg").write_bytes(whole.read_bytes()[:20])
    with pytest.raises(BadImageError):
        pixels(tmp_path / "head.jpg", tolerant=True)


def test_files_that_are_cut_off_in_threads_of_both_kinds(tmp_path):
    whole = write_picture(tmp_path / "whole.jpg", 200, 300)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    wrong = []

    def read(tolerant):
        for _ in range(20):
            try:
                pixels(cut, tolerant=tolerant)
                done = True
            except BadImageError:
                done = False
            if done != tolerant:
                wrong.append(tolerant)

    threads = [threading.Thread(target=read, args=(kind,)) for kind in (True, False) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_file_of_many_pictures_gives_the_first(tmp_path):
    frames = [Image.fromarray(picture(seed=i)) for i in range(3)]
    for name in ("x.tif", "x.png", "x.webp", "x.gif"):
        options = {"lossless": True} if name == "x.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        found = pixels(tmp_path / name).astype(int)
        assert np.abs(found - picture(seed=0)).mean() < 12 < np.abs(found - picture(seed=1)).mean()
    (tmp_path / "one.tif").write_bytes(tiff([RGB8.tobytes()], 2, (8,) * 3))
    np.testing.assert_array_equal(pixels(tmp_path / "one.tif"), RGB8)


def random_picture(width, height):
    return Image.fromarray(np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8))


RESIZED = [  # size, target, first and last pixel, hash: of one call of Pillow 10.4, 11.3 and 12.0, which agree
    ((40, 90), (37, 11), [152, 106, 120], [117, 172, 127], "981e735658880ff5"),
    ((90, 40), (11, 37), [149, 132, 177], [153, 128, 147], "ec35ca6dda17969b"),
    ((64, 64), (32, 16), [153, 141, 120], [141, 139, 125], "69783b38bac73434"),
    ((64, 64), (16, 32), [145, 160, 117], [121, 111, 144], "6f63fcd1e9ccaca2"),
    ((50, 30), (75, 20), [100, 187, 104], [166, 191, 74], "217bb2c485cf776d"),
    ((30, 50), (20, 75), [94, 238, 104], [72, 225, 175], "41baea8e9e2016ce"),
    ((61, 83), (61, 20), [131, 74, 109], [72, 111, 149], "661520a85a48d82e"),
    ((61, 83), (20, 83), [148, 182, 156], [142, 127, 204], "b34ee30f47d7a000"),
    ((9, 120), (30, 40), [101, 123, 103], [219, 118, 78], "f1a221d881a3cd14"),
    ((120, 9), (40, 30), [141, 62, 115], [88, 117, 47], "7324411f6940fdaa"),
    ((33, 77), (66, 154), [183, 6, 95], [242, 24, 21], "a1aeca6741860910"),
]


@pytest.mark.parametrize(("size", "target", "first", "last", "digest"), RESIZED)
def test_resizing_is_that_of_the_older_versions(size, target, first, last, digest):
    found = resized(random_picture(*size), target)
    values = np.asarray(found)
    assert found.size == target
    assert values[0, 0].tolist() == first and values[-1, -1].tolist() == last
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == digest


def test_resizing_goes_width_first():
    for size, target, *_ in RESIZED:
        image = random_picture(*size)
        wide = image.resize((target[0], size[1]), Image.Resampling.BILINEAR)
        expected = wide.resize(target, Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(np.asarray(resized(image, target)), np.asarray(expected))
    assert resized(image, image.size) is image

import io
import os

import numpy as np
import pytest
from PIL import Image

from delg.common.errors import InputError
from extraction.images import BadImageError, ImageRef, Reading, list_images, load_image, read_image_list
from tests.extraction.pictures import picture, write_picture


def test_list_is_recursive_sorted_and_named_without_suffix(tmp_path):
    for name in ("b.JPG", "a/z.png", "a/b.jpeg", "c.webp", "d.bmp", "a/.hidden.jpg", ".git/x.jpg"):
        write_picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    refs = list_images(tmp_path)
    assert [r.name for r in refs] == ["a/b", "a/z", "b", "c", "d"]
    assert refs[0].path == str(tmp_path / "a/b.jpeg")
    assert all(r.crop is None for r in refs)


def test_names_that_differ_in_the_suffix_only_keep_it(tmp_path):
    for name in ("a.jpg", "a.png", "b.png", "v1.2.jpg"):
        write_picture(tmp_path / name)
    assert [r.name for r in list_images(tmp_path)] == ["a.jpg", "a.png", "b", "v1.2"]


def test_links_are_followed_without_end(tmp_path):
    write_picture(tmp_path / "elsewhere" / "x.jpg")
    root = tmp_path / "root"
    write_picture(root / "y.jpg")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    assert [r.name for r in list_images(root)] == ["linked/x", "y"]


def test_a_name_that_is_not_utf8_can_be_written(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "png")
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(buffer.getvalue())
    (ref,) = list_images(tmp_path)
    assert ref.name == "caf\\xe9"
    assert load_image(ref)[1] == (80, 60)


def test_missing_and_empty_folders_are_a_sentence(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        list_images(tmp_path / "absent")
    (tmp_path / "readme.md").write_text("x")
    with pytest.raises(InputError, match="holds no image"):
        list_images(tmp_path)


def test_image_list(tmp_path):
    write_picture(tmp_path / "sub" / "one.png")
    listing = tmp_path / "list.txt"
    listing.write_text("sub/one.png\n\n  other.jpg \n")
    refs = read_image_list(listing, tmp_path)
    assert [(r.name, r.path) for r in refs] == [
        ("sub/one", str(tmp_path / "sub/one.png")),
        ("other", str(tmp_path / "other.jpg")),
    ]
    listing.write_text("a.jpg\n./a.jpg\na.png\n")
    assert [r.name for r in read_image_list(listing, tmp_path)] == ["a.jpg", "a.png"], "a path twice is one image"
    listing.write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_image_list(listing)
    with pytest.raises(InputError, match="cannot be read"):
        read_image_list(tmp_path / "absent.txt")


def test_load_gives_rgb_size_and_offset(tmp_path):
    path = write_picture(tmp_path / "x.png", 60, 80)
    image, size, offset = load_image(ImageRef("x", str(path)))
    np.testing.assert_array_equal(image, picture(60, 80))
    assert image.dtype == np.uint8
    assert (size, offset) == ((80, 60), (0, 0))


def test_crop_is_rounded_half_to_even_and_cut_at_the_border(tmp_path):
    path = write_picture(tmp_path / "x.png", 60, 80)
    image, size, offset = load_image(ImageRef("x", str(path), (10.5, 3.5, 30.6, 20.4)))
    np.testing.assert_array_equal(image, picture(60, 80)[4:20, 10:31])
    assert (size, offset) == ((80, 60), (10, 4))
    image, _, offset = load_image(ImageRef("x", str(path), (-5.0, -7.0, 200.0, 10.0)))
    np.testing.assert_array_equal(image, picture(60, 80)[:10])
    assert offset == (0, 0)
    with pytest.raises(BadImageError, match="holds no pixel"):
        load_image(ImageRef("x", str(path), (80.0, 0.0, 90.0, 10.0)))


def test_a_truncated_crop_loses_its_fractions(tmp_path):
    path = write_picture(tmp_path / "x.png", 60, 80)
    image, size, offset = load_image(ImageRef("x", str(path), (10.9, 3.5, 30.6, 20.4)), Reading(crop_rule="truncate"))
    np.testing.assert_array_equal(image, picture(60, 80)[3:20, 10:30])
    assert (size, offset) == ((80, 60), (10, 3))
    image, _, offset = load_image(ImageRef("x", str(path), (-0.9, -7.0, 200.0, 10.9)), Reading(crop_rule="truncate"))
    np.testing.assert_array_equal(image, picture(60, 80)[:10])
    assert offset == (0, 0)
    with pytest.raises(BadImageError, match="holds no pixel"):
        load_image(ImageRef("x", str(path), (10.1, 0.0, 10.9, 10.0)), Reading(crop_rule="truncate"))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "LA", "1"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.fromarray(np.full((20, 30, 3), 204, np.uint8)).convert(mode).save(path)
    image, size, _ = load_image(ImageRef("x", str(path)))
    assert image.shape == (20, 30, 3)
    assert size == (30, 20)
    if mode != "1":
        assert np.abs(image.astype(int) - 204).max() <= 3


def test_sixteen_bits_become_eight(tmp_path):
    values = np.array([[0, 256, 65535, 32768]], np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    image, _, _ = load_image(ImageRef("x", str(tmp_path / "x.png")))
    assert image[0, :, 0].tolist() == [0, 1, 255, 128]


def test_bad_files_have_a_reason_without_their_path(tmp_path):
    whole = write_picture(tmp_path / "whole.jpg", 200, 300).read_bytes()
    cases = {
        "truncated.jpg": (whole[: len(whole) // 2], "truncated"),
        "text.jpg": (b"hello", "not an image"),
        "empty.jpg": (b"", "is empty"),
        "broken.png": (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, "."),
    }
    for name, (data, reason) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadImageError, match=reason) as error:
            load_image(ImageRef(name, str(tmp_path / name)))
        assert str(tmp_path) not in str(error.value)
        assert str(error.value)
    with pytest.raises(BadImageError, match="No such file"):
        load_image(ImageRef("x", str(tmp_path / "absent.jpg")))

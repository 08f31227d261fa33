"""A folder of everything that can be wrong with image files: the job ends, and each bad one is named."""

import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

import delg
from extraction import images
from extraction.config import ExtractionConfig
from extraction.describing import describe
from extraction.extractors.base import select_heads
from extraction.extractors.delg import DelgExtractor
from extraction.extractors.histogram import Histogram
from extraction.extractors.rootsift import RootSift
from extraction.images import ImageRef, list_images
from extraction.store.reader import FeatureStore
from tests.extraction.pictures import picture, write_picture
from tests.processes import run
from tests.tiny import BACKBONE


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be of this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def hostile_folder(place):
    """Good files, and bad ones with a part of the reason."""
    whole = write_picture(place / "good.jpg", 120, 160).read_bytes()
    small = [picture(40, 50, seed=i) for i in range(3)]
    (place / "sub" / "with spaces").mkdir(parents=True)
    good = {"good", "one", "long", "cmyk", "sixteen", "animated", "sub/with spaces/a b", "two\nlines", "bytes\\xff"}
    Image.fromarray(picture(1, 1)).save(place / "one.png")
    Image.fromarray(picture(5000, 3)).save(place / "long.png")
    Image.fromarray(small[0]).convert("CMYK").save(place / "cmyk.jpg")
    Image.fromarray(small[0][..., 0].astype(np.uint16) * 257).save(place / "sixteen.png")
    frames = [Image.fromarray(one) for one in small]
    frames[0].save(place / "animated.gif", save_all=True, append_images=frames[1:])
    for name in ("sub/with spaces/a b.jpg", "two\nlines.jpg"):
        (place / name).write_bytes(whole)
    (place / os.fsdecode(b"bytes\xff.jpg")).write_bytes(whole)
    bad = {
        "truncated.jpg": (whole[: len(whole) // 2], "truncated"),
        "empty.png": (b"", "the file is empty"),
        "text.jpeg": (b"hello", "not an image that Pillow can decode"),
        "phone.heic": (b"\0\0\0\x18ftypheic" + b"\0" * 40, "no decoder for heic"),
        "bomb.png": (bomb(60_000, 50_000), "(3000000000 pixels) exceeds"),
        "large.png": (bomb(25_000, 20_000), "25000 x 20000 pixels, more than 400 million"),
        "cut.png": (bomb(300, 200), "truncated"),
    }
    for name, (data, _) in bad.items():
        (place / name).write_bytes(data)
    (place / "loop.jpg").symlink_to("loop.jpg")
    (place / "sub" / "up").symlink_to("..")
    (place / "lost.jpg").symlink_to("absent.jpg")
    os.mkfifo(place / "pipe.jpg")
    reasons = {name.split(".")[0]: reason for name, (_, reason) in bad.items()}
    return good, reasons | {"loop": "symbolic links", "lost": "No such file", "pipe": "not a file"}


def test_good_ones_are_done_and_each_bad_one_is_named(tmp_path):
    good, reasons = hostile_folder(tmp_path / "photos")
    done = run("extract", "--images_dir=photos", "--model=rootsift", "--output_dir=features", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    store = FeatureStore.open(tmp_path / "features")
    assert set(store.names) == good
    skipped = {entry["name"]: entry["reason"] for entry in store.skipped}
    assert set(skipped) == set(reasons)
    for name, reason in reasons.items():
        assert reason in skipped[name], (name, skipped[name])
        assert f"{name} ({skipped[name]})" in done.stdout


def test_a_large_image_is_shrunk_as_it_is_decoded_and_gives_the_same_features(tmp_path, monkeypatch):
    sizes = {"embedding_dim": 16, "local_dim": 8, "attention_channels": 8}
    model = delg.create("delg_small", backbone=BACKBONE, **sizes)
    network = DelgExtractor(model, ExtractionConfig((0.7, 1.0), (1,), max_image_size=100))
    path = str(write_picture(tmp_path / "x.png", 300, 400))
    colours = Histogram(max_image_size=100)
    extractors = network, RootSift(max_image_size=100), select_heads(network, ("global",)), colours
    cases = [(one, crop) for one in extractors for crop in (None, (30, 20, 270, 290))]
    for one, crop in cases:
        ref = ImageRef("x", path, crop)
        expected = describe(one, ref)
        with monkeypatch.context() as patch:
            patch.setattr(images, "LARGE", 1000)
            found = describe(one, ref)
        assert found.image_size == expected.image_size == (400, 300)
        if one is colours:  # of the shrunk image's pixels
            assert 0.9 < found.global_descriptor @ expected.global_descriptor < 0.9999
        else:
            np.testing.assert_array_equal(found.global_descriptor, expected.global_descriptor)
        np.testing.assert_array_equal(found.keypoints, expected.keypoints)
        np.testing.assert_array_equal(found.descriptors, expected.descriptors)


@pytest.mark.slow
def test_memory_of_a_150_megapixel_image_is_that_of_its_decoding(tmp_path):
    """In a process of its own: the highest mark of the resident memory over what it was before."""
    Image.new("RGB", (15_000, 10_000), (10, 120, 230)).save(tmp_path / "large.jpg")
    lines = [
        "from scripts.bench.measure import added_memory",
        "from extraction.images import ImageRef, load_shrunk",
        f"ref = ImageRef('x', {str(tmp_path / 'large.jpg')!r})",
        "print(added_memory(lambda: load_shrunk(ref, shrink=lambda size, factor: (1024, 683))))",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.1 * 4 * 150e6


def test_listing_ends_where_links_lead_in_circles(tmp_path):
    hostile_folder(tmp_path)
    assert len({ref.name for ref in list_images(tmp_path)}) == len(list_images(tmp_path)) == 19

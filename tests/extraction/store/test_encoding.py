import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.extractors.composed import Pair
from extraction.extractors.histogram import Histogram
from extraction.extractors.rootsift import RootSift
from extraction.features import Features
from extraction.formats.table import convert
from extraction.images import ImageRef, load_image
from extraction.pipeline import extract
from extraction.store.encoding import Binary, Full, as_stored, packed, quantised
from extraction.store.reader import FeatureStore
from tests.extraction.pictures import Counting, features, write_picture
from tests.extraction.store.test_store import build


def big(n, side=8191.0, seed=0):
    """An image of 128 dimensions and the seven scales of DELG."""
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(n, 128)).astype(np.float32)
    return Features(
        "big",
        (int(side), 100),
        keypoints=(rng.random((n, 2)) * side - 3).astype(np.float32),
        descriptors=descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
        scores=np.sort(rng.gamma(2, 30, n).astype(np.float32))[::-1],
        scales=(2.0 ** (rng.integers(-4, 4, n) / 2)).astype(np.float32),
    )


def back(form, image):
    return form.decode(form.encode([image]), slice(0, len(image)), 0)


def test_bits_by_hand():
    """Entry 0 is the highest bit of byte 0; 0 is not above 0; the last bits are filled with 0."""
    row = np.array([[0.5, -1, 0, -0.1, 0.1, -1, -1, 2, 1, -1]], np.float32)
    assert packed(row).tolist() == [[0b10001001, 0b10000000]]
    assert packed(packed(row)).tolist() == packed(row).tolist()
    assert packed(np.zeros((0, 128), np.float32)).shape == (0, 16)


def test_uint8_by_hand():
    rows = np.array([[0.5, -1, 0, 0.25], [0, 0, 0, 0]], np.float32)
    assert quantised(rows).tolist() == [[192, 1, 128, 160], [128, 128, 128, 128]]


@pytest.mark.parametrize(("dtype", "error", "size"), [("float32", 0, 4), ("float16", 3e-4, 2), ("uint8", 6e-3, 1)])
def test_floats_there_and_back(dtype, error, size):
    image = big(200)
    arrays, found = Full(dtype).encode([image]), back(Full(dtype), image)
    assert arrays["descriptors"].nbytes == 200 * 128 * size
    for key in ("keypoints", "scores", "scales"):
        np.testing.assert_array_equal(found[key], getattr(image, key))
    off = np.linalg.norm(found["descriptors"] - image.descriptors, axis=1).max()
    assert off <= 2 * error
    assert off > error / 10 or not error
    np.testing.assert_allclose(np.linalg.norm(found["descriptors"], axis=1), 1, atol=1e-5)


def test_binary_there_and_back():
    image = big(1000)
    found = Features("big", image.image_size, **back(Binary(), image))
    np.testing.assert_array_equal(found.descriptors, packed(image.descriptors))
    assert np.abs(found.keypoints - image.keypoints).max() <= 1 / 16 + 1e-3
    assert np.abs(back(Binary(), big(1000, 1024))["keypoints"] - big(1000, 1024).keypoints).max() <= 1 / 120
    np.testing.assert_allclose(found.scales, image.scales, rtol=0.006)
    np.testing.assert_allclose(found.scores[40:-40], image.scores[40:-40], rtol=0.1)
    assert found.scores[0] == image.scores[0]
    assert found.scores[-1] == image.scores[-1]
    assert {key: value.dtype for key, value in back(Binary(), image).items()} == {
        "keypoints": np.float32,
        "descriptors": np.uint8,
        "scores": np.float32,
        "scales": np.float32,
    }


@pytest.mark.parametrize("n", [0, 1, 2, 33])
def test_few_binary_features(n):
    image = big(n, 500, seed=n)
    found = back(Binary(), image)
    np.testing.assert_array_equal(found["scores"], image.scores)
    np.testing.assert_allclose(found["keypoints"], image.keypoints, atol=1 / 120)
    np.testing.assert_allclose(found["scales"], image.scales, rtol=0.006)
    assert found["descriptors"].shape == (n, 16)


def test_a_binary_record_is_small():
    arrays = Binary().encode([big(1000)])
    assert arrays["descriptors"].nbytes * 32 == big(1000).descriptors.nbytes
    assert sum(array.nbytes for array in arrays.values()) == 21 * 1000 + 152 <= 22_000


def test_a_binary_store(tmp_path):
    counts = [5, 0, 3, 40, 0, 7, 2]
    store = build(tmp_path / "s", counts, local_dtype="binary")
    assert store.local_dtype == "binary"
    assert store.bytes_per_image()["local"] == pytest.approx((57 * (1 + 4 + 1) + 7 * 152) / 7)
    for i, n in enumerate(counts):
        expected, got = features(f"im{i}", n, i), store.features(i)
        assert got.binary
        assert got.image_size == expected.image_size
        np.testing.assert_array_equal(got.descriptors, packed(expected.descriptors).reshape(got.descriptors.shape))
        np.testing.assert_allclose(got.keypoints, expected.keypoints, atol=1e-3)
        np.testing.assert_array_equal(got.global_descriptor, expected.global_descriptor)
    assert build(tmp_path / "none", [0, 0], local_dtype="binary").bytes_per_image()["local"] == 0
    (tmp_path / "s" / "shard-00000" / "frames.npy").unlink()
    with pytest.raises(InputError, match="damaged"):
        FeatureStore.open(tmp_path / "s").features(0)


def test_a_uint8_store_is_read_as_floats(tmp_path):
    store = build(tmp_path / "s", [50], local_dtype="uint8")
    got, expected = store.features(0), features("im0", 50, 0)
    assert not got.binary
    np.testing.assert_allclose(got.descriptors, expected.descriptors, atol=0.01)
    assert store.bytes_per_image()["local"] == 50 * (4 + 16)


def test_binary_and_float_stores_are_not_compared(tmp_path):
    dtypes = ("binary", "float32", "uint8")
    binary, floats, small = (build(tmp_path / dtype, [4], local_dtype=dtype) for dtype in dtypes)
    floats.check_compatible(small)
    binary.check_compatible(binary)
    with pytest.raises(InputError, match="are float32 and binary; extract both with the same --local_dtype"):
        floats.check_compatible(binary)
    with pytest.raises(InputError, match="are binary and uint8"):
        binary.check_compatible(small)
    binary.check_compatible(build(tmp_path / "none", [0], local_dtype="float32"))


def test_a_query_takes_the_form_of_the_store():
    image = big(5)
    for dtype in ("float32", "float16", "uint8"):
        assert as_stored(image, dtype) is image
    np.testing.assert_array_equal(as_stored(image, "binary").descriptors, packed(image.descriptors))
    assert as_stored(as_stored(image, "binary"), "binary").descriptors.shape == (5, 16)


def test_a_conversion_keeps_the_dtype_and_makes_no_values_of_signs(tmp_path):
    for dtype in ("uint8", "binary"):
        store = build(tmp_path / dtype, [5, 3], local_dtype=dtype)
        assert convert(store.folder, tmp_path / f"again_{dtype}", "store") == 2
        again = FeatureStore.open(tmp_path / f"again_{dtype}")
        assert again.local_dtype == dtype
        np.testing.assert_array_equal(again.features(0).descriptors, store.features(0).descriptors)
    with pytest.raises(InputError, match="signs of local descriptors alone; float32 needs their values"):
        convert(tmp_path / "binary", tmp_path / "floats", "store", local_dtype="float32")
    assert not (tmp_path / "floats").exists()


def test_root_sift_is_kept_in_bytes_unless_the_user_says_otherwise(tmp_path):
    images = [ImageRef("a", str(write_picture(tmp_path / "a.png", 200, 300)))]
    own = {"rootsift": RootSift(), "histogram": Histogram(), "pair": Pair(Counting(exif="apply"), RootSift())}
    stores = {name: extract(one, images, tmp_path / name, progress=False) for name, one in own.items()}
    assert {name: store.local_dtype for name, store in stores.items()} == dict.fromkeys(own, "uint8")
    assert extract(Counting(), images, tmp_path / "c", progress=False).local_dtype == "float32"
    expected, got = RootSift()(load_image(images[0])[0], "a"), stores["rootsift"].features(0)
    assert stores["rootsift"].bytes_per_image()["local"] == 144 * len(expected) > 0
    assert got.descriptors.dtype == np.float32
    assert (got.descriptors * expected.descriptors).sum(axis=1).min() > 0.9999
    np.testing.assert_array_equal(got.keypoints, expected.keypoints)
    floats = extract(RootSift(), images, tmp_path / "floats", local_dtype="float32", progress=False)
    np.testing.assert_array_equal(floats.features(0).descriptors, expected.descriptors)
    with pytest.raises(InputError, match=r"local_dtype \('float32' and 'uint8'\)"):
        extract(RootSift(), images, tmp_path / "floats", progress=False)


def test_descriptors_without_signs_are_refused(tmp_path):
    path = write_picture(tmp_path / "a.jpg")
    images = [ImageRef("a", str(path))]
    with pytest.raises(InputError, match="those of rootsift are never negative"):
        extract(RootSift(), images, tmp_path / "s", local_dtype="binary", progress=False)
    assert not (tmp_path / "s").exists()
    store = extract(Counting(), images, tmp_path / "c", local_dtype="binary", progress=False)
    assert store.features(0).descriptors.tolist() == [[0b11000000]]

"""Files of arrays: their bytes, worked out by hand, and what a damaged one is answered with."""

import numpy as np
import pytest

from delg.common.errors import InputError
from protos import arrays
from protos.datum_pb2 import DatumProto, FloatList

# shape {dim: 2}, float_list {value: 1.0, -2.0}: field 1 and field 2 of the datum, each a message with a packed list
TWO_FLOATS = bytes.fromhex("0a03 0a01 02 120a 0a08 0000803f 000000c0")
# shape {dim: 1 dim: 2}, uint32_list {value: 5, 300}; 300 is the varint ac 02
TWO_INTEGERS = bytes.fromhex("0a04 0a02 0102 1a05 0a03 05ac02")
NO_VALUES = bytes.fromhex("0a03 0a01 00 1200")


@pytest.mark.parametrize(
    ("array", "data"),
    [
        (np.array([1, -2], np.float32), TWO_FLOATS),
        (np.array([1, -2], np.float64), TWO_FLOATS),
        (np.array([1, -2], np.float16), TWO_FLOATS),
        (np.array([[5, 300]], np.uint16), TWO_INTEGERS),
        (np.array([[5, 300]], np.uint64), TWO_INTEGERS),
        (np.zeros(0, np.float32), NO_VALUES),
        (np.zeros(0, np.uint8), NO_VALUES),
    ],
)
def test_bytes(tmp_path, array, data):
    arrays.write_datum(tmp_path / "a", array)
    assert (tmp_path / "a").read_bytes() == data
    read = arrays.read_datum(tmp_path / "a")
    np.testing.assert_array_equal(read, array)
    assert read.shape == array.shape and read.dtype == (np.uint32 if array.size and array.dtype.kind == "u" else "f4")
    read += 1  # a copy of its own


@pytest.mark.parametrize("size", [1, 31, 32, 4095, 4096, 524287, 524288])
def test_floats_of_every_length_of_the_header(size):
    values = np.random.default_rng(size).normal(size=size).astype(np.float32)
    datum = DatumProto.FromString(arrays.to_datum(values).SerializeToString())
    np.testing.assert_array_equal(arrays.from_datum(datum), values)


def test_fields_that_are_not_known_do_no_harm():
    datum = DatumProto.FromString(TWO_FLOATS)
    datum.float_list.CopyFrom(FloatList.FromString(datum.float_list.SerializeToString() + bytes.fromhex("1005")))
    assert arrays.from_datum(datum).tolist() == [1.0, -2.0]


def test_lists_that_are_not_packed_are_read(tmp_path):
    (tmp_path / "a").write_bytes(bytes.fromhex("0a02 0802 120a 0d 0000803f 0d 000000c0"))
    assert arrays.read_global(tmp_path / "a").tolist() == [1.0, -2.0]


@pytest.mark.parametrize("array", [np.array([1, 2]), np.array([True]), np.array([2**32], np.uint64), np.array(["a"])])
def test_other_dtypes_are_refused(tmp_path, array):
    with pytest.raises(InputError, match=r"float16, float32, float64, or unsigned"):
        arrays.write_datum(tmp_path / "a", array)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (TWO_FLOATS[:-1], "do not parse"),
        (b"hello, this is text", "do not parse"),
        (b"", "no list of values"),
        (TWO_FLOATS[:5], "no list of values"),
        (bytes.fromhex("0a03 0a01 03") + TWO_FLOATS[5:], r"shape \(3,\) does not fit its 2 values"),
        (TWO_FLOATS[5:], r"shape \(\) does not fit its 2 values"),
        (bytes.fromhex("0a0c 0a0a ffffffffffffffffff01 120a 0a08 0000803f 000000c0"), r"shape \(-1,\)"),
        (TWO_INTEGERS, r"expected float32 \(D,\), received uint32 \(1, 2\)"),
        (bytes.fromhex("0a04 0a02 0102") + TWO_FLOATS[5:], r"received float32 \(1, 2\)"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, data, why):
    path = tmp_path / "image.delg_global"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"image\.delg_global is damaged.*{why}"):
        arrays.read_global(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.delg_global cannot be read: No such file"):
        arrays.read_global(tmp_path / "none.delg_global")


def test_global_descriptors(tmp_path):
    arrays.write_global(tmp_path / "a", [1.0, -2.0])
    assert (tmp_path / "a").read_bytes() == TWO_FLOATS
    arrays.write_global(tmp_path / "b", [])
    assert arrays.read_global(tmp_path / "b").shape == (0,)
    with pytest.raises(InputError, match=r"of shape \(D,\)"):
        arrays.write_global(tmp_path / "c", np.zeros((1, 2)))


def test_pairs(tmp_path):
    first, second = np.array([[1.5, 2.0]], np.float32), np.array([7, 2**32 - 1], np.uint32)
    arrays.write_pair(tmp_path / "p", first, second)
    read = arrays.read_pair(tmp_path / "p")
    np.testing.assert_array_equal(read[0], first)
    np.testing.assert_array_equal(read[1], second)
    (tmp_path / "p").write_bytes(b"")
    with pytest.raises(InputError, match=r"p is damaged or holds no pair of arrays"):
        arrays.read_pair(tmp_path / "p")

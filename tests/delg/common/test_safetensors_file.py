"""What is written as safetensors is read bit for bit, here and by the format's own reader."""

from importlib.util import find_spec

import ml_dtypes
import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.safetensors_file import read_safetensors, write_safetensors

RANDOM = np.random.default_rng(3)
ARRAYS = {
    "kernel": RANDOM.normal(size=(3, 2, 5)).astype("f4"),
    "turned": RANDOM.normal(size=(4, 6)).astype("f4").T,
    "other end first": RANDOM.normal(size=7).astype(">f4"),
    "scalar": np.array(-0.0),
    "half": RANDOM.normal(size=9).astype("f2"),
    "short": RANDOM.normal(size=(2, 3)).astype(ml_dtypes.bfloat16),
    "none": np.zeros((0, 4), "f4"),
    "flags": np.array([True, False]),
    "steps, größer": np.array([2**62, -1]),
    "special": np.array([np.nan, np.inf, -np.inf, 1e-45], "f4"),
}


def test_every_type_is_read_bit_for_bit(tmp_path):
    stored = read_safetensors(write_safetensors(tmp_path / "x.safetensors", ARRAYS))
    assert list(stored) == list(ARRAYS)
    for name, array in ARRAYS.items():
        values = stored[name].read()
        expected = array.astype("f4") if name == "short" else array.astype(array.dtype.newbyteorder("<"))
        assert values.dtype == expected.dtype and values.shape == array.shape
        assert values.tobytes() == expected.tobytes(), name


@pytest.mark.skipif(not find_spec("safetensors"), reason="the format's own reader is not installed")
def test_the_formats_own_reader_reads_it(tmp_path):
    from safetensors.numpy import load_file, save_file

    write_safetensors(tmp_path / "x.safetensors", ARRAYS)
    loaded = load_file(tmp_path / "x.safetensors")
    assert set(loaded) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes(), name
    save_file(loaded, tmp_path / "theirs.safetensors")
    assert {name: stored.read().tobytes() for name, stored in read_safetensors(tmp_path / "x.safetensors").items()} == {
        name: stored.read().tobytes() for name, stored in read_safetensors(tmp_path / "theirs.safetensors").items()
    }


def test_a_type_that_the_format_lacks_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="text"):
        write_safetensors(tmp_path / "x.safetensors", {"text": np.array(["a"])})

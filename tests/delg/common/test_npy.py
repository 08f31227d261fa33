import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from delg.common import npy
from delg.common.npy import map_array


def test_arrays_are_mapped(tmp_path):
    expected = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "a.npy", expected)
    array = map_array(tmp_path / "a.npy")
    assert isinstance(array, np.memmap) and not array.flags.writeable
    np.testing.assert_array_equal(array, expected)


def test_what_is_damaged_or_something_else_is_named(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    data = (tmp_path / "a.npy").read_bytes()
    np.savez(tmp_path / "z.npy.npz", a=np.zeros(3))
    archive = (tmp_path / "z.npy.npz").read_bytes()
    np.save(tmp_path / "o.npy", np.array([None]), allow_pickle=True)
    objects = (tmp_path / "o.npy").read_bytes()
    for bad in (b"", data[:20], data[:-1], b"x" + data[1:], data.replace(b"{", b"\xd1"), archive, objects):
        (tmp_path / "bad.npy").write_bytes(bad)
        with pytest.raises(ValueError, match=r"^bad\.npy") as caught:
            map_array(tmp_path / "bad.npy")
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        map_array(tmp_path / "none.npy")


def test_headers_are_parsed_one_at_a_time(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros(3))
    real, inside, most = np.load, [], []

    def load(*given, **more):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()
        return real(*given, **more)

    monkeypatch.setattr(npy.np, "load", load)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(map_array, [tmp_path / "a.npy"] * 12))
    assert most == [1] * 12

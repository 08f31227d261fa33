import hashlib
import os
from pathlib import Path

import pytest

from delg.common import files
from delg.common.errors import InputError
from delg.common.files import atomic_path, check_writable, read_json, remove_leftovers, sha256, write_json, write_text


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path: Path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_directory_replaces_a_directory(tmp_path: Path):
    for content in ("one", "two"):
        with atomic_path(tmp_path / "d") as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_json_round_trip_and_broken_file(tmp_path: Path):
    write_json(tmp_path / "x/y.json", {"a": 0.1 + 0.2, "ü": [1]})
    assert read_json(tmp_path / "x/y.json") == {"a": 0.1 + 0.2, "ü": [1]}
    (tmp_path / "broken.json").write_text("{")
    for name in ("broken.json", "absent.json"):
        with pytest.raises(InputError, match=name):
            read_json(tmp_path / name)


def test_sha256(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("fill", ["n", "ü", "写"])
@pytest.mark.parametrize("length", [1, 48, 49, 50, 51, 63, 64, 65, 143, 230, 241, 242, 255])
def test_every_name_that_a_file_can_have_can_be_written(tmp_path: Path, fill: str, length: int):
    suffix = ".delg_global" if length > 20 else ""
    room = length - len(suffix)
    characters = max(room // len(fill.encode()), 1)
    name = fill * characters + "n" * (room - characters * len(fill.encode())) + suffix
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("whole")
        assert len(os.fsencode(temporary.name)) <= max(len(name.encode()), 64)
        assert temporary.name.endswith(suffix) and temporary.name.startswith(".")
        temporary.name.encode()  # no part of a character is left
    assert [p.name for p in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "whole"
    for _ in range(2):  # a directory, and one that it replaces
        with atomic_path(tmp_path / "d" / name) as temporary:
            temporary.mkdir()
    assert [p.name for p in (tmp_path / "d").iterdir()] == [name]
    stray = atomic_path(tmp_path / name).__enter__()
    stray.touch()
    remove_leftovers(tmp_path, f"*{suffix}")
    assert not stray.exists() and (tmp_path / name).is_file()


def test_check_writable_makes_the_folder_or_says_why(tmp_path: Path):
    assert check_writable(tmp_path / "a/b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        check_writable(tmp_path / "file/inside")


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path: Path):
    killed = [atomic_path(tmp_path / name) for name in ("shard-00000", "shard-00001", "other")]
    strays = [context.__enter__() for context in killed]
    strays[0].mkdir()
    (strays[0] / "x").touch()
    strays[1].touch()
    strays[2].touch()
    (tmp_path / "shard-00002").touch()
    (tmp_path / ".hidden.shard-00003").touch()
    remove_leftovers(tmp_path, "shard-*")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([".hidden.shard-00003", "shard-00002", strays[2].name])
    remove_leftovers(tmp_path / "absent", "*")


def test_a_sampled_digest_tells_files_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK", 10)
    monkeypatch.setattr(files, "BLOCKS", 4)

    def digest(data):
        (tmp_path / "file").write_bytes(data)
        return files.sampled_sha256(tmp_path / "file")

    for size in (0, 1, 9, 10, 39, 40):
        data = bytes(size)
        assert digest(data) != digest(data + b"\0")
        for place in range(size):
            assert digest(data) != digest(data[:place] + b"\1" + data[place + 1 :])
    large = bytes(1000)
    seen = [place for place in range(1000) if digest(large[:place] + b"\1" + large[place + 1 :]) != digest(large)]
    assert seen == [start + i for start in (0, 330, 660, 990) for i in range(10)]
    assert digest(large) != digest(large + b"\0")

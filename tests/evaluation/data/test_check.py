"""The check of a data folder: missing, extra and changed files, and the known ground truth."""

import subprocess
from pathlib import Path

import pytest

from delg.common.errors import InputError
from evaluation.benchmarks.table import build_benchmark
from evaluation.data import check
from tests import processes
from tests.evaluation.tiny import RED, paint, revisited_set

GND = Path(__file__).parents[4] / "shared" / "gnd"


def delg(*arguments, cwd):
    return processes.run("benchmark", *arguments, cwd=cwd)


@pytest.fixture
def folder(tmp_path):
    return revisited_set(tmp_path / "set")


def checked(folder, name="landmarks"):
    return check.check(build_benchmark(name, str(folder)), str(folder))


def test_a_whole_folder(folder):
    found = checked(folder)
    assert (found.images, found.missing, found.extra, found.changed, found.hashed) == (7, [], [], [], 0)
    sums = check.write_sums(build_benchmark("landmarks", str(folder)), str(folder))
    assert len(sums.read_text().splitlines()) == 8, "seven images and the ground truth"
    assert checked(folder).hashed == 8 and not checked(folder).changed
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, "the form is not that of sha256sum"


def test_missing_extra_and_changed_files_are_named(folder):
    check.write_sums(build_benchmark("landmarks", str(folder)), str(folder))
    (folder / "jpg" / "b.jpg").unlink()
    paint(folder / "jpg" / "new.jpg", RED)
    data = bytearray((folder / "jpg" / "c.jpg").read_bytes())
    data[-3] ^= 1
    (folder / "jpg" / "c.jpg").write_bytes(data)
    found, said = checked(folder), []
    assert [Path(path).name for path in found.missing] == ["b.jpg"]
    assert [Path(path).name for path in found.extra] == ["new.jpg"]
    assert [Path(path).name for path in found.changed] == ["c.jpg"]
    with pytest.raises(InputError, match=r"1 files are missing and 1 have changed; the first is .*b\.jpg"):
        check.report(build_benchmark("landmarks", str(folder)), str(folder), said.append)
    assert any(line.startswith("  extra: ") for line in said)


def test_extra_files_alone_are_no_fault(folder):
    paint(folder / "jpg" / "new.jpg", RED)
    check.report(build_benchmark("landmarks", str(folder)), str(folder), lambda line: None)


def test_another_ground_truth_of_a_known_name_is_told(tmp_path):
    found = checked(revisited_set(tmp_path, "roxford5k"), "roxford5k")
    assert [Path(path).name for path in found.changed] == ["gnd_roxford5k.pkl"]


@pytest.mark.skipif(not GND.is_dir(), reason="the real ground truth is not here")
@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_the_real_ground_truth_is_known(tmp_path, name):
    (tmp_path / f"gnd_{name}.pkl").symlink_to(GND / f"gnd_{name}.pkl")
    found = checked(tmp_path, name)
    assert found.changed == [] and found.hashed == 1 and len(found.missing) == found.images


def test_a_wrong_list_of_hashes_ends_in_a_sentence(folder):
    (folder / "SHA256SUMS").write_text("abc  jpg/a.jpg\n")
    with pytest.raises(InputError, match="SHA256SUMS, line 1: expected a SHA-256 and a path"):
        checked(folder)


def test_lists_that_are_not_utf_8_end_in_a_sentence(folder, tmp_path):
    (folder / "SHA256SUMS").write_bytes(f"{'0' * 64}  jpg/\xe9glise.jpg\n".encode("latin-1"))
    done = delg("--check", "--benchmark=landmarks", "--data_dir=set", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "set/SHA256SUMS, line 1, byte 71" in done.stderr and "iconv" in done.stderr
    (folder / check.LIST).write_bytes(b"0/\xe9.jpg\n")
    with pytest.raises(InputError, match=rf"{check.LIST}, line 1, byte 3"):
        check.report_distractors(str(folder))


def test_the_command_checks_and_writes_nothing_else(folder, tmp_path):
    arguments = ("--benchmark=landmarks", f"--data_dir={folder}")
    done = delg("--write_sums", "--check", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 missing, 0 changed of 8 hashed, 0 extra" in done.stdout
    (folder / "jpg" / "a.jpg").unlink()
    done = delg("--check", *arguments, cwd=tmp_path)
    assert done.returncode == 1 and "1 files are missing" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_set_with_distractors_is_that_without(tmp_path):
    revisited_set(tmp_path / "set", "roxford5k")
    done = delg("--write_sums", "--check", "--benchmark=roxford5k+r1m", "--data_dir=set", cwd=tmp_path)
    assert "roxford5k: 2 queries, 5 database images, 7 files; 0 missing" in done.stdout, done.stderr


def test_distractors_are_compared_with_their_list(tmp_path):
    revisited_set(tmp_path / "set", "roxford5k")
    check.write_sums(build_benchmark("roxford5k", str(tmp_path / "set")), str(tmp_path / "set"))
    arguments = ("--check", "--benchmark=roxford5k+r1m", "--data_dir=set", "--distractors_dir=r1m/jpg")
    (tmp_path / "r1m" / "jpg" / "0").mkdir(parents=True)
    done = delg(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and f"There is no {check.LIST} in r1m/jpg or beside it" in done.stderr
    names = [f"0/{letter}.jpg" for letter in "abc"]
    (tmp_path / "r1m" / check.LIST).write_text("\n".join(names) + "\n")
    for name in (*names, "0/other.jpg"):
        paint(tmp_path / "r1m" / "jpg" / name, RED)
    done = delg(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "distractors: 3 photos; 0 missing, 0 empty, 1 extra" in done.stdout
    (tmp_path / "r1m" / "jpg" / "0" / "a.jpg").unlink()
    (tmp_path / "r1m" / "jpg" / "0" / "b.jpg").write_bytes(b"")
    done = delg(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "distractors r1m/jpg is not whole: 1 files are missing and 1 have changed; the first is" in done.stderr
    assert "0/a.jpg" in done.stderr

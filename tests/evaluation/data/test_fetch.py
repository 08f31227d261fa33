"""delg-fetch against a local server that drops connections: whole files, right hashes, and what cannot be had."""

import hashlib
import io
import json
import subprocess
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.weights.catalogue import WEIGHTS
from evaluation.data.catalogue import CATALOGUE, File, read_catalogue
from evaluation.data.download import download
from evaluation.data.fetching import fetch, unpack
from tests import processes
from tests.evaluation.data.dropping_server import Server


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


DATA = np.random.default_rng(1).bytes(500_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


def bring(server, path, digest=DIGEST, urls=None):
    return download(urls or [f"{server.url}/{path.name}"], path, digest, pause=lambda seconds: None)


def test_a_file_arrives_whole_over_connections_that_drop(server, tmp_path):
    server.files["data.bin"] = DATA
    assert bring(server, tmp_path / "data.bin") == DIGEST
    assert (tmp_path / "data.bin").read_bytes() == DATA
    starts = [0 if wanted is None else int(wanted[6:-1]) for _, wanted in server.asked]
    assert len(starts) > 5 and starts == sorted(set(starts)), "bytes were asked for twice"
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_a_run_that_was_killed_continues(server, tmp_path):
    server.files["data.bin"] = DATA
    (tmp_path / ".data.bin.part").write_bytes(DATA[:123_456])
    (tmp_path / ".data.bin.part.json").write_text(json.dumps({"url": f"{server.url}/data.bin", "tag": '"1"'}))
    server.asked.clear()
    bring(server, tmp_path / "data.bin")
    assert server.asked[0] == ("data.bin", "bytes=123456-") and (tmp_path / "data.bin").read_bytes() == DATA


@pytest.mark.parametrize("careful", [True, False])
def test_a_file_that_changed_in_between_starts_again(server, tmp_path, careful):
    server.files["data.bin"], server.drops, server.careful = DATA, False, careful
    (tmp_path / ".data.bin.part").write_bytes(b"of another version")
    (tmp_path / ".data.bin.part.json").write_text(json.dumps({"url": f"{server.url}/data.bin", "tag": '"0"'}))
    bring(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA


def test_a_rest_without_a_tag_is_taken(server, tmp_path):
    server.files["data.bin"], server.dated = DATA, False
    bring(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == DATA
    assert [wanted for _, wanted in server.asked].count(None) == 1, "what was there was brought again"


def test_a_run_that_was_killed_while_it_hashed_asks_for_nothing_more(server, tmp_path):
    server.files["data.bin"] = DATA

    def killed(part):
        (tmp_path / ".data.bin.part").write_bytes(part)
        (tmp_path / ".data.bin.part.json").write_text(json.dumps({"url": f"{server.url}/data.bin", "tag": '"1"'}))
        server.asked.clear()

    for digest in (DIGEST, None):
        killed(DATA)
        assert bring(server, tmp_path / "data.bin", digest) == DIGEST
        assert server.asked == [("data.bin", f"bytes={len(DATA)}-")], "what was there was brought again"
    killed(DATA[:-1] + b"!")
    with pytest.raises(InputError, match=f"its SHA-256 is [0-9a-f]{{64}}, expected is {DIGEST}"):
        bring(server, tmp_path / "data.bin")
    killed(DATA + b"!")
    bring(server, tmp_path / "data.bin")
    assert len(server.asked) > 2 and (tmp_path / "data.bin").read_bytes() == DATA


def test_chunks_that_end_too_early_are_told_and_continued(server, tmp_path):
    server.files["data.bin"], server.framing = DATA, "chunked"
    assert bring(server, tmp_path / "data.bin", None) == DIGEST and len(server.asked) > 5
    server.ranges = False
    with pytest.raises(InputError, match=r"the connection ends too early\.$"):
        bring(server, tmp_path / "other", None, [f"{server.url}/data.bin"])


def test_a_file_whose_end_is_not_told_is_taken_by_its_hash_alone(server, tmp_path):
    server.files["data.bin"], server.framing = DATA, "close"
    with pytest.raises(InputError, match=r"does not say how long the file is, and no hash in SHA256SUMS tells"):
        fetch((File("data.bin", (f"{server.url}/data.bin",)),), str(tmp_path), say=lambda line: None)
    assert list(tmp_path.iterdir()) == [] and len(server.asked) == 1
    with pytest.raises(InputError, match="expected is"):
        bring(server, tmp_path / "data.bin")
    server.drops = False
    assert bring(server, tmp_path / "data.bin") == DIGEST
    sums = f"{hashlib.md5(DATA).hexdigest()}  mine.bin\n".encode()
    server.files |= {"data.md5": sums}
    mine = File("mine.bin", (f"{server.url}/data.bin",), md5_urls=(f"{server.url}/data.md5",))
    fetch((mine,), str(tmp_path), say=lambda line: None)
    assert (tmp_path / "mine.bin").read_bytes() == DATA


def test_a_server_that_cannot_resume_and_drops_is_given_up(server, tmp_path):
    server.files["data.bin"], server.ranges = DATA, False
    with pytest.raises(InputError, match=r"data\.bin cannot be had\. .*the connection ends too early"):
        bring(server, tmp_path / "data.bin")
    assert not (tmp_path / "data.bin").exists() and len(server.asked) < 300
    server.drops = False
    bring(server, tmp_path / "data.bin")


def test_a_wrong_hash_is_refused_and_a_mirror_helps(server, tmp_path):
    server.files |= {"bad/data.bin": DATA[:-1] + b"!", "data.bin": DATA}
    bad = f"{server.url}/bad/data.bin"
    with pytest.raises(InputError, match=f"its SHA-256 is [0-9a-f]{{64}}, expected is {DIGEST}"):
        bring(server, tmp_path / "data.bin", urls=[bad])
    assert list(tmp_path.iterdir()) == [], "a wrong file was kept"
    bring(server, tmp_path / "data.bin", urls=[f"{server.url}/none", bad, f"{server.url}/data.bin"])
    assert (tmp_path / "data.bin").read_bytes() == DATA


def test_what_no_server_has_ends_in_a_sentence(server, tmp_path):
    with pytest.raises(InputError, match="the server answers 404 Not Found"):
        bring(server, tmp_path / "data.bin")
    assert len(server.asked) == 1, "a 404 was asked for again"
    with pytest.raises(InputError, match="starts with http"):
        download(["file:///etc/passwd"], tmp_path / "x")
    for url, reason in (("http://[::1/x", "Invalid IPv6 URL"), ("http://host:abc/x", "nonnumeric port")):
        with pytest.raises(InputError, match=rf"no address \({reason}"):
            download([url], tmp_path / "x", pause=lambda seconds: pytest.fail("what is no address was asked again"))


def archive(mode="w:gz", **files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_the_command_brings_and_unpacks_and_then_needs_no_network(server, tmp_path):
    photos = archive(**{"paris__eiffel__a.jpg": b"A" * 9, "paris__b.JPG": b"B", "paris__readme.txt": b"no"})
    server.files |= {"gnd.pkl": DATA, "photos.tgz": photos}
    files = [
        {"name": "gnd.pkl", "urls": [f"{server.url}/gnd.pkl"], "sha256": DIGEST},
        {"name": "photos.tgz", "urls": [f"{server.url}/photos.tgz"], "unpack": "jpg"},
    ]
    (tmp_path / "own.json").write_text(json.dumps({"mine": files}))

    def run(*more):
        return processes.run("fetch", "mine", "--catalogue=own.json", "--output_dir=out", *more, cwd=tmp_path)

    done = run()
    assert done.returncode == 0, done.stderr
    assert "no hash is published" in done.stdout and "2 files unpacked" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out" / "jpg").iterdir()) == ["a.jpg", "b.JPG"]
    asked = len(server.asked)
    done = run("--offline")
    assert done.returncode == 0 and done.stdout.count("there already, its hash is right") == 2
    assert len(server.asked) == asked
    (tmp_path / "out" / "gnd.pkl").write_bytes(DATA[1:])
    done = run("--offline")
    assert done.returncode == 1 and "is not of its hash, and --offline asks no server" in done.stderr
    assert run().returncode == 0 and (tmp_path / "out" / "gnd.pkl").read_bytes() == DATA
    (tmp_path / "out" / "SHA256SUMS").unlink()
    assert "photos.tgz has no hash in SHA256SUMS (sha256sum writes such lines)" in run("--offline").stderr
    sums = ["sh", "-c", "sha256sum photos.tgz > SHA256SUMS"]
    assert subprocess.run(sums, cwd=tmp_path / "out", check=True).returncode == run("--offline").returncode == 0
    (tmp_path / "out" / "photos.tgz").unlink()
    assert "photos.tgz is not there, and --offline asks no server." in run("--offline").stderr


def test_the_mirror_is_asked_first(server, tmp_path):
    server.files["mirror/data.bin"] = DATA
    wanted = File("data.bin", (f"{server.url}/data.bin",), DIGEST)
    fetch((wanted,), str(tmp_path), mirror=f"{server.url}/mirror/", say=lambda line: None)
    assert {name for name, _ in server.asked} == {"mirror/data.bin"}


def test_an_archive_that_leads_out_of_the_folder_is_refused(server, tmp_path):
    server.files["x.tgz"], server.drops = archive(**{"..__evil": b"x"}), False
    with pytest.raises(InputError, match="cannot be unpacked"):
        fetch((File("x.tgz", (f"{server.url}/x.tgz",), unpack="tree"),), str(tmp_path / "out"), say=lambda line: None)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("rule", ["jpg", "tree"])
@pytest.mark.parametrize("form", ["", "gz", "bz2", "xz"])
def test_damage_inside_an_archive_ends_in_a_sentence(tmp_path, form, rule):
    random = np.random.default_rng(2)
    photos = {f"{i}.jpg": bytes(random.integers(0, 16, 9_000, np.uint8)) for i in range(9)}
    whole, path = archive(f"w:{form}", **photos), tmp_path / "x.tar"
    path.write_bytes(whole + (b"behind the end" if form else b""))
    unpack(path, tmp_path / "whole", rule, lambda line: None)
    assert len(list((tmp_path / "whole").rglob("*.jpg"))) == 9
    # in a plain tar only damage of the headers can be seen; a member takes 9,728 bytes
    places = range(len(whole) // 9, len(whole) - 20, len(whole) // 29) if form else range(9_728, 80_000, 9_728)
    flipped = [whole[:i] + bytes(byte ^ 0x55 for byte in whole[i : i + 3]) + whole[i + 3 :] for i in places]
    for i, damaged in enumerate([*flipped, whole[: len(whole) // 2]]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"x\.tar cannot be unpacked: [^\n]+; to bring it again, remove it"):
            unpack(path, tmp_path / str(i), rule, lambda line: None)
        assert not (tmp_path / str(i) / ".unpacked-x.tar").exists()


def test_what_is_no_archive_ends_in_a_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("a.jpg", b"A")
    with pytest.raises(InputError, match=r"x\.zip cannot be unpacked: file could not be opened successfully; to bring"):
        unpack(tmp_path / "x.zip", tmp_path / "out", "jpg", lambda line: None)
    with pytest.raises(InputError, match=r"cannot be unpacked: \[Errno 2\] No such file or directory: '\S+'\.$"):
        unpack(tmp_path / "none.tar", tmp_path / "out", "jpg", lambda line: None)


def test_the_catalogue_is_whole():
    for files in CATALOGUE.values():
        for file in files:
            assert file.urls and all(url.startswith(("http://", "https://")) for url in file.urls)
    assert CATALOGUE["roxford5k"][0].sha256


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"urls": ["http://x"]}, "'name'"),
        ({"name": "../x", "urls": ["http://x"]}, "without '..'"),
        ({"name": "x", "urls": []}, "list of urls"),
        ({"name": "x", "urls": ["http://x"], "sha256": "12"}, "64 hexadecimal"),
        ({"name": "x", "urls": ["http://x"], "unpack": "zip"}, "jpg or tree"),
    ],
)
def test_a_wrong_catalogue_ends_in_a_sentence(tmp_path, entry, message):
    (tmp_path / "own.json").write_text(json.dumps({"mine": [entry]}))
    with pytest.raises(InputError, match=message):
        read_catalogue(tmp_path / "own.json")


def test_weights_of_the_package_index_are_listed_and_offline_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("DELG_HOME", str(tmp_path / "home"))

    def fetched(*arguments: str) -> subprocess.CompletedProcess:
        return processes.run("fetch", *arguments, cwd=tmp_path)

    listed = fetched("--list").stdout
    for name, weights in WEIGHTS.items():
        assert f"\n{name}\n" in listed and weights.sha256 in listed and weights.purpose in listed
    assert "24.7 MB, Apache-2.0" in listed
    done = fetched("xfeat", "--offline")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "xfeat" in done.stderr
    done = fetched("xfeat", "--output_dir=files")
    assert done.returncode == 1 and "--output_dir" in done.stderr and not list(tmp_path.iterdir())

"""``delg.Client`` gives the answers that the collection of the service gives."""

import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from tests.collection.conftest import MODEL
from tests.collection.serve.running import TOKEN, running
from tests.collection.test_sync import answers, fresh
from tests.extraction.pictures import picture, write_picture


def test_a_client_answers_as_the_collection(shared, tmp_path):
    client, collection = delg.Client(shared.url), shared.collection
    file = write_picture(tmp_path / 'quer"y é.png', 120, 160, 3)
    assert client.paths == collection.paths
    assert len(client) == len(collection) == 8
    for query in (file, str(file), file.read_bytes(), picture(120, 160, 3), "album/6.png"):
        mine, theirs = client.search(query, k=5), collection.search(query, k=5)
        assert [repr(one) for one in mine] == [repr(one) for one in theirs]
        assert [one.path for one in mine if one.file.as_posix() == one.path] == [one.path for one in theirs]
        assert (mine.verdict, mine.probability, mine.photos) == (theirs.verdict, theirs.probability, theirs.photos)
        assert np.array_equal(mine[0].transform, theirs[0].transform)
    assert client.search(file, k=2).query == "quer%22y %C3%A9.png"
    crop = client.search(file, k=1, crop=(0, 0, 80.5, 120), rerank=None, verify=3)
    assert crop[0].similarity == pytest.approx(
        collection.search(file, crop=(0, 0, 80.5, 120), rerank=None)[0].similarity
    )
    assert [one[0].path for one in client.search_many(client.paths, k=1)] == client.paths
    mine, theirs = client.match(file, "3.png"), collection.match(file, "3.png")
    assert np.array_equal(mine.pairs, theirs.pairs) and mine.inliers > 20
    assert (mine.similarity, mine.verdict) == (theirs.similarity, theirs.verdict)
    assert client.overlay(file, "3.png")[:2] == client.photo("3.png", height=40)[:2] == b"\xff\xd8"


def test_a_client_changes_the_collection(service, photos, tmp_path):
    client = delg.Client(service.url)
    new = write_picture(tmp_path / "new.png", 120, 160, 30)
    assert client.add(new) == "new.png"
    assert client.add(picture(50, 50, 31), "album/a #1?.png") == "album/a #1?.png"
    assert client.search(new, k=1)[0].path == "new.png"
    client.remove("album/a #1?.png", delete=True)
    client.remove("new.png")
    assert (photos / "new.png").exists() and not (photos / "album/a #1?.png").exists()
    write_picture(photos / "later.png", 50, 60, 40)
    (photos / "bad.jpg").write_bytes(b"bad")
    changes = client.sync()
    assert (changes.added, list(changes.failed), str(changes)) == (["later.png"], ["bad.jpg"], "1 added, 1 failed")
    assert list(client.failed) == ["bad.jpg"]


def test_a_service_finds_photos_by_a_server_of_milvus(described, tmp_path, milvus_server):
    exact = answers(fresh(described, tmp_path / "exact"), described.glob("*.png"))
    with delg.Collection.open(described, MODEL, state=tmp_path / "state") as collection:
        collection.sync(index=f"{milvus_server}#served")
    server = importlib.import_module("pymilvus").MilvusClient(milvus_server)
    assert any(name.startswith("served") for name in server.list_collections())
    with running(delg.Collection.open(described, state=tmp_path / "state")) as service:
        client = delg.Client(service.url)
        assert answers(client, described.glob("*.png")) == exact


def test_refusals_are_input_errors(shared, guarded, tmp_path):
    client = delg.Client(shared.url)
    large = tmp_path / "large.png"
    large.write_bytes(bytes(20_000_000))
    for question in (
        lambda: client.search("absent.png"),
        lambda: client.search(b"no image"),
        lambda: client.search(large),
        lambda: client.search("3.png", k=0),
        lambda: client.match("3.png", "absent.png"),
        lambda: client.add(b"no image", "a.png"),
        lambda: client.add(b"no path"),
        lambda: client.remove("absent.png"),
        lambda: delg.Client(guarded.url).paths,
        lambda: delg.Client("ftp://127.0.0.1"),
        lambda: delg.Client("http://127.0.0.1:9").paths,
    ):
        with pytest.raises(InputError):
            question()
    assert len(delg.Client(guarded.url, TOKEN)) == 8


def test_a_script_of_changes_while_four_clients_search(service, photos, tmp_path):
    for seed in range(20, 40):
        write_picture(photos / f"{seed}.png", 60, 80, seed)
    client, stop = delg.Client(service.url), Event()
    client.sync()
    old = client.paths
    queries = [write_picture(tmp_path / f"query{seed}.png", 120, 160, seed) for seed in (0, 3, 50)]
    before, seen = answers(client, queries), []

    def searches(query):
        while not stop.is_set():
            seen.append((query, answers(client, [query])[0]))

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(searches, queries[place % 3]) for place in range(4)]
        for seed in range(50, 70):
            write_picture(photos / f"new{seed}.png", 60, 80, seed)
        for seed in range(20, 30):
            (photos / f"{seed}.png").unlink()
        for seed in range(30, 35):
            (photos / f"{seed}.png").rename(photos / f"renamed{seed}.png")
        for seed in range(35, 38):
            write_picture(photos / f"{seed}.png", 60, 80, 100 + seed)
        (photos / "broken.jpg").write_bytes(b"no image")
        (photos / "38.png").rename(photos / "album" / "38.png")
        (photos / "39.png").rename(photos / "39.PNG")
        changes = client.sync()
        after = answers(client, queries)
        stop.set()
        for one in running:
            one.result()

    assert str(changes) == "20 added, 10 removed, 7 renamed, 3 changed, 1 failed"
    assert changes.described == 23
    assert after == answers(fresh(photos, tmp_path / "anew"), queries) != before
    assert len(seen) >= 4 and {query for query, _ in seen} == set(queries)
    states = set(old), set(client.paths)
    for _, answer in seen:  # of the photos before or after, never of a mixture
        assert any({path for path, *_ in answer} <= paths for paths in states)


def test_the_client_imports_nothing_heavy():
    code = (
        "import sys, delg; delg.Client('http://a'); print({'tensorflow', 'cv2', 'fastapi', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

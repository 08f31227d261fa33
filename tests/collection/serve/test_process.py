"""The service as a process: its command, and ``kill -9`` at any moment."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import delg
from collection.serve.app import create_app
from collection.serve.server import listen, make_server
from delg.common.errors import InputError
from tests.collection.conftest import MODEL
from tests.collection.test_sync import answers, fresh
from tests.extraction.pictures import picture, write_picture
from tests.processes import FORKS, HANGS

KILLS = 20


def serve(folder, pipe):
    """The target of a process."""
    listener = listen("127.0.0.1", 0)
    pipe.send(listener.getsockname()[1])
    collection = delg.Collection.open(folder, MODEL)
    make_server(create_app(collection, sync_every=0.2)).run(sockets=[listener])


def load(client, rng, added, removed):
    """Searches, adds and removes until the service is gone; notes what the service has confirmed."""
    try:
        while True:
            seed = rng.randrange(1000, 10**9)
            client.search(picture(60, 80, seed), k=3)
            added.add(client.add(picture(60, 80, seed), f"{seed}.png"))
            if rng.random() < 0.3:
                path = rng.choice(sorted(added))
                removed.add(path)  # it may have been removed although no answer came
                client.remove(path, delete=True)
    except InputError:
        pass


def test_no_confirmed_change_is_lost_by_kills_at_random_moments(photos, tmp_path):
    rng = random.Random(os.environ.get("SEED", "0"))
    added, removed = set(), set()
    for _ in range(KILLS):
        receiver, sender = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=serve, args=(str(photos), sender))
        process.start()
        client = delg.Client(f"http://127.0.0.1:{receiver.recv()}")
        before = len(added)
        threads = [
            threading.Thread(target=load, args=(client, random.Random(rng.random()), added, removed)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        wanted, deadline = rng.randrange(3), time.monotonic() + HANGS
        while process.is_alive() and len(added) < before + wanted:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(rng.random() * 0.1)
        process.kill()
        process.join()
        for thread in threads:
            thread.join()
        with delg.Collection.open(photos) as collection:
            paths = set(collection.paths)
        assert added - removed <= paths
        assert all((photos / path).exists() for path in added - removed)
    collection = delg.Collection.open(photos)
    collection.sync()
    queries = [write_picture(tmp_path / f"query{seed}.png", 120, 160, seed) for seed in (1, 5)]
    assert answers(collection, queries) == answers(fresh(photos, tmp_path / "anew"), queries)
    assert len(added) >= KILLS / 2


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_stopped(photos, stop):
    command = [sys.executable, "-m", "delg", "serve", str(photos), "--port=0", "--sync_every=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        client = delg.Client(process.stdout.readline().strip())
        assert client.search("3.png", k=1)[0].path == "3.png"
    finally:
        process.send_signal(stop)
    out, errors = process.communicate(timeout=HANGS)
    assert (process.returncode, out, errors) == (0 if stop == signal.SIGINT else -stop, "", "")


@pytest.mark.parametrize(
    "arguments, word",
    [
        ([], "FOLDER"),
        (["absent"], "absent"),
        (["photos", "--host=0.0.0.0"], "token"),
        (["photos", "--host=300.0.0.1", "--token=long-enough-a-token"], "300.0.0.1"),
    ],
)
def test_the_command_refuses_in_one_sentence(photos, arguments, word):
    from tests.processes import run

    done = run("serve", *arguments, cwd=photos.parent, DELG_TOKEN="")
    assert done.returncode == 1
    assert word in done.stderr and "Traceback" not in done.stderr

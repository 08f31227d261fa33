"""``kill -9`` at any moment: the collection opens, and what was finished is not done again."""

import os
import random
import sqlite3
import time
from contextlib import closing

import numpy as np

from collection.collection import Collection
from collection.state import FILE
from tests.collection.conftest import MODEL
from tests.collection.test_sync import answers, fresh
from tests.extraction.pictures import write_picture
from tests.processes import FORKS, HANGS

KILLS = 20


def synchronise(folder: str) -> None:
    Collection.open(folder, MODEL).sync()


def finished(folder) -> int:
    """Number of descriptions on disk."""
    if not (folder / ".delg" / FILE).is_file():
        return 0
    with closing(sqlite3.connect(f"file:{folder / '.delg' / FILE}?mode=ro", uri=True, timeout=60)) as connection:
        try:
            return int(connection.execute("SELECT COUNT(*) FROM descriptions").fetchone()[0])
        except sqlite3.OperationalError:  # no table yet
            return 0


def test_no_finished_description_is_lost_by_kills_at_random_moments(photos, tmp_path):
    rng = random.Random(os.environ.get("SEED", "0"))
    for seed in range(20, 320):
        write_picture(photos / f"{seed}.png", 48, 64, seed)
    done = 0
    for _ in range(KILLS):
        process = FORKS.Process(target=synchronise, args=(str(photos),))
        process.start()
        wanted, deadline = done + rng.randrange(3), time.monotonic() + HANGS
        while process.is_alive() and finished(photos) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(rng.random() * 0.1)
        process.kill()
        process.join()
        now = finished(photos)
        assert now >= done
        done = now
        if done and rng.random() < 0.3:  # a change between two runs
            (photos / f"{rng.randrange(20, 320)}.png").unlink(missing_ok=True)
    collection = Collection.open(photos)
    changes = collection.sync()
    assert changes.described <= 308 - done
    queries = [write_picture(tmp_path / f"query{seed}.png", 120, 160, seed) for seed in (1, 5)]
    assert answers(collection, queries) == answers(fresh(photos, tmp_path / "anew"), queries)
    assert np.isfinite([one.similarity for one in collection.search(queries[0], k=300)]).all()

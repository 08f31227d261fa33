"""Runs that are killed with -9 at random accesses to files, in processes of their own, until one gets to the end."""

import itertools
import os
import random
import signal
import sys

from extraction.images import list_images
from extraction.pipeline import extract
from tests.extraction.pictures import Counting, tree, write_picture
from tests.processes import FORKS, HANGS

KILLS = 20


def work(folder, append, accesses):
    """Extracts the first half or all; ends as by ``kill -9`` before the file access of that number; None for never."""
    count = itertools.count(1)

    def killed(event, given):
        if event.startswith(("open", "os.", "shutil.")) and next(count) == accesses:
            os.kill(os.getpid(), signal.SIGKILL)

    if accesses is not None:
        sys.addaudithook(killed)
    images = list_images(folder / "photos")
    extract(Counting(), images[:150] if not append else images, folder / "store", progress=False, append=append)


def test_killed_twenty_times_gives_the_same_bytes(tmp_path):
    for i in range(300):
        write_picture(tmp_path / "photos" / f"{i:03d}.png", 8, 8, seed=i)
    (tmp_path / "photos" / "149.png").write_text("no image")
    rng, codes = random.Random(6), []
    for append in (False, True):
        for _ in range(KILLS // 2):
            child = FORKS.Process(target=work, args=(tmp_path, append, rng.randrange(1, 160)))
            child.start()
            child.join(HANGS)
            codes.append(child.exitcode)
        work(tmp_path, append, None)
    images = list_images(tmp_path / "photos")
    extract(Counting(), images[:150], tmp_path / "whole", progress=False)
    store = extract(Counting(), images, tmp_path / "whole", progress=False, append=True)
    assert set(codes) <= {0, -signal.SIGKILL} and codes.count(-signal.SIGKILL) >= KILLS // 2, codes
    assert len(store) == 299
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")

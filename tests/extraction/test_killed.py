"""Runs that are killed with -9 at random moments, in processes of their own, until one gets to the end."""

import multiprocessing
import random
import time

from extraction.images import list_images
from extraction.pipeline import extract
from tests.extraction.pictures import Counting, tree, write_picture

KILLS = 20


class Slow(Counting):
    """A shard of 64 images takes half a second, so that most kills come in the middle of one, and some do not."""

    pause = 0.015

    def __call__(self, image, name, resize_factor=1.0):
        time.sleep(self.pause)
        return super().__call__(image, name, resize_factor)


def work(folder, append):
    images = list_images(folder / "photos")
    extract(Slow(), images[:150] if not append else images, folder / "store", progress=False, append=append)


def test_killed_twenty_times_gives_the_same_bytes(tmp_path, monkeypatch):
    for i in range(300):
        write_picture(tmp_path / "photos" / f"{i:03d}.png", 8, 8, seed=i)
    (tmp_path / "photos" / "149.png").write_text("no image")
    rng, context, killed = random.Random(6), multiprocessing.get_context("forkserver"), 0
    context.set_forkserver_preload([__name__])  # forks of a process without threads
    for append in (False, True):
        for _ in range(KILLS // 2):
            child = context.Process(target=work, args=(tmp_path, append))
            child.start()
            child.join(rng.uniform(0.02, 0.6))
            killed += child.is_alive()
            child.kill()
            child.join()
        work(tmp_path, append)
    images = list_images(tmp_path / "photos")
    monkeypatch.setattr(Slow, "pause", 0)
    extract(Slow(), images[:150], tmp_path / "whole", progress=False)
    store = extract(Slow(), images, tmp_path / "whole", progress=False, append=True)
    assert len(store) == 299 and killed >= KILLS // 2
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")

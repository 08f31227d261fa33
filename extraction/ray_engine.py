"""Extraction on a Ray cluster: each shard of the store is one task, and this process writes the results.

Ray repeats a task whose worker or node dies. A task that has died :data:`RUNS` times is split into its images, and
images whose workers die all the same are skipped. One process writes whole shards, so that nothing is lost or doubled;
workers only read the images and the model.
"""

import logging
import os
import pickle
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from delg.common.errors import InputError, first_line
from delg.common.extras import needs_extra
from extraction.batching import Places, good_and_bad
from extraction.describing import Described
from extraction.extractors.table import ExtractorRecipe, absolute
from extraction.images import BadImageError, ImageRef
from extraction.pipeline import shards_bar
from extraction.store.writer import StoreWriter

HOME = str(Path(__file__).resolve().parents[1])
PATIENCE = 10.0  # seconds
AHEAD = 2  # waiting tasks for each running one
RUNS = 4  # of a task whose worker dies each time


class WorkerDiedError(BadImageError):
    """An image that was alone in a task, whose worker or node died at every run."""


def write_shards_on_ray(
    recipe: ExtractorRecipe,
    writer: StoreWriter,
    *,
    address: str | None = None,
    num_threads: int = 2,
    batch_size: int = 1,
    progress: bool = True,
) -> None:
    """Describes the images of the missing shards on a cluster, and writes each shard when its results arrive.

    Args:
      recipe: of the extractor, which each worker builds once.
      writer: of the store.
      address: of a running cluster; None starts one in this machine and ends it.
      num_threads: of a task; Ray runs as many tasks at once as there are cores for.
      batch_size: most images of a run of the network.
      progress: show a line with images/s and the time left.

    Raises:
      InputError: the extra is not installed, the cluster cannot be reached, or an extractor cannot be built there.
    """
    lists, bad = {shard: writer.shard_images(shard) for shard in writer.missing()}, 0
    described_lists = described_on_ray(recipe, lists, address=address, num_threads=num_threads, batch_size=batch_size)
    with shards_bar(writer, list(lists), progress=progress) as bar:
        for shard, described in described_lists:
            features, skipped = good_and_bad(lists[shard], described)
            writer.write(shard, features, skipped)
            bad += len(skipped)
            bar.set_postfix(skipped=bad)
            bar.update(len(features) + len(skipped))


def described_on_ray(
    recipe: ExtractorRecipe,
    lists: Mapping[int, Sequence[ImageRef]],
    *,
    address: str | None = None,
    num_threads: int = 2,
    batch_size: int = 1,
) -> Iterator[tuple[int, list[Described]]]:
    """Describes lists of images on a cluster; each list is a task.

    Args:
      recipe: see :func:`write_shards_on_ray`, as for the others.
      lists: the images by number.
      address: of the cluster, or None.
      num_threads: of a task.
      batch_size: most images of a run of the network.

    Yields:
      The numbers of finished lists in any order, and their features or why there are none.

    Raises:
      InputError: see :func:`write_shards_on_ray`.
    """
    ray = _started(address)
    try:
        yield from _described(ray, recipe, lists, num_threads=num_threads, batch_size=batch_size)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        raise InputError(f"A worker of the cluster stopped: {first_line(cause)}") from error
    finally:
        ray.shutdown()


def _started(address: str | None) -> Any:
    """The package, connected to a cluster."""
    try:
        import ray
    except ImportError as error:
        raise needs_extra("--engine=ray", "ray") from error
    try:
        if address is not None:
            _check_listening(address)
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"The Ray cluster {address} cannot be reached: {first_line(error)}") from error
    return ray


def _check_listening(address: str) -> None:
    """Checks that a server listens at ``HOST:PORT``, since Ray would try for minutes.

    Raises:
      OSError: no server does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()


def _described(
    ray: Any, recipe: ExtractorRecipe, lists: Mapping[int, Sequence[ImageRef]], *, num_threads: int, batch_size: int
) -> Iterator[tuple[int, list[Described]]]:
    """Finished lists in any order; only a few more tasks are submitted than run, so that results do not pile up.

    Raises:
      InputError: the workers die at every image of a shard.
    """
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    limit, cores_of_task = AHEAD * max(1, cores // num_threads), min(num_threads, cores)
    task = ray.remote(num_cpus=cores_of_task, max_retries=RUNS - 1, retry_exceptions=False)(_task(HOME))
    model = replace(recipe, model=absolute(recipe.model))
    waiting: list[tuple[int, Places]] = [(shard, [*range(len(lists[shard]))]) for shard in reversed([*lists])]
    running: dict[Any, tuple[int, Places]] = {}
    unfinished: dict[int, dict[int, Described]] = defaultdict(dict)
    while waiting or running:
        while waiting and len(running) < limit:
            shard, places = waiting.pop()
            refs = [_with_absolute_path(lists[shard][place]) for place in places]
            running[task.remote(pickle.dumps((model, refs, num_threads, batch_size)))] = shard, places
        (ready,), _ = ray.wait(list(running))
        shard, places = running.pop(ready)
        try:
            described = pickle.loads(ray.get(ready))
        except _worker_deaths(ray):
            if len(places) > 1:
                waiting += [(shard, [place]) for place in reversed(places)]
                continue
            described = [WorkerDiedError(f"the worker that described it died, {RUNS} times in turn")]
        unfinished[shard] |= zip(places, described, strict=True)
        if len(unfinished[shard]) == len(lists[shard]):
            by_place = unfinished.pop(shard)
            in_order = [by_place[place] for place in range(len(by_place))]
            if len(in_order) > 1 and all(isinstance(one, WorkerDiedError) for one in in_order):
                raise InputError(
                    f"The workers of the cluster die at every image, {lists[shard][0].name} first; see Ray's logs of a "
                    "worker for why."
                )
            yield shard, in_order


def _worker_deaths(ray: Any) -> tuple[type[Exception], ...]:
    """Errors of a task whose worker or node died."""
    names = "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError"
    return tuple(getattr(ray.exceptions, name) for name in names)


def _with_absolute_path(ref: ImageRef) -> ImageRef:
    """The image by its absolute path, since workers run elsewhere."""
    return replace(ref, path=os.path.abspath(ref.path))  # noqa: PTH100


def _task(home: str) -> Callable[[bytes], bytes]:
    """The function that workers run.

    The function is local, so that it is sent by value. It finds this package by itself: a worker has the folder in
    which the command was started first on its path, where a user may have another package ``extraction``.
    """

    def task(request: bytes) -> bytes:
        import os
        import sys

        if os.path.isdir(home) and sys.path[0] != home:  # noqa: PTH112
            sys.path.insert(0, home)
            for name, module in list(sys.modules.items()):
                place = getattr(module, "__file__", None) or ""
                if name.split(".")[0] in ("delg", "extraction", "protos") and not place.startswith(home):
                    del sys.modules[name]
        from extraction.ray_worker import answer

        return answer(request)

    return task

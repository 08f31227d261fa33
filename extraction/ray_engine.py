"""Extraction on a Ray cluster: each shard of the store is one task, and this process writes what comes back.

A task whose worker or node dies is run again by Ray. Shards are written whole by one process, so that nothing is lost
or doubled, and workers need to read the images and the model only.
"""

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from extraction.features import Features
from extraction.recipe import Recipe
from extraction.store_writer import StoreWriter
from protos.errors import InputError, first_line
from protos.progress import progress_bar

HOME = str(Path(__file__).resolve().parents[1])
PATIENCE = 10.0  # seconds
AHEAD = 2  # tasks that wait for each that runs
Found = tuple[int, list[Features], list[dict[str, str]]]


def write_shards_on_ray(
    recipe: Recipe,
    writer: StoreWriter,
    *,
    address: str | None = None,
    num_threads: int = 2,
    batch_size: int = 1,
    progress: bool = True,
) -> None:
    """Describes the images of the missing shards on a cluster, and writes each shard as it comes back.

    Args:
      recipe: of the extractor, which each worker builds once.
      writer: of the store.
      address: of a cluster that runs; None starts one in this machine and ends it.
      num_threads: of a task; Ray runs as many at once as there are cores for.
      batch_size: most images of a run of the network.
      progress: show a line with images/s and the time left.

    Raises:
      InputError: the extra is not installed, the cluster cannot be reached, or an extractor cannot be built there.
    """
    ray = _started(address)
    try:
        shards = writer.missing()
        todo = sum(len(writer.shard_images(shard)) for shard in shards)
        options: dict[str, Any] = {"total": len(writer.images), "initial": len(writer.images) - todo, "unit": "image"}
        with progress_bar(desc="/".join(writer.folder.parts[-2:]), disable=not progress, **options) as bar:
            bad = 0
            for shard, features, skipped in _described(
                ray, recipe, writer, shards, num_threads=num_threads, batch_size=batch_size
            ):
                writer.write(shard, features, skipped)
                bad += len(skipped)
                bar.set_postfix(skipped=bad)
                bar.update(len(features) + len(skipped))
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
        raise InputError("--engine=ray needs packages that are missing; run: pip install 'delg[ray]'") from error
    try:
        if address is not None:
            _answers(address)
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"The Ray cluster {address} cannot be reached: {first_line(error)}") from error
    return ray


def _answers(address: str) -> None:
    """Proves that something listens at ``HOST:PORT``, since Ray would try for minutes.

    Raises:
      OSError: nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()


def _described(
    ray: Any, recipe: Recipe, writer: StoreWriter, shards: Sequence[int], *, num_threads: int, batch_size: int
) -> Iterator[Found]:
    """What comes back, in any order; few more tasks are given out than run, so that results do not pile up."""
    limit = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)) // num_threads)
    cores = min(num_threads, int(ray.cluster_resources().get("CPU", 1)))
    task = ray.remote(num_cpus=cores, max_retries=-1, retry_exceptions=False)(_task(HOME))
    waiting, running = list(reversed(shards)), list[Any]()
    while waiting or running:
        while waiting and len(running) < limit:
            shard = waiting.pop()
            refs = [replace(ref, path=os.path.abspath(ref.path)) for ref in writer.shard_images(shard)]  # noqa: PTH100
            running.append(task.remote(pickle.dumps((absolute(recipe), shard, refs, num_threads, batch_size))))
        ready, running = ray.wait(running)
        yield pickle.loads(ray.get(ready[0]))


def _task(home: str) -> Callable[[bytes], bytes]:
    """The function that workers run.

    It is sent by value, being local, and finds this package by itself: a worker has the folder that the command was
    started from at the head of its path, where a user may have an ``extraction`` of his own.
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


def absolute(recipe: Recipe) -> Recipe:
    """The recipe with the absolute path of a model folder, since workers run elsewhere."""
    return replace(recipe, model=os.path.abspath(recipe.model)) if Path(recipe.model).is_dir() else recipe  # noqa: PTH100

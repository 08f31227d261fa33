"""What the service does beside answering: it keeps the collection in step, and shares the cores among its tasks."""

import asyncio
import logging
import re
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from starlette.exceptions import HTTPException

from collection.collection import Collection
from collection.results import Changes
from collection.serve.limits import RETRY, Limits
from collection.serve.metrics import Metrics
from collection.serve.photos import Pictures
from delg.common.errors import InputError, first_line
from matching.threads import available

PORTION = 32  # photos whose local features are described between two other changes
WAIT = 20.0  # seconds that a request waits for the end of a synchronisation
RUNS = 16  # synchronisations that are remembered
WARM = (384, 512, 3)  # the picture of the first search
Value = TypeVar("Value")


@dataclass(frozen=True)
class Run:
    """One synchronisation."""

    number: int
    future: Future[Changes]


class Service:
    """A collection and the threads that work for it.

    Searches share threads, as many as cores, and so do pictures; all changes share one thread, in their order.
    """

    def __init__(self, collection: Collection, limits: Limits, sync_every: float):
        """Takes an open collection; :meth:`start` begins the work.

        Args:
          collection: what is served.
          limits: of requests.
          sync_every: seconds between two synchronisations; 0 for none after the first one.
        """
        self.collection, self.limits, self.metrics = collection, limits, Metrics()
        self.pictures = Pictures(limits.pixels)
        self._every = sync_every
        self._searching = ThreadPoolExecutor(available(), "search")
        self._drawing = ThreadPoolExecutor(2, "picture")
        self._changing = ThreadPoolExecutor(1, "change")
        self._runs: dict[int, Run] = {}
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self.error = ""

    def start(self) -> None:
        """Begins: what describes queries is loaded, and the collection is brought in step again and again."""
        self._searching.submit(self._warm)
        threading.Thread(target=self._keep, name="keep", daemon=True).start()

    def stop(self) -> None:
        """Starts no more work; what has begun goes on to its end."""
        self._stopped.set()
        for pool in (self._searching, self._drawing, self._changing):
            pool.shutdown(wait=False, cancel_futures=True)

    def synchronise(self) -> Run:
        """Begins a synchronisation that sees every change of the folder up to now."""
        with self._lock:
            last = max(self._runs, default=0)
            if last:
                future = self._runs[last].future
                if not future.running() and not future.done():  # it has not looked into the folder yet
                    return self._runs[last]
            run = Run(last + 1, self._changing.submit(self._synchronised))
            self._runs[run.number] = run
            self._runs.pop(run.number - RUNS, None)
            return run

    def run(self, number: int) -> Run:
        """A synchronisation by its number.

        Raises:
          HTTPException: 404.
        """
        with self._lock:
            if number not in self._runs:
                raise HTTPException(404, "There is no synchronisation of this number.")
            return self._runs[number]

    @property
    def synchronising(self) -> bool:
        """Whether a synchronisation runs or waits."""
        with self._lock:
            return any(not run.future.done() for run in self._runs.values())

    async def search(self, work: Callable[[], Value]) -> Value:
        """Does what describes or compares photos."""
        return await self._done(self._searching.submit(work))

    async def draw(self, work: Callable[[], Value]) -> Value:
        """Does what reads or draws a picture."""
        return await self._done(self._drawing.submit(work))

    async def change(self, work: Callable[[], Value]) -> Value:
        """Changes the collection, to the end once it has begun.

        Raises:
          HTTPException: 503, a synchronisation takes too long; nothing was changed.
        """
        future = self._changing.submit(work)
        done, _ = await asyncio.wait([asyncio.wrap_future(future)], timeout=min(WAIT, self.limits.seconds / 2))
        if not done and future.cancel():
            sentence = "The collection is being brought in step with its folder; try again later."
            raise HTTPException(503, sentence, RETRY)
        return await self._done(future)

    async def _done(self, future: Future[Value]) -> Value:
        try:
            return await asyncio.wrap_future(future)
        except InputError as error:
            of_disk = isinstance(error.__cause__, OSError)  # as one that is full
            raise HTTPException(503 if of_disk else 422, self.public(error)) from error

    def public(self, error: BaseException) -> str:
        """The sentence of an error without paths of this machine."""
        text = str(error) if isinstance(error, InputError) else first_line(error)
        text = re.sub(re.escape(tempfile.gettempdir()) + r"/[^/\s]+/query", "image", text)
        for folder in {str(self.collection.folder.resolve()), str(self.collection.folder)} - {"."}:
            text = text.replace(f"{folder}/", "").replace(folder, "the folder")
        return text

    def status(self) -> dict[str, Any]:
        """What goes on."""
        failed = self.collection.failed
        return {
            "name": self.collection.folder.resolve().name,
            "photos": len(self.collection),
            "synchronising": self.synchronising,
            "error": self.error,
            "failed": {path: failed[path] for path in list(failed)[:100]},
        }

    def _warm(self) -> None:
        try:
            if len(self.collection):
                noise = np.random.default_rng(0).integers(0, 255, WARM, np.uint8)
                self.collection.search(noise, k=1)
        except InputError as error:
            self.error = self.public(error)

    def _keep(self) -> None:
        while not self._stopped.is_set():
            try:
                self.synchronise().future.result()
            except Exception as error:
                logging.getLogger(__name__).debug("synchronisation: %s", error)
            if self._stopped.wait(self._every or None):
                return

    def _synchronised(self) -> Changes:
        try:
            changes = self.collection.sync(local=False)
        except (InputError, OSError) as error:
            self.error = self.public(error)
            raise
        except Exception:
            self.error = "The last synchronisation failed; the log of the service says why."
            logging.getLogger(__name__).exception("The synchronisation failed")
            raise
        self.error = ""
        self._submit_completion()
        return changes

    def _submit_completion(self) -> None:
        if not self._stopped.is_set():
            self._changing.submit(self._complete)

    def _complete(self) -> None:
        """Describes local features of some photos, and then lets other changes have their turn."""
        try:
            if self.collection.complete(limit=PORTION):
                self._submit_completion()
        except (InputError, OSError) as error:
            self.error = self.public(error)

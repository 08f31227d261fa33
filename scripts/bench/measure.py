"""What the rows of a benchmark share: options, interleaved timing, memory."""

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matching.threads import available, single_threaded


@dataclass(frozen=True)
class Options:
    """How a row is measured.

    Attributes:
      rows: database rows of the rows that search a large database; local features of those that rerank.
      kind: what a module with several rows measures.
      repeats: rounds; every row's times are medians of as many.
      threads: that ours and the bound may use.
      folder: for large files that are made once; what lies there may be deleted.
    """

    rows: int = 1_000_000
    kind: str = ""
    repeats: int = 5
    threads: int = available()
    folder: Path = Path("bench")


def interleaved(actions: Mapping[str, Callable[[int], Any]], repeats: int) -> dict[str, float]:
    """Medians of the wall time of some actions, which take turns so that a busy machine slows all alike.

    Args:
      actions: each is given the number of the round, 0 and up.
      repeats: rounds.

    Returns:
      Seconds of one call, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats):
        for name, action in actions.items():
            start = time.perf_counter()
            action(turn)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def processor_time(action: Callable[[int], Any], spent: list[float]) -> Callable[[int], Any]:
    """The same action, which adds the seconds that all threads of this process computed in it to a list."""

    def timed(turn: int) -> None:
        start = time.process_time()
        action(turn)
        spent.append(time.process_time() - start)

    return timed


def on_all_cores(action: Callable[[Any], Any], items: Any, threads: int) -> None:
    """Does something with each item on a pool of threads, with matrix products of one thread each."""
    with single_threaded(), ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(action, items):
            pass


def added_memory(action: Callable[[], Any]) -> float | None:
    """How far an action raises the resident memory of this process over what it was before, at its highest.

    Returns:
      Bytes; None where the kernel does not tell (it does on Linux).
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the mark
        before = _status("VmRSS")
        action()
        return _status("VmHWM") - before
    except OSError:
        return None


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * float(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def check(holds: bool, what: str) -> None:
    """Ends the row when ours and the reference do not agree.

    Raises:
      RuntimeError: it does not hold.
    """
    if not holds:
        raise RuntimeError(f"Not timed, because results differ: {what}")

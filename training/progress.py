"""The line that a training run prints: step, losses, accuracy, images per second, time left."""

import time
from collections.abc import Callable

import numpy as np

from training.computation import METRICS


class Progress:
    """Means of the metrics since the last report, and the speed without the pauses.

    Args:
      max_iters: steps of the whole run.
      batch_size: images per step.
      clock: seconds; replaced in tests.
    """

    def __init__(self, max_iters: int, batch_size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_iters, self._batch_size, self._clock = max_iters, batch_size, clock
        self._sum, self._count = np.zeros(len(METRICS)), 0
        self._timed, self._started, self._first = 0, clock(), True
        self._printed = self._started

    def add(self, metrics: np.ndarray) -> None:
        """Takes the metrics ``(7,)`` of one step. The first step, which traces the graph, is not timed."""
        self._sum += metrics
        self._count += 1
        self._timed += 1
        if self._first:
            self._first = False
            self.restart_clock()

    @property
    def sums(self) -> np.ndarray:
        """``(8,)`` float64: the metrics added up since the last report, and over how many steps."""
        return np.append(self._sum, self._count)

    def resume(self, sums: np.ndarray) -> None:
        """Goes on from the :attr:`sums` of an earlier process, so that the next report is of the same steps."""
        self._sum, self._count = np.array(sums[:-1], np.float64), int(sums[-1])

    def restart_clock(self) -> None:
        """Leaves everything since the last report out of the speed: a validation."""
        self._timed, self._started = 0, self._clock()

    @property
    def silence(self) -> float:
        """Seconds since the last line."""
        return self._clock() - self._printed

    def means(self) -> tuple[dict[str, float], float]:
        """Means by name and steps per second since the last report."""
        seconds = self._clock() - self._started
        speed = self._timed / seconds if self._timed and seconds > 0 else 0.0
        return dict(zip(METRICS, (self._sum / max(self._count, 1)).tolist())), speed

    def restart(self) -> None:
        """Begins new means; called after a report."""
        self._sum, self._count = np.zeros(len(METRICS)), 0
        self.restart_clock()

    def line(self, step: int) -> str:
        """The text after ``step`` steps."""
        means, speed = self.means()
        self._printed = self._clock()
        left = duration((self._max_iters - step) / speed) if speed else "unknown"
        return (
            f"step {step}/{self._max_iters}  loss {means['loss']:.4f} (desc {means['desc']:.4f}, attn "
            f"{means['attn']:.4f}, recon {means['recon']:.4f})  accuracy {100 * means['desc_accuracy']:.1f} %  "
            f"{speed * self._batch_size:.1f} images/s  {left} left"
        )


def duration(seconds: float) -> str:
    """``"4:05"`` or ``"1:02:03"``, rounded up to the second."""
    whole = int(np.ceil(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"

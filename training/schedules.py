"""Learning rates as functions of the step, by name."""

import math
from collections.abc import Callable

from delg.common.errors import InputError
from delg.common.spec import build

Schedule = Callable[[int], float]


def linear(initial_lr: float, max_iters: int, warmup: int = 0) -> Schedule:
    """Falls linearly to 0 at ``max_iters``: ``initial_lr * (1 - step / max_iters)`` (released code).

    Args:
      initial_lr: the highest rate.
      max_iters: steps of the whole training.
      warmup: steps of linear growth before, ``initial_lr * (step + 1) / warmup``; the fall begins after them.
    """
    return _after_warmup(initial_lr, max_iters, warmup, lambda progress: 1.0 - progress)


def cosine(initial_lr: float, max_iters: int, warmup: int = 0) -> Schedule:
    """Falls to 0 along half a cosine: ``initial_lr * (1 + cos(pi * progress)) / 2`` (arXiv 1608.03983)."""
    return _after_warmup(initial_lr, max_iters, warmup, lambda progress: (1.0 + math.cos(math.pi * progress)) / 2.0)


def constant(initial_lr: float, max_iters: int, warmup: int = 0) -> Schedule:
    """``initial_lr`` at every step after the warm-up."""
    return _after_warmup(initial_lr, max_iters, warmup, lambda _: 1.0)


SCHEDULES: dict[str, Callable[..., Schedule]] = {"linear": linear, "cosine": cosine, "constant": constant}


def build_schedule(text: str, initial_lr: float, max_iters: int) -> Schedule:
    """Builds a schedule such as ``"cosine(warmup=200)"``.

    Raises:
      InputError: an unknown name or a bad argument.
    """
    schedule: Schedule = build(text, SCHEDULES, "schedule", initial_lr=initial_lr, max_iters=max_iters)
    return schedule


def _after_warmup(initial_lr: float, max_iters: int, warmup: int, shape: Callable[[float], float]) -> Schedule:
    if not isinstance(warmup, int) or not 0 <= warmup < max_iters:
        raise InputError(f"The warm-up must be a whole number of steps from 0 to below {max_iters}. Received: {warmup}")

    def rate(step: int) -> float:
        if step < warmup:
            return initial_lr * (step + 1) / warmup
        return initial_lr * shape((min(step, max_iters) - warmup) / (max_iters - warmup))

    return rate

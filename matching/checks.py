"""Checks of settings."""

from math import inf

import numpy as np

from delg.common.errors import InputError

MOST = 2**31 - 1  # of a whole number
LARGEST = float(np.finfo(np.float32).max)  # of a number


def whole(what: str, value: object, least: int = 1, most: int = MOST) -> int:
    """Checks a setting that is a whole number.

    Args:
      what: the setting, for the message.
      value: of the setting.
      least: smallest value.
      most: largest value.

    Returns:
      The value.

    Raises:
      InputError: the value is not a whole number, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{what} expects a whole number of {least} or more. Received: {value!r}")
    if value > most:
        raise InputError(f"{what} expects a whole number of {most} or less. Received: {value!r}")
    return value


def number(what: str, value: object, *, above: bool = False, most: float = inf) -> float:
    """Checks a setting that is a finite number of at least 0.

    Args:
      what: the setting, for the message.
      value: of the setting.
      above: whether 0 is refused too.
      most: largest value; that of float32 where none is given.

    Returns:
      The value.

    Raises:
      InputError: the value is not a number, or out of range.
    """
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not 0 <= value <= min(most, LARGEST) or (above and not value):  # type: ignore[operator]
        limits = f"{'above' if above else 'from'} 0"
        limits += " (float32)" if most == inf else f"{', at most' if above else ' to'} {most:g}"
        raise InputError(f"{what} expects a number {limits}. Received: {value!r}")
    return value  # type: ignore[return-value]

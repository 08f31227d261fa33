"""Keras' global settings while this package makes layers: its own, whatever ``keras.json`` or the program has set."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import keras

EPSILON = 1e-7
_LOCK = RLock()  # the settings are those of the whole process


@contextmanager
def own_settings(policy: Any = "float32") -> Iterator[None]:
    """Inside, Keras makes layers, models and optimizers with the settings of this package; after it, with those before.

    They are ``channels_last``, an epsilon of 1e-7, and ``floatx`` float32; float64 where the policy is that.

    Args:
      policy: a dtype policy of Keras or its name, such as ``"float32"`` or ``"mixed_bfloat16"``.
    """
    config = keras.config
    with _LOCK:
        before = config.dtype_policy(), config.floatx(), config.epsilon(), config.image_data_format()
        new_policy = keras.dtype_policies.get(policy)
        _set(new_policy, "float64" if new_policy.variable_dtype == "float64" else "float32", EPSILON, "channels_last")
        try:
            yield
        finally:
            _set(*before)


def _set(policy: Any, floatx: str, epsilon: float, data_format: str) -> None:
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(data_format)
    keras.config.set_dtype_policy(policy)

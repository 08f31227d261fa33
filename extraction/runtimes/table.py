"""What computes a model's network, and in which precision: the Keras backend, OpenVINO or ONNX Runtime, by name."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError

if TYPE_CHECKING:
    from delg.model import Delg

Network = Callable[[Any], dict[str, NDArray[np.float32]]]
"""Normalised images ``(B, h, w, 3)`` float32 to the float32 outputs of :meth:`delg.model.Delg.inference_model`."""

KERAS_BACKENDS = ("tensorflow", "jax", "torch")
INT8 = "int8"
PRECISIONS = ("float32", "bfloat16", INT8)
RUNTIMES: dict[str, tuple[str, ...]] = {  # and the precisions that each computes in
    **dict.fromkeys(KERAS_BACKENDS, PRECISIONS[:2]),
    "openvino": PRECISIONS,
    "onnxruntime": PRECISIONS[:1],
}
SHARING = ("openvino",)  # make another network for several calls at once
MODULES = {
    **dict.fromkeys(KERAS_BACKENDS, "extraction.runtimes.keras_runtime"),
    "openvino": "extraction.runtimes.openvino_runtime",
    "onnxruntime": "extraction.runtimes.onnx_runtime",
}


class Runtime(Protocol):
    """A model made ready for one runtime and precision."""

    def network(self, heads: tuple[str, ...], at_once: int = 1) -> Network:
        """The network that computes these heads and no more; it may be called by several threads.

        Args:
          heads: what is computed.
          at_once: how many threads are expected to call it at the same time, which is a matter of speed alone.
        """
        ...


def check_runtime(runtime: str | None, precision: str) -> None:
    """Checks the two names, and that they go together.

    Raises:
      InputError: an unknown one, or a precision that the runtime does not compute in.
    """
    if precision not in PRECISIONS:
        raise InputError(f"Unknown precision {precision!r}; the choices are {', '.join(PRECISIONS)}.")
    if runtime is not None and runtime not in RUNTIMES:
        raise InputError(f"Unknown runtime {runtime!r}; the choices are {', '.join(RUNTIMES)}.")
    able = RUNTIMES[runtime or KERAS_BACKENDS[0]]
    if precision not in able:
        others = [name for name, precisions in RUNTIMES.items() if precision in precisions]
        raise InputError(
            f"The runtime {runtime or 'of Keras'} computes in {' and '.join(able)}, not in {precision}; "
            f"{', '.join(others)} does."
        )


def resolved(runtime: str | None) -> str:
    """The runtime's name; the Keras backend in use for None.

    Raises:
      InputError: another Keras backend is in use than the one that is asked for.
    """
    import keras

    backend = keras.backend.backend()
    if runtime is None:
        return backend
    if runtime in KERAS_BACKENDS and runtime != backend:
        raise InputError(f"The runtime {runtime} needs KERAS_BACKEND={runtime}; Keras runs on {backend}.")
    return runtime


def start(model: "Delg", runtime: str, precision: str, folder: str | None = None) -> Runtime:
    """Makes a model ready.

    Args:
      model: see :class:`delg.model.Delg`.
      runtime: a choice of :data:`RUNTIMES`.
      precision: one that it computes in.
      folder: the model's folder, where a calibration for int8 is kept.

    Raises:
      InputError: an extra is not installed, the processor lacks the precision, or there is no calibration.
    """
    made: Runtime = importlib.import_module(MODULES[runtime]).build(model, precision, folder)
    return made

"""The runtimes of a model's network by name, and their precisions: the Keras backend, OpenVINO or ONNX Runtime."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from delg.common.distribution import KERAS_BACKENDS
from delg.common.errors import InputError
from delg.common.spec import Table, factory_of

if TYPE_CHECKING:
    from delg.model import Delg
    from extraction.runtimes.kept import KeptModel

Network = Callable[[Any], dict[str, NDArray[np.float32]]]
"""Normalised images ``(B, h, w, 3)`` float32 to the float32 outputs of :meth:`delg.model.Delg.inference_model`."""

INT8 = "int8"
PRECISIONS = ("float32", "bfloat16", INT8)
RUNTIMES: dict[str, tuple[str, ...]] = {  # name to precisions
    **dict.fromkeys(KERAS_BACKENDS, PRECISIONS[:2]),
    "openvino": PRECISIONS,
    "onnxruntime": PRECISIONS[:1],
}
SHARING = ("openvino",)  # runtimes that build another network for several calls at once
CLASSES: Table = {
    **dict.fromkeys(KERAS_BACKENDS, "extraction.runtimes.keras_runtime:KerasRuntime"),
    "openvino": "extraction.runtimes.openvino_runtime:OpenVinoRuntime",
    "onnxruntime": "extraction.runtimes.onnx_runtime:OnnxRuntime",
}


class Runtime(ABC):
    """A model prepared for one runtime and precision."""

    @abstractmethod
    def __init__(self, model: "Delg | KeptModel", precision: str, folder: str | None):
        """Takes the arguments of :func:`start`."""

    @abstractmethod
    def network(self, heads: tuple[str, ...], at_once: int = 1) -> Network:
        """The network that computes these heads alone; it may be called by several threads.

        Args:
          heads: of the model.
          at_once: expected number of threads that call it at the same time, which affects speed alone.
        """


def check_runtime(runtime: str | None, precision: str) -> None:
    """Checks a runtime and its precision.

    Raises:
      InputError: an unknown name, or a precision that the runtime lacks.
    """
    if precision not in PRECISIONS:
        raise InputError(f"Unknown precision {precision!r}; the choices are {', '.join(PRECISIONS)}.")
    if runtime is not None and runtime not in RUNTIMES:
        raise InputError(f"Unknown runtime {runtime!r}; the choices are {', '.join(RUNTIMES)}.")
    precisions = RUNTIMES[runtime or KERAS_BACKENDS[0]]
    if precision not in precisions:
        others = [name for name, own in RUNTIMES.items() if precision in own]
        raise InputError(
            f"The runtime {runtime or 'of Keras'} computes in {' and '.join(precisions)}, not in {precision}; "
            f"{', '.join(others)} does."
        )


def resolved(runtime: str | None) -> str:
    """The runtime's name; for None the Keras backend in use.

    Raises:
      InputError: another Keras backend is in use than the runtime needs.
    """
    if runtime is not None and runtime not in KERAS_BACKENDS:
        return runtime
    import keras

    backend = keras.backend.backend()
    if runtime is None:
        return backend
    if runtime != backend:
        raise InputError(f"The runtime {runtime} needs KERAS_BACKEND={runtime}; Keras runs on {backend}.")
    return runtime


def fastest() -> str | None:
    """The runtime that describes many photos fastest on this machine.

    OpenVINO where it is installed, unless TensorFlow has a GPU or Keras runs on another backend; None for Keras' own.
    """
    if find_spec("openvino") is None:
        return None
    if "keras" not in sys.modules and os.environ.get("KERAS_BACKEND") == KERAS_BACKENDS[0] and not _nvidia():
        return "openvino"  # without an import of TensorFlow
    import keras

    if keras.backend.backend() != KERAS_BACKENDS[0]:
        return None
    return None if keras.distribution.list_devices("gpu") else "openvino"


def _nvidia() -> bool:
    """Whether there may be a GPU that TensorFlow can use."""
    return sys.platform != "linux" or any(Path("/dev").glob("nvidia*")) or Path("/dev/kfd").exists()


def start(model: "Delg | KeptModel", runtime: str, precision: str, folder: str | None = None) -> Runtime:
    """Prepares a model for a runtime.

    Args:
      model: see :class:`delg.model.Delg`.
      runtime: a choice of :data:`RUNTIMES`.
      precision: of the runtime.
      folder: the model's folder, which may hold a calibration for int8.

    Raises:
      InputError: an extra is not installed, the processor lacks the precision, or there is no calibration.
    """
    prepared: Runtime = factory_of(runtime, CLASSES, "runtime")(model, precision, folder)
    return prepared

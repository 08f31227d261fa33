"""The contract of a backend of Keras that trains, and the backends by name.

Everything else of a training is the same code on every backend: the input pipeline (TensorFlow's), the losses
(``keras.ops``), the loop, reports and checkpoints.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from delg.commands import chosen_backend
from delg.common.errors import InputError
from delg.common.extras import needs_extra
from delg.common.options import refuse
from training.options import TrainOptions

Strategy = Any  # tf.distribute.Strategy or training.backends.jax_distribution.Devices
Tensor = Any
MODULES = {"tensorflow": "training.backends.tensorflow_engine", "jax": "training.backends.jax_engine"}
TENSORFLOW_ONLY = ("sample_rate", "accumulate")


class Engine(Protocol):
    """The names that a module of :data:`MODULES` has.

    Attributes:
      TrainStep: the training step, see :class:`training.backends.tensorflow_step.TrainStep`.
      compile_validation_step: makes a compiled :func:`training.computation.judge`.
    """

    TrainStep: Callable[..., Any]
    compile_validation_step: Callable[..., Callable[[Tensor, Tensor], Tensor]]

    def prepare(self, *, deterministic: bool, debug: bool) -> None:
        """Settings of the process, before anything is computed."""

    def build_strategy(self, text: str) -> Strategy:
        """The devices of ``--distribute``; what is made within their ``scope()`` lies on them."""

    def share_of(self, strategy: Strategy, batch_size: int) -> Any:
        """The part of every global batch that this process prepares, a :class:`training.input.config.Share`."""

    def adapt(self, model: Any, sync_batch_norm: bool) -> None:
        """Changes how a model computes in training, never what."""

    def distributed(self, strategy: Strategy, batches: Any) -> Iterator[Any]:
        """Batches of this process as the training step takes them."""

    def first(self, strategy: Strategy, value: Any) -> Any:
        """The part that the first device of this process has of an input or a result of the step."""

    def is_chief(self, strategy: Strategy) -> bool:
        """Whether this process is the one that writes files and prints."""

    def of_first(self, strategy: Strategy, values: Sequence[NDArray]) -> list[NDArray]:
        """What the first process gives, in every process; all call it with arrays of the same forms."""

    def wait(self, strategy: Strategy) -> None:
        """Returns when every process of the training has come here."""


def check_backend(options: TrainOptions) -> None:
    """Checks that the backend supports the options.

    Raises:
      InputError: it cannot.
    """
    backend = chosen_backend()
    if backend not in MODULES:
        raise InputError(
            f"Training needs the TensorFlow or the JAX backend of Keras, not {backend!r}; set KERAS_BACKEND=tensorflow."
        )
    if backend == "jax" and not importlib.util.find_spec("jax"):
        raise needs_extra("KERAS_BACKEND=jax", "jax")
    if backend != "tensorflow":
        refuse(f"KERAS_BACKEND={backend}", options, TENSORFLOW_ONLY)


def engine() -> Engine:
    """That of the present backend."""
    return cast(Engine, importlib.import_module(MODULES[chosen_backend()]))

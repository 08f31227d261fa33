"""The network on the Keras backend: TensorFlow, JAX or PyTorch, on a CPU or a GPU."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from delg.exporting.batch import traced_network
from delg.superglobal import in_policy
from extraction.runtimes.table import PRECISIONS, Network, Runtime

if TYPE_CHECKING:
    from delg.model import Delg

POLICIES = dict(zip(PRECISIONS, ("float32", "mixed_bfloat16")))


class KerasRuntime(Runtime):
    """Compiles one function for each set of heads, on TensorFlow for images of any number and size."""

    def __init__(self, model: "Delg", precision: str, folder: str | None = None):
        """Takes the model, which is copied for another precision than its own."""
        self.model = in_policy(model, POLICIES[precision])

    def network(self, heads: tuple[str, ...], at_once: int = 1) -> Network:
        """See :class:`Runtime`."""
        return compiled(self.model.inference_model(heads))


def compiled(inner: keras.Model) -> Network:
    """A Keras model as a function; on TensorFlow traced once, and so without XLA, which compiles for each size."""
    if keras.backend.backend() == "jax":
        return _on_jax(inner)
    if keras.backend.backend() == "tensorflow":
        function = traced_network(inner)
    else:
        inner.make_predict_function()
        function = inner.predict_on_batch
    return lambda images: {name: np.asarray(value, np.float32) for name, value in function(images).items()}


def _on_jax(inner: keras.Model) -> Network:
    """A function for several threads; Keras' own donates its weights while it runs, and so serves one thread."""
    import jax

    @jax.jit
    def outputs(trainable: Any, others: Any, images: Any) -> Any:
        return inner.stateless_call(trainable, others, images, training=False)[0]

    def run(images: Any) -> dict[str, Any]:
        weights = ([v.value for v in part] for part in (inner.trainable_variables, inner.non_trainable_variables))
        return {name: np.asarray(value, np.float32) for name, value in outputs(*weights, images).items()}

    return run

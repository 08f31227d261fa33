"""Signatures for images of one size in a batch, as a model server calls them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from delg.common.errors import InputError

if TYPE_CHECKING:
    from delg.model import Delg

Tensor = Any
Outputs = dict[str, Tensor]


def batch_function(model: "Delg", heads: tuple[str, ...], normalize: bool = False) -> Callable[[Tensor], Outputs]:
    """The network from pixels on.

    Args:
      model: see :class:`delg.model.Delg`.
      heads: what is computed.
      normalize: L2-normalise the global descriptor.

    Returns:
      A function of images ``(B, H, W, 3)`` RGB with values 0..255, uint8 or float32, that gives the outputs of
      :meth:`delg.model.Delg.inference_model`: ``global_descriptor`` ``(B, D)``, ``local_descriptors``
      ``(B, h, w, d)`` and ``attention`` ``(B, h, w)``, float32.
    """
    from delg.numerics import l2_normalize

    network = model.inference_model(heads)

    def describe(images: Tensor) -> Outputs:
        outputs = dict(network(model.normalize(images), training=False))
        if normalize:
            outputs["global_descriptor"] = l2_normalize(outputs["global_descriptor"])
        return outputs

    return describe


def traced(model: "Delg", heads: tuple[str, ...], *, from_pixels: bool = False) -> Any:
    """A ``tf.function`` of normalised images ``(B, H, W, 3)`` float32, of any size, as other runtimes convert it.

    Its outputs are those of :meth:`delg.model.Delg.inference_model`. With ``from_pixels`` images are RGB values 0..255.

    Raises:
      InputError: Keras does not run on TensorFlow.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"A model is converted by TensorFlow; set KERAS_BACKEND=tensorflow, not {keras.backend.backend()}."
        )
    return traced_network(model.inference_model(heads), model.normalize if from_pixels else None)


def traced_network(network: Any, normalize: Callable[[Tensor], Tensor] | None = None) -> Any:
    """A ``tf.function`` of images of any number and size, traced once.

    Args:
      network: a Keras model of images ``(B, H, W, C)`` float32.
      normalize: what the images pass before the network; None for nothing.
    """
    import tensorflow as tf

    def outputs(images: Tensor) -> Outputs:
        return dict(network(images if normalize is None else normalize(images), training=False))

    shape = [None, None, None, network.inputs[0].shape[-1]]
    return tf.function(outputs, input_signature=[tf.TensorSpec(shape, tf.float32, name="images")], autograph=False)


def batch_signatures(model: "Delg", heads: tuple[str, ...], normalize: bool = False) -> dict[str, Callable]:
    """``serving_default`` for uint8 and ``serving_float`` for float32 ``images``; see :func:`batch_function`."""
    import tensorflow as tf

    describe = batch_function(model, heads, normalize)

    def signature(dtype: Any) -> Callable:
        spec = tf.TensorSpec([None, None, None, 3], dtype, name="images")
        return tf.function(describe, input_signature=[spec], autograph=False)

    return {"serving_default": signature(tf.uint8), "serving_float": signature(tf.float32)}

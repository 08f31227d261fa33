"""A model as OpenVINO's graph, without a file between."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

from delg.common.extras import needs_extra
from delg.exporting.batch import traced

if TYPE_CHECKING:
    from delg.model import Delg


def openvino() -> ModuleType:
    """The package.

    Raises:
      InputError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise needs_extra("The runtime openvino", "openvino") from error
    return openvino


def openvino_model(model: "Delg", heads: tuple[str, ...], *, from_pixels: bool = False) -> Any:
    """Converts the network.

    Args:
      model: see :class:`delg.model.Delg`.
      heads: what is computed.
      from_pixels: whether images are RGB values 0..255, and not normalised.

    Returns:
      An ``openvino.Model`` from normalised images ``(B, h, w, 3)`` float32, of any size, to the outputs of
      :meth:`delg.model.Delg.inference_model` by their names.

    Raises:
      InputError: OpenVINO is not installed, or Keras does not run on TensorFlow.
    """
    package = openvino()
    return package.convert_model(traced(model, heads, from_pixels=from_pixels).get_concrete_function())

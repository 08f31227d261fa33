"""The network on ONNX Runtime, on the processor, in float32."""

from typing import TYPE_CHECKING

import numpy as np

from delg.common.extras import needs_extra
from delg.exporting.batch import traced
from delg.exporting.onnx import onnx_document
from extraction.runtimes.table import Network, Runtime

if TYPE_CHECKING:
    from delg.model import Delg


class OnnxRuntime(Runtime):
    """Converts a model once for each set of heads."""

    def __init__(self, model: "Delg", precision: str, folder: str | None = None):
        """Takes the model.

        Raises:
          InputError: the extra is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise needs_extra("The runtime onnxruntime", "onnx") from error
        self._package, self._model = onnxruntime, model

    def network(self, heads: tuple[str, ...], at_once: int = 1) -> Network:
        """See :class:`extraction.runtimes.table.Runtime`."""
        document = onnx_document(traced(self._model, heads)).SerializeToString()
        session = self._package.InferenceSession(document, providers=["CPUExecutionProvider"])
        fed, names = session.get_inputs()[0].name, [value.name for value in session.get_outputs()]
        return lambda images: dict(
            zip(names, session.run(names, {fed: np.ascontiguousarray(images, np.float32)}), strict=True)
        )

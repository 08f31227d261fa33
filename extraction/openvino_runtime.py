"""The network on OpenVINO, on the processor: in float32, bfloat16, or int8 after a calibration."""

from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np

from delg.exporting.openvino import openvino, openvino_model
from extraction.runtimes import Network
from protos.errors import InputError

if TYPE_CHECKING:
    from delg.model import Delg

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}  # of what is not in int8
NEEDS = {"bfloat16": "BF16", "int8": "INT8"}
OUTPUTS = {"global": ("global_descriptor",), "local": ("local_descriptors", "attention")}
INT8_FILE = "openvino_int8.xml"  # in the model's folder


class OpenVinoRuntime:
    """Compiles a part of one graph for each set of heads; all parts share its weights."""

    def __init__(self, graph: Any, precision: str):
        """Takes a graph with the outputs of all heads.

        Args:
          graph: an ``openvino.Model``.
          precision: a choice of :data:`extraction.runtimes.PRECISIONS`; of int8 the graph is quantised already.

        Raises:
          InputError: the processor does not compute in it.
        """
        self._graph, self._core = graph, openvino().Core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision in NEEDS and NEEDS[precision] not in able:
            raise InputError(f"This processor has no {precision}; OpenVINO finds {', '.join(able)}.")
        rest = HINTS[precision] if "BF16" in able else "f32"
        self._options = {"INFERENCE_PRECISION_HINT": rest, "PERFORMANCE_HINT": "LATENCY"}

    def network(self, heads: tuple[str, ...]) -> Network:
        """See :class:`extraction.runtimes.Runtime`."""
        names = [name for head in heads for name in OUTPUTS[head]]
        part = openvino().Model([self._graph.output(name) for name in names], self._graph.get_parameters(), "delg")
        compiled = self._core.compile_model(part, "CPU", self._options)
        requests = local()

        def run(images: Any) -> dict[str, Any]:
            if not hasattr(requests, "own"):
                requests.own = compiled.create_infer_request()
            values = requests.own.infer([np.ascontiguousarray(images, np.float32)], share_inputs=True)
            return {name: values[name] for name in names}

        return run


def build(model: "Delg", precision: str, folder: str | None) -> OpenVinoRuntime:
    """See :func:`extraction.runtimes.start`."""
    if precision != "int8":
        return OpenVinoRuntime(openvino_model(model, model.head_names), precision)
    path = Path(folder or "", INT8_FILE)
    if folder is None or not path.is_file():
        raise InputError(f"int8 needs a calibration: {path} is not there; delg-calibrate --precision=int8 makes it.")
    return OpenVinoRuntime(openvino().Core().read_model(path), precision)

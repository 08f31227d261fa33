"""The network on OpenVINO, on the processor: in float32, bfloat16, or int8 after a calibration."""

import hashlib
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np

from delg.exporting.openvino import openvino, openvino_model
from extraction.runtimes import Network
from extraction.settings import model_digest
from protos.errors import InputError
from protos.files import sha256

if TYPE_CHECKING:
    from delg.model import Delg

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}  # of what is not in int8
NEEDS = {"bfloat16": "BF16", "int8": "INT8"}
OUTPUTS = {"global": ("global_descriptor",), "local": ("local_descriptors", "attention")}
SIZES_KEPT = {"CPU_RUNTIME_CACHE_CAPACITY": 500}
"""Layers whose code for one input size OpenVINO keeps in each stream: of ResNet-50 at seven scales those of about four
sizes of photos. By its default of 5000 the memory of a run over photos of many sizes grows by hundreds of MB."""
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
        self._options = {"INFERENCE_PRECISION_HINT": rest, **SIZES_KEPT}

    def network(self, heads: tuple[str, ...], at_once: int = 1) -> Network:
        """See :class:`extraction.runtimes.Runtime`; calls at the same time share the cores among them."""
        names = [name for head in heads for name in OUTPUTS[head]]
        part = openvino().Model([self._graph.output(name) for name in names], self._graph.get_parameters(), "delg")
        most = self._core.get_property("CPU", "RANGE_FOR_STREAMS")[1]
        compiled = self._core.compile_model(part, "CPU", self._options | {"NUM_STREAMS": min(at_once, most)})
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
    int8_digest(model, folder)
    return OpenVinoRuntime(openvino().Core().read_model(Path(folder or "", INT8_FILE)), precision)


def int8_digest(model: "Delg", folder: str | None) -> str:
    """Hexadecimal SHA-256 of a calibrated graph, checked to be of this model.

    Raises:
      InputError: there is none, or it is of other weights or switches.
    """
    path = Path(folder or "", INT8_FILE)
    again = "delg-calibrate --precision=int8 makes it."
    if folder is None or not path.is_file():
        raise InputError(f"int8 needs a calibration of the model: {path} is not there; {again}")
    graph = openvino().Core().read_model(path)
    try:
        digest = graph.get_rt_info(["delg", "digest"]).value
    except RuntimeError:
        digest = None
    if digest != graph_digest(model):
        raise InputError(f"{path} is of other weights or switches than the model; {again}")
    return hashlib.sha256((sha256(path) + sha256(path.with_suffix(".bin"))).encode()).hexdigest()


def graph_digest(model: "Delg") -> str:
    """Hexadecimal SHA-256 of all that the network's outputs depend on: its form and its weights."""
    digest = hashlib.sha256(model_digest(model.get_config()).encode())
    for weight in model.inference_model(model.head_names).weights:
        digest.update(np.ascontiguousarray(weight, np.float32).tobytes())
    return digest.hexdigest()

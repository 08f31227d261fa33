"""The network on OpenVINO, on the processor: in float32, bfloat16, or int8 after a calibration."""

import hashlib
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import sha256
from delg.exporting.openvino import openvino, openvino_model
from extraction.runtimes.kept import KeptModel
from extraction.runtimes.table import INT8, Network, Runtime
from extraction.settings import model_digest

if TYPE_CHECKING:
    from delg.model import Delg

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}  # of int8: precision of the other operations
NEEDS = {"bfloat16": "BF16", "int8": "INT8"}
OUTPUTS = {"global": ("global_descriptor",), "local": ("local_descriptors", "attention")}
SETTINGS = {"CPU_RUNTIME_CACHE_CAPACITY": 500, "ENABLE_CPU_PINNING": False}
"""The capacity is the number of layers whose code for one input size OpenVINO keeps in each stream: about four sizes of
photos for ResNet-50 at seven scales. With its default of 5000 the memory of a run over photos of many sizes grows by
hundreds of MB. A pinned thread would wait on its core for threads that decode and select, while another core is free.
"""
INT8_FILE = "openvino_int8.xml"  # in the model's folder


class OpenVinoRuntime(Runtime):
    """Compiles a part of one graph for each set of heads; all parts share the weights."""

    def __init__(self, model: "Delg | KeptModel", precision: str, folder: str | None = None):
        """Converts the model, or reads its kept graph, or its calibrated graph in int8 from the folder.

        Raises:
          InputError: the processor lacks the precision, or there is no calibration of this model.
        """
        self._core = openvino().Core()
        if isinstance(model, KeptModel):
            self._graph = self._core.read_model(model.graph)
        elif precision == INT8:
            int8_digest(model, folder)
            self._graph = self._core.read_model(Path(folder or "", INT8_FILE))
        else:
            self._graph = openvino_model(model, model.head_names)
        self._moved = without_transposes(self._graph)
        capabilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision in NEEDS and NEEDS[precision] not in capabilities:
            raise InputError(f"This processor has no {precision}; OpenVINO finds {', '.join(capabilities)}.")
        hint = HINTS[precision] if "BF16" in capabilities else "f32"
        self._options = {"INFERENCE_PRECISION_HINT": hint, **SETTINGS}

    def network(self, heads: tuple[str, ...], at_once: int = 1) -> Network:
        """See :class:`extraction.runtimes.table.Runtime`; calls at the same time share the cores among them."""
        names = [name for head in heads for name in OUTPUTS[head]]
        part = openvino().Model([self._graph.output(name) for name in names], self._graph.get_parameters(), "delg")
        most = self._core.get_property("CPU", "RANGE_FOR_STREAMS")[1]
        compiled = self._core.compile_model(part, "CPU", self._options | {"NUM_STREAMS": min(at_once, most)})
        requests = local()

        def run(images: Any) -> dict[str, Any]:
            if not hasattr(requests, "own"):
                requests.own = compiled.create_infer_request()
            values = requests.own.infer([np.ascontiguousarray(images, np.float32)], share_inputs=True)
            return {name: in_order(values[name], self._moved.get(name)) for name in names}

        return run


def in_order(values: Any, axes: tuple[int, ...] | None) -> Any:
    """A view with its axes in another order; None leaves them."""
    return values if axes is None else values.transpose(axes)


def without_transposes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Removes transpositions of two kinds from a graph, which OpenVINO would compute where sizes are not fixed.

    These are transpositions that undo another one, and the last operations of outputs.

    Args:
      graph: an ``openvino.Model``, which is changed.

    Returns:
      For each changed output by name, the order of axes that restores the original output.
    """
    for node in graph.get_ordered_ops():
        order = _order(node)
        again = _order(node.input_value(0).get_node()) if order else ()
        if again and [again[axis] for axis in order] == sorted(order):
            node.output(0).replace(node.input_value(0).get_node().input_value(0))
    moved: dict[str, tuple[int, ...]] = {}
    for result in graph.get_results():
        last = result.input_value(0)
        order = _order(last.get_node())
        if order:
            before, names = last.get_node().input_value(0), last.get_names()
            result.input(0).replace_source_output(before)
            last.set_names(set())
            before.add_names(names)
            moved |= dict.fromkeys(names, order)
    graph.validate_nodes_and_infer_types()
    return moved


def _order(node: Any) -> tuple[int, ...]:
    """The order of axes of a transposition; empty for another operation."""
    if node.get_type_name() != "Transpose" or node.input_value(1).get_node().get_type_name() != "Constant":
        return ()
    return tuple(int(axis) for axis in node.input_value(1).get_node().data)


def int8_digest(model: "Delg", folder: str | None) -> str:
    """Hexadecimal SHA-256 of a calibrated graph of this model.

    Raises:
      InputError: there is no such graph, or it was made with other weights or switches.
    """
    path = Path(folder or "", INT8_FILE)
    again = "delg-calibrate --precision=int8 makes it."
    if folder is None or not path.is_file():
        raise InputError(f"int8 needs a calibration of the model: {path} does not exist; {again}")
    graph = openvino().Core().read_model(path)
    try:
        digest = graph.get_rt_info(["delg", "digest"]).value
    except RuntimeError:
        digest = None
    if digest != graph_digest(model):
        raise InputError(f"{path} was made with other weights or switches than the model's; {again}")
    return hashlib.sha256((sha256(path) + sha256(path.with_suffix(".bin"))).encode()).hexdigest()


def graph_digest(model: "Delg") -> str:
    """Hexadecimal SHA-256 of everything that the network's outputs depend on: its configuration and its weights."""
    digest = hashlib.sha256(model_digest(model.get_config()).encode())
    for weight in model.inference_model(model.head_names).weights:
        digest.update(np.ascontiguousarray(weight, np.float32).tobytes())
    return digest.hexdigest()

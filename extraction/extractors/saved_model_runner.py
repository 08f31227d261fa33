"""Loads a SavedModel with a released signature, of TensorFlow 1 or 2, and calls it by the official names."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError, first_line
from delg.common.files import sha256

PROGRAM = "saved_model.pb"
SIGNATURE = "serving_default"
INPUTS: dict[str, type] = {  # in the order in which the released extractor feeds a model of TensorFlow 1
    "input_image": np.uint8,
    "input_scales": np.float32,
    "input_abs_thres": np.float32,
    "input_max_feature_num": np.int32,
    "input_global_scales_ind": np.int32,
}
LOCAL = ("boxes", "features", "scales", "scores")
GLOBAL = ("global_descriptors", "global_descriptor")
HEADS = {"features": "local", **dict.fromkeys(GLOBAL, "global")}
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Runner:
    """A loaded model.

    Attributes:
      inputs: its official inputs.
      outputs: its official outputs: all of ``LOCAL`` or none, and one of ``GLOBAL`` or none.
      signature: ``"serving_default"``, or ``"tensors"`` for a call by tensor names (TensorFlow 1).
      dimensions: values of a ``"global"`` and of a ``"local"`` descriptor, where the graph has fixed ones.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    signature: str
    call: Callable[[dict[str, Any]], dict[str, Any]] = field(repr=False)
    dimensions: dict[str, int] = field(default_factory=dict)

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads of the outputs: ``"global"``, ``"local"``, or both."""
        outputs_of = {"global": bool(set(GLOBAL) & set(self.outputs)), "local": LOCAL[0] in self.outputs}
        return tuple(head for head, present in outputs_of.items() if present)

    def __call__(self, **values: Any) -> Arrays:
        """Runs the model.

        Args:
          **values: the official inputs; inputs that the model lacks are ignored.

        Returns:
          The official outputs by name.

        Raises:
          RuntimeError: the graph does not accept these values.
        """
        import tensorflow as tf

        fed = {name: tf.constant(np.asarray(values[name], INPUTS[name])) for name in self.inputs}
        try:
            return {name: value.numpy() for name, value in self.call(fed).items()}
        except tf.errors.InvalidArgumentError as error:
            raise RuntimeError(first_line(error)) from error


def is_saved_model(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a SavedModel."""
    return (Path(folder) / PROGRAM).is_file()


def load_runner(folder: str | os.PathLike[str]) -> Runner:
    """Loads a SavedModel.

    Raises:
      InputError: TensorFlow is not installed, the folder is not a SavedModel, is damaged, or its signature is not a
        released one.
    """
    if not is_saved_model(folder):
        raise InputError(f"{os.fspath(folder)} is not a SavedModel: expected {PROGRAM} in it.")
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InputError("A SavedModel needs TensorFlow; install it with: pip install tensorflow") from error
    try:
        model = tf.saved_model.load(os.fspath(folder))
    except Exception as error:  # damaged files raise errors of many kinds
        reason = first_line(error)
        raise InputError(f"{os.fspath(folder)} cannot be loaded as a SavedModel: {reason}") from error
    runner = _by_tensors(model) or _by_signature(model)
    if runner is None:
        raise InputError(
            f"{os.fspath(folder)} has no released signature: expected the input input_image and the outputs "
            f"{', '.join(LOCAL)}, or {' or '.join(GLOBAL)}. {_signatures(model)}"
        )
    return runner


def digest(folder: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 over the program, the variables and the assets of a SavedModel: names and own digests."""
    place = Path(folder)
    parts = (path for part in ("assets", "variables") for path in (place / part).rglob("*"))
    files = [place / PROGRAM, *sorted(path for path in parts if path.is_file())]
    lines = [f"{path.relative_to(place).as_posix()} {sha256(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _official(outputs: set[str]) -> tuple[str, ...]:
    """The official outputs of a model; no local outputs where they are incomplete."""
    local = LOCAL if set(LOCAL) <= outputs else ()
    return (*local, *[name for name in GLOBAL if name in outputs][:1])


def _dimensions(outputs: dict[str, Any]) -> dict[str, int]:
    """The last dimension of the descriptors, where their shape is known."""
    shapes = {head: outputs[name].shape for name, head in HEADS.items() if name in outputs}
    return {head: int(shape[-1]) for head, shape in shapes.items() if shape.rank and shape[-1] is not None}


def _by_tensors(model: Any) -> Runner | None:
    """A model of TensorFlow 1: the part of its graph between the official tensors, as in the released extractor."""
    if not hasattr(model, "prune"):
        return None
    present = {operation.name for operation in model.graph.get_operations()}
    outputs = _official(present)
    inputs = tuple(name for name in INPUTS if name in present)
    if not outputs or "input_image" not in inputs:
        return None
    function = model.prune([f"{name}:0" for name in inputs], {name: f"{name}:0" for name in outputs})
    dimensions = _dimensions({name: function.structured_outputs[name] for name in outputs})
    return Runner(inputs, outputs, "tensors", lambda fed: function(*(fed[name] for name in inputs)), dimensions)


def _by_signature(model: Any) -> Runner | None:
    """A model with ``serving_default``."""
    function = getattr(model, "signatures", {}).get(SIGNATURE)
    if function is None:
        return None
    given = set(function.structured_input_signature[1])
    outputs = _official(set(function.structured_outputs))
    if not outputs or "input_image" not in given or given - set(INPUTS):
        return None
    inputs = tuple(name for name in INPUTS if name in given)

    def call(fed: dict[str, Any]) -> dict[str, Any]:
        result = function(**fed)
        return {name: result[name] for name in outputs}

    return Runner(inputs, outputs, SIGNATURE, call, _dimensions(function.structured_outputs))


def _signatures(model: Any) -> str:
    """The signatures of a model, for an error message."""
    signatures = getattr(model, "signatures", {})
    texts = [
        f"{name}({', '.join(sorted(function.structured_input_signature[1]))}) -> "
        f"{', '.join(sorted(function.structured_outputs))}"
        for name, function in signatures.items()
    ]
    return f"Found: {'; '.join(texts) or 'no signature'}."

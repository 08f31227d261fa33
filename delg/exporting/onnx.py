"""A model as an ONNX file."""

import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from delg.common.extras import needs_extra
from delg.common.files import atomic_path, write_json
from delg.exporting.batch import batch_function

if TYPE_CHECKING:
    from delg.model import Delg

OPSET = 17
FILE = "model.onnx"
EXTRACTION = "extraction.json"


def converter() -> ModuleType:
    """The package that converts.

    Raises:
      InputError: it is not installed.
    """
    try:
        import tf2onnx
    except ImportError as error:
        raise needs_extra("ONNX", "onnx") from error
    return tf2onnx


def onnx_document(function: Any) -> Any:
    """A ``tf.function`` with an input signature as ONNX's ``ModelProto``.

    Raises:
      InputError: the extra ``onnx`` is not installed.
    """
    document, _ = converter().convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    return document


def write_onnx(model: "Delg", heads: tuple[str, ...], normalize: bool, folder: str | os.PathLike[str]) -> list[str]:
    """Writes ``model.onnx`` and, beside it, the model's own scales and limits as ``extraction.json``.

    The input ``images`` is ``(B, H, W, 3)`` float32 RGB with values 0..255, of any size; the outputs are those of
    :func:`delg.exporting.batch.batch_function`. Scales are the caller's business.

    Args:
      model: see :class:`delg.model.Delg`.
      heads: what is computed.
      normalize: L2-normalise the global descriptor.
      folder: an empty or absent one.

    Returns:
      A line with the signature.

    Raises:
      InputError: the extra ``onnx`` is not installed.
    """
    converter()
    import tensorflow as tf

    images = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
    describe = tf.function(batch_function(model, heads, normalize), input_signature=[images], autograph=False)
    document = onnx_document(describe)
    _name_sides(document.graph.input, ("batch", "height", "width"))
    _name_sides(document.graph.output, ("batch", "rows", "columns"))
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / FILE).write_bytes(document.SerializeToString())
        write_json(temporary / EXTRACTION, model.extraction)
    outputs = ", ".join(value.name for value in document.graph.output)
    return [f"{Path(folder) / FILE}: (images float32 (batch, height, width, 3)) -> {outputs}"]


def _name_sides(values: Any, names: tuple[str, ...]) -> None:
    """Gives the free sides of inputs or outputs readable names."""
    for value in values:
        for name, side in zip(names, value.type.tensor_type.shape.dim):
            if not side.dim_value:
                side.dim_param = name

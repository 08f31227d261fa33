"""The options of ``delg-export``, checked before any work. Imports nothing heavy."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from delg.common.errors import InputError
from delg.common.options import CHOICES, option

if TYPE_CHECKING:
    from delg.model import Delg

RELEASED_KINDS = ("local", "global", "local_and_global")
SHARED = "safetensors"
KINDS = (*RELEASED_KINDS, "batch", "onnx", SHARED)
POOLS = ("None", "average", "sum")
SCALE_RULES = ("delg", "superglobal")
KINDS_OF = {  # the kinds that an option applies to
    "multi_scale_pool_type": ("global",),
    "input_scales_list": ("global",),
    "normalize_global_descriptor": ("global", "batch", "onnx"),
    "iou": ("local", "local_and_global"),
    "scale_rule": RELEASED_KINDS,
    "report": (SHARED,),
    "licence": (SHARED,),
}


@dataclass(frozen=True)
class ExportOptions:
    """The choices of one export; names and defaults are those of the released flags."""

    model: str | None = option(None, "The model folder, or published weights. Required.")
    output_dir: str | None = option(None, "Folder of the export; absent or empty. Required.")
    kind: str = option(
        "local_and_global",
        "Signature: local, global and local_and_global are the released ones, for one image and its scales; batch "
        "takes uint8 or float images of one size; onnx writes model.onnx for float images of one size; safetensors "
        "writes a model folder to be shared, with a model card.",
        choices=KINDS,
    )
    multi_scale_pool_type: str = option(
        "None",
        "How to combine the global descriptors of the scales; None gives one row for each scale. Kind global only.",
        choices=POOLS,
    )
    input_scales_list: tuple[float, ...] | None = option(
        None, "Fixed scales; the image is then the only input. Kind global only."
    )
    normalize_global_descriptor: bool = option(
        False, "L2-normalise each global descriptor, after combining scales. Not for local kinds."
    )
    iou: float = option(
        1.0,
        "Drop a local feature whose box overlaps that of a better one by more than this; 1 keeps all.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    scale_rule: str | None = option(
        None,
        "How scaled sides become whole pixels: delg rounds halves to even (released), superglobal rounds down. "
        "Default: the model's rule. Released kinds only.",
        choices=SCALE_RULES,
    )
    report: tuple[str, ...] | None = option(
        None,
        "report.json of delg-benchmark for the model card, or several, separated by commas. Kind safetensors only.",
    )
    licence: str | None = option(
        None,
        "Licence of the model for its card, as the Hub calls it, such as apache-2.0. Default: that of published "
        "weights. Kind safetensors only.",
    )

    def __post_init__(self) -> None:
        for field in fields(self):
            value, choices = getattr(self, field.name), field.metadata[CHOICES]
            if choices and value not in (*choices, field.default):
                raise InputError(f"Unknown {field.name} {value!r}; the choices are {', '.join(choices)}.")
            kinds = KINDS_OF.get(field.name, KINDS)
            if value != field.default and self.kind not in kinds:
                raise InputError(f"--{field.name} needs --kind among {', '.join(kinds)}. Received: {self.kind}")
        if not 0 <= self.iou <= 1:
            raise InputError(f"--iou expects a number from 0 to 1. Received: {self.iou}")
        scales = self.input_scales_list
        if scales is not None and (not scales or not all(0 < scale < float("inf") for scale in scales)):
            raise InputError(f"--input_scales_list expects factors above 0. Received: {list(scales)}")

    def heads(self, model: "Delg") -> tuple[str, ...]:
        """The heads that this export computes.

        Raises:
          InputError: the model has no local head and the kind needs it.
        """
        fixed = {"local": ("local",), "global": ("global",), "local_and_global": ("global", "local")}
        heads = fixed.get(self.kind, model.head_names)
        if set(heads) - set(model.head_names):
            raise InputError(f"The model has no local head; expected the kind global, batch or onnx, not {self.kind}.")
        return heads

    def rule(self, model: "Delg") -> str:
        """The scale rule of the graph.

        Raises:
          InputError: the model's own rule cannot be part of a graph.
        """
        rule = self.scale_rule or model.extraction.get("scale_rule", "delg")
        if rule not in SCALE_RULES:
            raise InputError(
                f"The model's scale_rule {rule!r} is not an operation of TensorFlow; expected one of "
                f"{', '.join(SCALE_RULES)} given as --scale_rule, or the kind batch or onnx."
            )
        return rule

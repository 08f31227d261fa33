"""What is exported, checked before any work."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from delg.common.errors import InputError

if TYPE_CHECKING:
    from delg.model import Delg

RELEASED_KINDS = ("local", "global", "local_and_global")
KINDS = (*RELEASED_KINDS, "batch", "onnx")
POOLS = ("None", "average", "sum")
SCALE_RULES = ("delg", "superglobal")


@dataclass(frozen=True)
class ExportOptions:
    """The choices of one export; names and defaults are the released flags'.

    Attributes:
      kind: ``local``, ``global`` and ``local_and_global`` are the released signatures, for one image and its scales;
        ``batch`` takes images of one size; ``onnx`` is the same for ONNX.
      multi_scale_pool_type: ``average`` or ``sum`` of the global descriptors over the scales; ``None`` (the text)
        gives one row a scale. Kind ``global`` only.
      input_scales_list: fixes the scales, all of them global; the image is the only input then. Kind ``global`` only.
      normalize_global_descriptor: L2-normalise each global descriptor, after pooling over the scales.
      iou: a local feature whose box overlaps that of a better one by more is dropped; 1 keeps all.
      scale_rule: how sides times a scale become whole pixels: ``delg`` rounds halves to even, as released,
        ``superglobal`` cuts down; None is the model's own rule.
    """

    kind: str = "local_and_global"
    multi_scale_pool_type: str = "None"
    input_scales_list: tuple[float, ...] | None = None
    normalize_global_descriptor: bool = False
    iou: float = 1.0
    scale_rule: str | None = None

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("kind", self.kind, KINDS),
            ("multi_scale_pool_type", self.multi_scale_pool_type, POOLS),
            ("scale_rule", self.scale_rule, (None, *SCALE_RULES)),
        ):
            if value not in choices:
                raise InputError(f"Unknown {name} {value!r}; the choices are {', '.join(map(str, choices))}.")
        self._belongs("multi_scale_pool_type", self.multi_scale_pool_type != "None", ("global",))
        self._belongs("input_scales_list", self.input_scales_list is not None, ("global",))
        self._belongs("normalize_global_descriptor", self.normalize_global_descriptor, ("global", "batch", "onnx"))
        self._belongs("iou", self.iou != 1.0, ("local", "local_and_global"))
        self._belongs("scale_rule", self.scale_rule is not None, RELEASED_KINDS)
        if not 0 <= self.iou <= 1:
            raise InputError(f"iou expects a number from 0 to 1. Received: {self.iou}")
        scales = self.input_scales_list
        if scales is not None and (not scales or not all(0 < scale < float("inf") for scale in scales)):
            raise InputError(f"input_scales_list expects factors above 0. Received: {list(scales)}")

    def _belongs(self, name: str, given: bool, kinds: tuple[str, ...]) -> None:
        if given and self.kind not in kinds:
            raise InputError(f"{name} belongs to the kinds {', '.join(kinds)}. Received: kind={self.kind!r}")

    def heads(self, model: "Delg") -> tuple[str, ...]:
        """The heads that this export computes.

        Raises:
          InputError: the model has no local head and the kind asks for it.
        """
        asked = {"local": ("local",), "global": ("global",), "local_and_global": ("global", "local")}
        heads = asked.get(self.kind, model.head_names)
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

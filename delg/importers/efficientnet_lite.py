"""Checkpoints of EfficientNet-Lite in PyTorch (efficientnet-lite-pytorch), without PyTorch.

The files are streams of PyTorch before 1.6, and their tensors have the strides of the TensorFlow arrays that they were
made of.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from delg.backbones.efficientnet_lite import VARIANTS, blocks_of
from delg.common.torch_file import state_dict
from delg.common.torch_pickle import Tensor
from delg.importers.names import TORCH_LEAVES
from delg.importers.source import Stored, WeightSource

PARTS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
IGNORED = re.compile(r"_fc\.(weight|bias)|.*\.num_batches_tracked")  # the ImageNet classifier, and unused counters
_LAYER = re.compile(r"(?:block(\d+)_)?(\w+)/(\w+)")
_HEADS = ("pooling/", "embedding_layer/", "local_head/", "classifier/", "att_fc/")


def is_efficientnet_lite(names: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of an EfficientNet in PyTorch."""
    return any(name.startswith(("_conv_stem.", "_blocks.", "_conv_head.")) for name in names)


def efficientnet_lite(path: Path) -> WeightSource:
    """Lite0, Lite1 or Lite2: every weight but those of the classifier.

    Raises:
      InputError: the file cannot be read.
    """
    tensors = state_dict(path)
    weights = {name: tensor for name, tensor in tensors.items() if not IGNORED.fullmatch(name)}
    return WeightSource(
        format="efficientnet_lite",
        preset=f"efficientnet_lite{variant_of(weights)}",
        overrides={},
        files=(path,),
        stored={name: Stored(tensor.shape, tensor.array) for name, tensor in weights.items()},
        name=name_in_file,
        torch_layout=True,
        notes=(f"{len(tensors) - len(weights)} of {len(tensors)} entries have no place in this model.",),
    )


def variant_of(tensors: Mapping[str, Tensor]) -> int:
    """The variant whose projections most of the file's projections look like."""

    def alike(variant: int) -> int:
        blocks = blocks_of(variant)
        shapes = [(block.channels, block.expanded, 1, 1) for block in blocks]
        stored = [tensors.get(f"_blocks.{i}._project_conv.weight") for i in range(len(blocks))]
        same = sum(tensor is not None and tensor.shape == shape for tensor, shape in zip(stored, shapes, strict=True))
        return same - stored.count(None)

    return max(range(len(VARIANTS)), key=alike)


def name_in_file(variable: str) -> str | None:
    """The name of one of our variables; None for those of the heads.

    >>> name_in_file("block3_depthwise_bn/gamma")
    '_blocks.3._bn1.weight'
    """
    if variable.startswith(_HEADS):
        return None
    match = _LAYER.fullmatch(variable)
    assert match is not None, variable
    block, layer, leaf = match.groups()
    prefix = "" if block is None else f"_blocks.{block}."
    return f"{prefix}{PARTS[layer]}.{TORCH_LEAVES[leaf]}"

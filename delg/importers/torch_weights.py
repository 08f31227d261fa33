"""Checkpoints of CVNet and SuperGlobal (one network) and of the PyTorch DELG.

References:
  CVNet `core/checkpoint.py` and SuperGlobal: files `CVPR2022_CVNet_R50.pyth`, `..._R101.pyth`; the PyTorch DELG of
  feymanpriv: `model_epoch_0100.pyth`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from delg.common.torch_file import state_dict
from delg.common.torch_pickle import Tensor
from delg.importers.efficientnet_lite import is_efficientnet_lite
from delg.importers.names import depth_of, torch_name
from delg.importers.source import Stored, WeightSource
from delg.importers.vit_weights import vit_format

PREFIXES = ("encoder_q.", "globalmodel.", "")
KNOWN = re.compile(r"(stem|s[1-4]\.b\d+|head)\.")
LOCAL_PART = "localmodel."
CVNET_IGNORED = ("encoder_k.", "queue", "conv2ds.", "cv_learner.")
DELG_IGNORED = ("desc_cls.", "att_cls.")
UNTRAINED = {"seb1", "seb2", "sefc"}
COUNTER = "num_batches_tracked"


def cvnet(path: Path) -> WeightSource:
    """CVNet's checkpoint: the global branch; the reranking branch has no place in our model and is left out."""
    return _source(path, "cvnet", CVNET_IGNORED)


def superglobal(path: Path) -> WeightSource:
    """The same checkpoint, for a model that extracts as SuperGlobal does."""
    return _source(path, "superglobal", CVNET_IGNORED)


def delg_pytorch(path: Path) -> WeightSource:
    """The PyTorch DELG: both heads, without its classifiers (CurricularFace, and attention on reduced channels)."""
    return _source(path, "delg_pytorch", DELG_IGNORED)


def torch_format(path: Path) -> str:
    """Which format a file has, by its names.

    Raises:
      InputError: it cannot be read.
    """
    names = state_dict(path)
    family = vit_format(names)
    if family:
        return family
    if is_efficientnet_lite(names):
        return "efficientnet_lite"
    if any(LOCAL_PART in name for name in names):
        return "delg_pytorch"
    return "superglobal" if any(UNTRAINED & set(name.split(".")) for name in names) else "cvnet"


def prefix_of(names: Iterable[str]) -> str:
    """What stands before the names of the global branch: the prefix under which most of them are known."""
    names = list(names)
    choices = [outer + inner for inner in PREFIXES for outer in ("", "module.")]
    return max(
        choices,
        key=lambda prefix: sum(name.startswith(prefix) and bool(KNOWN.match(name, len(prefix))) for name in names),
    )


def units_in(names: Iterable[str], prefix: str) -> int:
    """The number of units in the third stage of CVNet's names, our stage 4."""
    return len({match[1] for name in names if (match := re.match(re.escape(prefix) + r"s3\.(b\d+)\.", name))})


def _source(path: Path, family: str, ignored: tuple[str, ...]) -> WeightSource:
    tensors = state_dict(path)
    prefix = prefix_of(tensors)
    outer = "module." if prefix.startswith("module.") else ""

    def is_weight(name: str) -> bool:
        inner = name.removeprefix(outer)
        return not inner.startswith(ignored) and not (UNTRAINED | {COUNTER}) & set(inner.split("."))

    def name_in_file(variable: str) -> str:
        name = torch_name(variable)
        return (outer if name.startswith(LOCAL_PART) else prefix) + name

    weights = {name: _stored(tensor) for name, tensor in tensors.items() if is_weight(name)}
    overrides = {}
    fc = tensors.get(f"{prefix}head.fc.weight")
    if fc is not None and fc.shape:
        overrides["embedding_dim"] = fc.shape[0]
    hidden = tensors.get(f"{outer}{LOCAL_PART}conv1.weight")
    if family == "delg_pytorch" and hidden is not None and hidden.shape:
        overrides["attention_channels"] = hidden.shape[0]
    left_out = len(tensors) - len(weights)
    return WeightSource(
        format=family,
        preset=f"{family}_{depth_of(units_in(tensors, prefix))}",
        overrides=overrides,
        files=(path,),
        stored=weights,
        name=name_in_file,
        torch_layout=True,
        notes=(f"{left_out} of {len(tensors)} entries have no place in this model and were left out.",),
    )


def _stored(tensor: Tensor) -> Stored:
    return Stored(tensor.shape, tensor.array)

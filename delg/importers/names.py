"""What the published formats call the weights of our model.

Every function takes the path of one of our variables, such as ``res3b_branch2a/kernel``, and gives its name in a
format. Stages count from 2 to 5 and units from ``a`` in our names, as in the released DELG code.
"""

import re
from typing import NamedTuple

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
TORCH_LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
CONVOLUTION = ("kernel", "bias")
NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
ATTENTION = "local_head/attention/"
AUTOENCODER = "local_head/autoencoder/"
_UNIT = re.compile(r"(res|bn)([2-5])([a-z])_branch(2[abc]|1)/(\w+)")


class Unit(NamedTuple):
    """A weight inside a bottleneck unit.

    Attributes:
      normalization: it belongs to a batch normalisation, else to a convolution.
      stage: 2 to 5.
      letter: of the unit, from ``a``.
      branch: ``2a``, ``2b``, ``2c``, or ``1`` for the projection of the skip connection.
      leaf: ``kernel``, ``gamma``, ...
    """

    normalization: bool
    stage: int
    letter: str
    branch: str
    leaf: str

    @property
    def number(self) -> int:
        """Position of the unit in its stage, from 1."""
        return ord(self.letter) - ord("a") + 1


def unit_of(path: str) -> Unit | None:
    """The unit that a variable lies in; None for the stem and the heads."""
    match = _UNIT.fullmatch(path)
    if match is None:
        return None
    kind, stage, letter, branch, leaf = match.groups()
    return Unit(kind == "bn", int(stage), letter, branch, leaf)


def depth_of(units: int) -> str:
    """``r50`` or ``r101``, whichever has nearer to so many units in stage 4: they have 6 and 23."""
    return "r101" if units >= 15 else "r50"


def torch_name(path: str) -> str:
    """The name in CVNet and in the PyTorch DELG, without the prefix of the whole network."""
    unit, leaf = unit_of(path), path.rpartition("/")[2]
    if unit is not None:
        block = f"s{unit.stage - 1}.b{unit.number}"
        if unit.branch == "1":
            part = "bn" if unit.normalization else "proj"
        else:
            part = f"f.{unit.branch[1]}{'_bn' if unit.normalization else ''}"
        return f"{block}.{part}.{TORCH_LEAVES[unit.leaf]}"
    if path == "pooling/p":
        return "head.pool.p"
    layer = {"conv1": "stem.conv", "bn_conv1": "stem.bn", "embedding_layer": "head.fc"}.get(path.rpartition("/")[0])
    if layer is None:
        layer = path.rpartition("/")[0].replace("local_head/", "localmodel.").replace("/", ".")
    return f"{layer}.{TORCH_LEAVES.get(leaf, leaf)}"


def checkpoint_name(path: str) -> str:
    """The place in the object graph of the released Keras model, without ``/.ATTRIBUTES/VARIABLE_VALUE``."""
    unit = unit_of(path)
    if unit is not None:
        part = "bn" if unit.normalization else "conv"
        part += "_shortcut" if unit.branch == "1" else unit.branch
        return f"backbone/l{unit.stage}{unit.letter}/{part}/{unit.leaf}"
    if path.startswith(ATTENTION):
        return path.removeprefix("local_head/").replace("attn_", "")
    if path.startswith(AUTOENCODER):
        return path.removeprefix("local_head/").replace("autoenc_", "")
    if path.startswith("classifier/"):
        return path.removeprefix("classifier/")
    if path.startswith("att_fc/"):
        return path.replace("att_fc/", "attn_classification/")
    return f"backbone/{path}"


def variable_name(path: str) -> str:
    """The TensorFlow variable's own name in the released Keras model, without ``:0``."""
    if path.startswith(("local_head/", "classifier/")):
        return path.partition("/")[2]
    return path


def numbered_name(path: str) -> str | None:
    """The place in an exported model whose units list their variables by number; None where it has a plain name.

    Numbers follow the order in which the layers of a unit are made: convolution, then normalisation.
    """
    unit = unit_of(path)
    if unit is not None:
        first = 18 if unit.branch == "1" else 6 * "abc".index(unit.branch[1])
        place = NORMALIZATION.index(unit.leaf) + 2 if unit.normalization else CONVOLUTION.index(unit.leaf)
        return f"backbone/l{unit.stage}{unit.letter}/variables/{first + place}"
    head, _, leaf = path.rpartition("/")
    if path.startswith(ATTENTION):
        order = [("attn_conv1", CONVOLUTION), ("bn_conv1", NORMALIZATION), ("attn_conv2", CONVOLUTION)]
    elif path.startswith(AUTOENCODER):
        order = [("autoenc_conv1", CONVOLUTION), ("autoenc_conv2", CONVOLUTION)]
    else:
        return None
    flat = [(layer, name) for layer, leaves in order for name in leaves]
    return f"{head.split('/')[1]}/variables/{flat.index((head.rpartition('/')[2], leaf))}"


def applications_name(path: str) -> str:
    """Layer and leaf in ``keras.applications``' ResNets of version 1."""
    unit = unit_of(path)
    if unit is not None:
        part = "0" if unit.branch == "1" else str("abc".index(unit.branch[1]) + 1)
        return f"conv{unit.stage}_block{unit.number}_{part}_{'bn' if unit.normalization else 'conv'}/{unit.leaf}"
    return path.replace("bn_conv1/", "conv1_bn/") if path.startswith("bn_") else path.replace("conv1/", "conv1_conv/")

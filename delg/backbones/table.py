"""The backbones that can be chosen by name."""

import inspect
from typing import Any, NamedTuple

from delg.backbones.base import Backbone
from delg.backbones.efficientnet_lite import efficientnet_lite
from delg.backbones.resnet import RELEASED, SMALL, SYMMETRIC, Convention, resnet
from delg.backbones.squeezenet import squeezenet
from delg.backbones.vit import ANTIALIASED, PLAIN, QUERY, ROTARY, VALUE, Architecture, vit
from delg.common.errors import InputError
from delg.common.spec import Table, build, factory_of, parse

WIDTHS = (64, 128, 256, 512)
CONVENTIONS = {"released": RELEASED, "symmetric": SYMMETRIC}


class VitSize(NamedTuple):
    """The size of a vision transformer, see :class:`delg.backbones.vit.Architecture`.

    ``biased`` says whether the projections of attention have the biases of their family.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    gated: bool = False
    biased: bool = True


DINOV2 = {
    "small": VitSize(384, 12, 6, 1536),
    "base": VitSize(768, 12, 12, 3072),
    "large": VitSize(1024, 24, 16, 4096),
    "giant": VitSize(1536, 40, 24, 4096, gated=True),
}
DINOV3 = {
    "s16": VitSize(384, 12, 6, 1536),
    "s16plus": VitSize(384, 12, 6, 1536, gated=True),
    "b16": VitSize(768, 12, 12, 3072),
    "l16": VitSize(1024, 24, 16, 4096),
    "l16plus": VitSize(1024, 24, 16, 4096, gated=True),
    "h16plus": VitSize(1280, 32, 20, 5120, gated=True),
    "7b16": VitSize(4096, 40, 32, 8192, gated=True, biased=False),
}
SIGLIP = {
    "base": VitSize(768, 12, 12, 3072),
    "large": VitSize(1024, 24, 16, 4096),
    "so400m": VitSize(1152, 27, 16, 4304),
    "giant": VitSize(1536, 40, 16, 6144),
}


def _choose(convention: str) -> Convention:
    if convention not in CONVENTIONS:
        raise InputError(f"Unknown ResNet convention {convention!r}; the choices are {', '.join(CONVENTIONS)}.")
    return CONVENTIONS[convention]


def _switches(block3_strides: bool, relup: bool, stage1_inner_leak: bool) -> dict[str, Any]:
    """The switches that every ResNet has, checked."""
    switches = {"block3_strides": block3_strides, "relup": relup, "stage1_inner_leak": stage1_inner_leak}
    for name, value in switches.items():
        if type(value) is not bool:
            raise InputError(f"The backbone's {name} expects True or False. Received: {value!r}")
    return switches


def resnet50(
    convention: str = "released", block3_strides: bool = False, relup: bool = False, stage1_inner_leak: bool = False
) -> Backbone:
    """ResNet-50: 16 bottleneck units, ``block3`` of 1024 channels, ``block4`` of 2048."""
    return resnet((3, 4, 6, 3), WIDTHS, _choose(convention), **_switches(block3_strides, relup, stage1_inner_leak))


def resnet101(
    convention: str = "released", block3_strides: bool = False, relup: bool = False, stage1_inner_leak: bool = False
) -> Backbone:
    """ResNet-101: 33 bottleneck units, ``block3`` of 1024 channels, ``block4`` of 2048."""
    return resnet((3, 4, 23, 3), WIDTHS, _choose(convention), **_switches(block3_strides, relup, stage1_inner_leak))


def resnet_small(
    depths: tuple[int, int, int, int] = (1, 2, 2, 2),
    widths: tuple[int, int, int, int] = (24, 48, 64, 128),
    block3_strides: bool = False,
    relup: bool = False,
    stage1_inner_leak: bool = False,
) -> Backbone:
    """A thin ResNet of 7 basic units for small images on a CPU: ``block3`` at stride 8, ``block4`` at stride 16."""
    switches = _switches(block3_strides, relup, stage1_inner_leak)
    return resnet(depths, widths, SMALL, strides=(1, 2, 1, 2), basic=True, **switches)


def _size(size: Any, sizes: dict[str, VitSize]) -> VitSize:
    """A size by its name, or by its numbers."""
    if isinstance(size, str) and size in sizes:
        return sizes[size]
    if isinstance(size, tuple | list) and 4 <= len(size) <= 6 and all(type(value) is bool for value in size[4:]):
        return VitSize(*size)
    raise InputError(
        f"Unknown size {size!r}; the choices are {', '.join(sizes)}, or (width, depth, heads, hidden, gated, biased)."
    )


def dinov2(
    size: Any = "small", registers: int = 0, positions: str | None = None, grid: int = 37, patch: int = 14
) -> Backbone:
    """DINOv2: learned positions, which are resized in one of three ways.

    Args:
      size: a name of :data:`DINOV2`, or the numbers of a :class:`VitSize`.
      registers: tokens between class token and patches; published are 0 and 4.
      positions: see :func:`delg.backbones.vit.interpolation`; None for ``"antialiased"`` with registers, ``"plain"``
        without.
      grid: side in patches of the training image.
      patch: side of a patch in pixels.
    """
    s = _size(size, DINOV2)
    kind = positions or (ANTIALIASED if registers else PLAIN)
    if kind == ROTARY:
        raise InputError("The positions of DINOv2 are learned; rotary ones are of DINOv3.")
    activation = "silu" if s.gated else "gelu"
    return vit(Architecture(*s[:4], patch, grid, kind, registers=registers, activation=activation, gated=s.gated))


def dinov3(size: Any = "s16", registers: int = 4, patch: int = 16) -> Backbone:
    """DINOv3: rotary positions, registers, keys without bias.

    Args:
      size: a name of :data:`DINOV3`, or the numbers of a :class:`VitSize`.
      registers: tokens between class token and patches; published are 4.
      patch: side of a patch in pixels.
    """
    s = _size(size, DINOV3)
    return vit(
        Architecture(
            *s[:4],
            patch,
            1,
            ROTARY,
            registers=registers,
            activation="silu" if s.gated else "gelu",
            gated=s.gated,
            biased=(QUERY, VALUE) if s.biased else (),
            epsilon=1e-5,
        )
    )


def siglip(size: Any = "base", grid: int = 14, patch: int = 16) -> Backbone:
    """The vision tower of SigLIP and SigLIP 2: no class token; :func:`delg.backbones.vit.attention_pooling` pools it.

    Args:
      size: a name of :data:`SIGLIP`, or the numbers of a :class:`VitSize`, which is not gated.
      grid: side in patches of the training image.
      patch: side of a patch in pixels.
    """
    s = _size(size, SIGLIP)
    if s.gated or not s.biased:
        raise InputError("The MLP of SigLIP is not gated, and its attention has every bias.")
    return vit(Architecture(*s[:4], patch, grid, PLAIN, class_token=False, activation="gelu_tanh", scaled=False))


BACKBONES: Table = {
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet_small": resnet_small,
    "squeezenet": squeezenet,
    "efficientnet_lite": efficientnet_lite,
    "dinov2": dinov2,
    "dinov3": dinov3,
    "siglip": siglip,
}


def build_backbone(text: str, *, block3_strides: bool = False) -> Backbone:
    """Builds a backbone such as ``"resnet50(convention='symmetric')"`` or ``"module:Class"``.

    Args:
      text: the choice.
      block3_strides: the model's argument of this name, for backbones that have it too.

    Raises:
      InputError: an unknown name, a bad argument, or ``block3_strides`` for a backbone that does not have it.
    """
    name, _ = parse(text)
    if block3_strides and "block3_strides" not in inspect.signature(factory_of(name, BACKBONES, "backbone")).parameters:
        raise InputError(f"--block3_strides is not an option of the backbone {text!r}.")
    backbone: Backbone = build(text, BACKBONES, "backbone", base=Backbone, offers={"block3_strides": block3_strides})
    return backbone

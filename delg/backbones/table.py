"""The backbones that can be chosen by name."""

import inspect
from typing import Any

from delg.backbones.base import Backbone
from delg.backbones.efficientnet_lite import efficientnet_lite
from delg.backbones.resnet import RELEASED, SMALL, SYMMETRIC, Convention, resnet
from delg.backbones.squeezenet import squeezenet
from delg.common.errors import InputError
from delg.common.spec import Table, build, factory_of, parse

WIDTHS = (64, 128, 256, 512)
CONVENTIONS = {"released": RELEASED, "symmetric": SYMMETRIC}


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


BACKBONES: Table = {
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet_small": resnet_small,
    "squeezenet": squeezenet,
    "efficientnet_lite": efficientnet_lite,
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

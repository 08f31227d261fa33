"""The backbones that can be chosen by name."""

from collections.abc import Callable

from delg.resnet import RELEASED, SMALL, SYMMETRIC, Backbone, resnet

WIDTHS = (64, 128, 256, 512)
CONVENTIONS = {"released": RELEASED, "symmetric": SYMMETRIC}


def _choose(convention: str) -> dict:
    from protos.errors import InputError

    if convention not in CONVENTIONS:
        raise InputError(f"Unknown ResNet convention {convention!r}; the choices are {', '.join(CONVENTIONS)}.")
    return {"convention": CONVENTIONS[convention]}


def resnet50(convention: str = "released", block3_strides: bool = False) -> Backbone:
    """ResNet-50: 16 bottleneck units, ``block3`` of 1024 channels, ``block4`` of 2048."""
    return resnet((3, 4, 6, 3), WIDTHS, block3_strides=block3_strides, **_choose(convention))


def resnet101(convention: str = "released", block3_strides: bool = False) -> Backbone:
    """ResNet-101: 33 bottleneck units, ``block3`` of 1024 channels, ``block4`` of 2048."""
    return resnet((3, 4, 23, 3), WIDTHS, block3_strides=block3_strides, **_choose(convention))


def resnet_small(
    depths: tuple[int, int, int, int] = (1, 2, 2, 2),
    widths: tuple[int, int, int, int] = (24, 48, 64, 128),
    block3_strides: bool = False,
) -> Backbone:
    """A thin ResNet of 7 basic units for small images on a CPU: ``block3`` at stride 8, ``block4`` at stride 16."""
    return resnet(depths, widths, SMALL, strides=(1, 2, 1, 2), block3_strides=block3_strides, basic=True)


BACKBONES: dict[str, Callable[..., Backbone]] = {
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet_small": resnet_small,
}

"""Settings that earlier versions recorded, or did not yet record, in the words of this one."""

from typing import Any

RESIZE = "pillow bilinear, antialiased, width first, side = round-half-even(side * factor)"
RESIZE_IN_ONE_CALL = "pillow bilinear, antialiased, side = round-half-even(side * factor)"
ONE_ORDER = 13  # of Pillow: before it one call resized the width first, from it on the sizes decide
WHEN_ABSENT = {
    "precision": "float32",
    "iou": 1.0,
    "runtime": "tensorflow",
    "use_global_features": True,
    "exif": "orientation ignored",
    "truncated": "skip",
    "crop_border": "cut",
    "use_resized_coordinates": False,
}


def as_now(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with the rule of resizing that is meant: one call of an older Pillow was width first, too."""
    name, _, version = str(settings.get("decoder", "")).partition(" ")
    major = version.partition(".")[0]
    older = name == "pillow" and major.isdecimal() and int(major) < ONE_ORDER
    return settings | {"resize": RESIZE} if older and settings.get("resize") == RESIZE_IN_ONE_CALL else settings

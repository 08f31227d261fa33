"""The image processors of DINOv2, DINOv3 and SigLIP against our interpolations, sizes and normalisations.

Ours crop nothing, so the square in the middle that DINOv2's processor takes is cut here.
"""

import json

import numpy as np
import pytest

from delg.common.spec import factory_of
from delg.normalization import NORMALIZATIONS
from delg.presets import PRESETS
from extraction.resize import limited_size, resize
from tests.golden import rule
from tests.golden.conftest import SECOND, golden_path, image_of, largest_difference, load_golden

PROCESSORS = {  # interpolation and normalisation
    "dinov2": ("bicubic", "imagenet"),
    "dinov3": ("float_bilinear", "imagenet"),
    "siglip_bilinear": ("bilinear", "signed"),
    "siglip_bicubic": ("bicubic", "signed"),
}
MODELS = {"dinov2": "dinov2_small", "dinov3": "dinov3_s16", "siglip_bilinear": "siglip2_base_p16_224"}
FLOAT, LEVELS, SHARE = 2e-5, 1.0, 0.015


def processed(image: np.ndarray, processor: str, parameters: dict) -> np.ndarray:
    """The processor's output ``(3, h, w)`` by our functions."""
    interpolation, normalization = PROCESSORS[processor]
    height, width = image.shape[:2]
    size = parameters["size"]
    if "shortest_edge" in size:
        shorter = size["shortest_edge"]
        longer = shorter * max(height, width) // min(height, width)
        target = (shorter, longer) if width < height else (longer, shorter)
    else:
        side = size["height"]
        target = limited_size(width, height, side, side, square=True)
    pixels = resize(image, target, interpolation)
    if parameters.get("do_center_crop"):
        side = parameters["crop_size"]["height"]
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    normalized = factory_of(normalization, NORMALIZATIONS, "normalization")(pixels[None])
    return np.asarray(normalized)[0].transpose(2, 0, 1)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_processor(processor, request, measured):
    golden = load_golden(request.config, "preprocessing", SECOND)
    text = golden_path(request.config, "preprocessing.json", SECOND).read_text(encoding="utf-8")
    parameters = json.loads(text)["parameters"][processor]
    keys = [key for key in golden if key.startswith(f"{processor}/") and "/pillow13/" not in key]
    assert keys
    for key in keys:
        _, kind, _, _, *part = key.split("/")
        value = processed(image_of(key), processor, parameters[kind])
        expected = golden[key]
        if part == ["shape"]:
            assert value.shape == tuple(expected)
            continue
        deviation = np.array(parameters[kind]["image_std"])[:, None, None]
        if part == ["mean_std"]:
            moments = np.array([value.mean(dtype=np.float64), value.std(dtype=np.float64)])
            measured("processors: mean and deviation", largest_difference(moments, expected), 2e-3)
            continue
        levels = np.broadcast_to(255.0 * deviation, value.shape)
        if part:
            levels, value = (rule.sample(array, key, 2048) for array in (levels, value))
        difference = np.abs(np.asarray(value, np.float64) - expected)
        if processor == "dinov3":
            measured("processors: floating-point", float(difference.max()), FLOAT)
        else:
            difference *= levels
            measured("processors: levels of 255", float(difference.max()), LEVELS + 1e-3)
            measured("processors: share of other levels", float((difference > 0.5).mean()), SHARE)


@pytest.mark.parametrize("processor", MODELS)
def test_the_presets_take_pictures_as_the_processors_do(processor):
    preset = PRESETS[MODELS[processor]]
    assert (preset["extraction"]["interpolation"], preset["normalization"]) == PROCESSORS[processor]

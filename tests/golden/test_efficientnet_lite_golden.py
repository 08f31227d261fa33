"""EfficientNet-Lite with its ImageNet weights against efficientnet-lite-pytorch: maps, pooled vectors, classes."""

import json
import re

import keras
import numpy as np
import pytest
from keras import ops

import delg
from delg.common.torch_file import state_dict
from delg.importers.efficientnet_lite import IGNORED, name_in_file
from delg.importers.strict import shapes_of
from delg.weights.catalogue import WEIGHTS
from tests.golden import rule
from tests.golden.conftest import SECOND, golden_path, image_of, largest_difference, load_golden, rms
from tests.published import published

INNER = {"stem": "stem_relu6", "block2": "block2_add"}
OF_RMS, HEAD_OF_RMS = 6e-5, 2e-4


@pytest.fixture(scope="module")
def golden(request) -> dict[str, np.ndarray]:
    return load_golden(request.config, "efficientnet_lite", SECOND)


@pytest.fixture(scope="module")
def listed(request) -> dict:
    return json.loads(golden_path(request.config, "keys_efficientnet_lite.json", SECOND).read_text(encoding="utf-8"))


@pytest.mark.parametrize("variant", [0, 2])
def test_names_and_shapes_are_those_of_the_published_files(variant, listed):
    entry = listed[f"lite{variant}"]
    in_file = {name: tuple(shape) for name, (shape, _) in entry["keys"].items() if not IGNORED.fullmatch(name)}
    shapes = shapes_of(delg.create(f"efficientnet_lite{variant}"))

    def layout(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if "depthwise_conv" in path:
            return shape[2], 1, *shape[:2]
        return shape if len(shape) == 1 else (shape[3], shape[2], *shape[:2])

    assert {name_in_file(path): layout(path, shape) for path, shape in shapes.items()} == in_file
    weights = WEIGHTS[f"efficientnet_lite{variant}"]
    assert (weights.sha256, weights.bytes, weights.member.split("/")[-1]) == (
        entry["sha256"], entry["bytes"], entry["file"],
    )  # fmt: skip


@pytest.mark.parametrize("variant", [0, 2])
def test_maps_and_classes(variant, golden, measured):
    file = published(f"efficientnet_lite{variant}")
    model = delg.from_preset(f"efficientnet_lite{variant}")
    layers = {name: model.backbone.get_layer(layer).output for name, layer in INNER.items()}
    network = keras.Model(model.backbone.input, model.backbone.output | layers)
    classifier = state_dict(file)
    images = sorted({match[1] for key in golden if (match := re.match(rf"lite{variant}/(img\w+)/", key))})
    assert images
    for image in images:
        prefix = f"lite{variant}/{image}"
        maps = network(model.normalize(image_of(prefix)[None]), training=False)
        maps = {name: ops.convert_to_numpy(value)[0] for name, value in maps.items()}
        for name, value in maps.items():
            key, limit = f"{prefix}/{name}", HEAD_OF_RMS if name == "head" else OF_RMS
            assert value.shape == tuple(golden[f"{key}/shape"])
            expected = golden[f"{key}/sample"]
            sample = rule.sample(value, f"{key}/sample", len(expected))
            measured(f"EfficientNet-Lite: {name} / RMS", largest_difference(sample, expected) / rms(value), limit)
            statistics = np.array([value.mean(dtype=np.float64), value.std(dtype=np.float64)])
            assert np.abs(statistics - golden[f"{key}/mean_std"]).max() < 1e-4 * rms(value)
        pooled = maps["head"].mean(axis=(0, 1))
        logits = pooled @ classifier["_fc.weight"].array().T + classifier["_fc.bias"].array()
        for name, value in (("pooled", pooled), ("logits", logits)):
            expected = golden[f"{prefix}/{name}"]
            measured(f"EfficientNet-Lite: {name} / RMS", largest_difference(value, expected) / rms(expected), OF_RMS)

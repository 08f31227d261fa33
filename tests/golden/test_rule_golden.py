"""The rule itself: the weights, images and samples of these tests are those of the golden files."""

import json
import re
import zlib

import numpy as np
import pytest

from tests.golden import rule
from tests.golden.conftest import SECOND, golden_path, image_of, load_golden


@pytest.fixture(scope="module")
def checks(request) -> dict:
    return json.loads(golden_path(request.config, "rule_checks.json").read_text(encoding="utf-8"))


def test_weights(checks, salt):
    assert checks["weights"]
    for name, (shape, expected) in checks["weights"].items():
        assert zlib.crc32(rule.weight(name, shape, salt).tobytes()) == expected, name
    for name, values in checks["weight_first_values"].items():
        shape = checks["weights"][name][0]
        np.testing.assert_array_equal(rule.weight(name, shape, salt).ravel()[: len(values)], np.float32(values))


def test_weights_and_images_of_transformers(salt2, request):
    text = golden_path(request.config, "rule_checks.json", SECOND).read_text(encoding="utf-8")
    checks = json.loads(text)["crc32_of_float32_bytes"]
    entries = [entry for entry in checks["weights"] if re.match(r"embeddings|encoder|layer|norm|vision_model", entry)]
    assert entries
    for entry in entries:
        name, _, shape = entry.partition("|")
        values = rule.vit_weight(name, tuple(map(int, shape.split("x"))), salt2)
        assert zlib.crc32(values.tobytes()) == checks["weights"][entry], name
    for name, expected in checks["images"].items():
        assert zlib.crc32(image_of(name).tobytes()) == expected, name


def test_images(checks):
    for name, expected in checks["images"].items():
        assert zlib.crc32(rule.synthetic_image(*map(int, name.split(","))).tobytes()) == expected, name


def test_sample_indices(checks, request):
    shapes = load_golden(request.config, "delg_r50")
    for key, expected in checks["sample_indices"].items():
        size = int(np.prod(shapes[key.replace("/sample", "/shape")]))
        assert rule.sample(np.arange(size), key)[: len(expected)].tolist() == expected, key

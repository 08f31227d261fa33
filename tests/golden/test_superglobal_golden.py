"""SuperGlobal and CVNet in R50 against the released code: stages, every combination of the switches, scales, crop."""

import json
import re
from functools import cache

import numpy as np
import pytest
from keras import ops
from PIL import Image

import delg
from delg.heads.pooling import build_pooling
from delg.numerics import TORCH_EPSILON, l2_normalize
from delg.presets import CVNET_EXTRACTION, SUPERGLOBAL_EXTRACTION
from delg.superglobal import Switches, adapted
from extraction.describing import describe
from extraction.extractors.delg import DelgExtractor, ExtractionConfig
from extraction.images import ImageRef, Reading, load_image
from extraction.scale_pooling import build_scale_pooling, unit
from extraction.scaling import SCALE_RULES, Pyramid
from tests.golden import rule
from tests.golden.conftest import golden_path, image_of, largest_difference, load_golden, rms

SCALES = {"scales1": (1.0,), "scales3": (0.7071, 1.0, 1.4142), "scales5": (0.5, 0.7071, 1.0, 1.4142, 2.0)}
STAGES = {"stem": "block0", "s1": "block1", "s2": "block2", "s3": "block3", "s4": "block4"}
BN = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
PARTS = {"branch1": ("proj", "bn")} | {f"branch2{x}": (f"f.{x}", f"f.{x}_bn") for x in "abc"}
OF_RMS, OF_UNIT = 3e-5, 5e-7


def torch_name(path: str) -> str:
    """Our weight path to the released one: ``res3b_branch2a/kernel`` to ``encoder_q.s2.b2.f.a.weight``."""
    layer, leaf = path.split("/")
    leaf = BN.get(leaf, "weight" if leaf == "kernel" else leaf)
    block = re.fullmatch(r"(res|bn)(\d)([a-z])_(branch\w+)", layer)
    if block:
        part = PARTS[block[4]][block[1] == "bn"]
        return f"encoder_q.s{int(block[2]) - 1}.b{ord(block[3]) - ord('a') + 1}.{part}.{leaf}"
    named = {"conv1": "stem.conv", "bn_conv1": "stem.bn", "embedding_layer": "head.fc", "pooling": "head.pool"}
    return f"encoder_q.{named[layer]}.{leaf}"


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """HWIO to OIHW, (in, out) to (out, in)."""
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def nchw(x) -> np.ndarray:
    return array(x).transpose(0, 3, 1, 2)


@pytest.fixture(scope="module")
def golden(request) -> dict[str, np.ndarray]:
    return load_golden(request.config, "superglobal_r50")


@pytest.fixture(scope="module")
def model(salt):
    made = delg.create("superglobal_r50")
    for variable in made.weights:
        drawn = rule.weight(torch_name(variable.path), torch_shape(tuple(variable.shape)), salt)
        variable.assign(drawn.transpose(2, 3, 1, 0) if drawn.ndim == 4 else drawn.T)
    made.inference_model = cache(made.inference_model)
    return made


@pytest.fixture(scope="module")
def networks(model):
    """Feature maps by (image, relup, scale, antialias), each computed once; ``relup0`` has the released leak."""
    models = {relup: adapted(model, Switches(relup=relup, stage1_inner_leak=True)) for relup in (False, True)}

    @cache
    def maps(name: str, relup: bool, scale: float, antialias: bool):
        image = image_of(name)
        scaled = Pyramid(image, SCALE_RULES["superglobal"], antialias, model.normalize)
        size = SCALE_RULES["superglobal"].size(scaled.base, scale)
        return models[relup].backbone(scaled(scale, size), training=False)

    return maps


def head(model, block4, gem_plus: bool, regional: bool):
    """Pooled vector and descriptor of a map, with and without GeM+ and Regional-GeM."""
    (regional_gem,), plus = build_pooling("regional_gem, gem_plus")
    pooled = (plus if gem_plus else model.pooling)(regional_gem(block4) if regional else block4)
    return array(pooled), array(model.embedding_layer(l2_normalize(pooled, epsilon=TORCH_EPSILON)))


def fields(golden, pattern: str) -> list[tuple[str, re.Match]]:
    found = [(key, match) for key in golden if (match := re.fullmatch(pattern, key))]
    assert found, pattern
    return found


def test_the_weights_are_those_of_the_released_checkpoint(request, model):
    path = golden_path(request.config, "keys_cvnet.json")
    if not path.exists():
        pytest.skip("the list of the released weights is not here")
    listed = {
        name: tuple(shape)
        for name, (shape, _) in json.loads(path.read_text())["cvnet_r50"].items()
        if name.startswith("encoder_q.") and not name.endswith("num_batches_tracked")
    }
    assert {torch_name(v.path): torch_shape(tuple(v.shape)) for v in model.weights} == listed
    assert len(listed) == 268


def test_input(golden, model, measured):
    for key, match in fields(golden, r"(img\w+)/input_tensor/sample"):
        value = nchw(model.normalize(image_of(match[1])[None]))
        measured("SuperGlobal: network input", largest_difference(rule.sample(value, key), golden[key]), 1e-6)


def test_stages(golden, model, networks, measured):
    for key, match in fields(golden, r"(img\w+)/mid/relup(\d)/(\w+)/(sample|shape|mean_std)"):
        maps = networks(match[1], match[2] == "1", 1.0, False)
        if match[3] == "rgem":
            value = nchw(build_pooling("regional_gem, gem")[0][0](maps["block4"]))
        else:
            value = nchw(maps[STAGES[match[3]]])
        expected = golden[key]
        if match[4] == "shape":
            assert tuple(expected) == value.shape, key
        elif match[4] == "mean_std":
            ours = np.array([value.mean(dtype=np.float64), value.std(dtype=np.float64)])
            measured("SuperGlobal: mean and deviation of stages", np.abs(ours / expected - 1).max(), 1e-5)
        else:
            difference = largest_difference(rule.sample(value, key), expected) / rms(value)
            measured("SuperGlobal: stage outputs / RMS", difference, OF_RMS)


def test_pooled_vectors_and_whitening(golden, model, networks, measured):
    for key, match in fields(golden, r"(img\w+)/mid/relup(\d)/(gemp_of_rgem|gem_learned_of_s4|fc)"):
        block4 = networks(match[1], match[2] == "1", 1.0, False)["block4"]
        released = match[3] != "gem_learned_of_s4"
        pooled, descriptor = head(model, block4, released, released)
        value = (descriptor if match[3] == "fc" else pooled)[0]
        difference = largest_difference(value.ravel(), golden[key].ravel()) / rms(golden[key])
        measured("SuperGlobal: pooled vectors and fc / RMS", difference, OF_RMS)


@pytest.mark.slow
def test_every_combination_of_the_switches(golden, model, networks, measured):
    pattern = r"(img\w+)/desc/(scales\d)/aa(\d)/gemp(\d)_rgem(\d)_sgem(\d)_relup(\d)/(raw|l2)"
    seen = set()
    for key, match in fields(golden, pattern):
        antialias, gem_plus, regional, joined, relup = (match[i] == "1" for i in range(3, 8))
        vectors = [
            head(model, networks(match[1], relup, scale, antialias)["block4"], gem_plus, regional)[1][0]
            for scale in SCALES[match[2]]
        ]
        raw = build_scale_pooling("scale_gem" if joined else "mean")(np.stack(vectors).astype(np.float64))
        seen.add((match[2], antialias, gem_plus, regional, joined, relup))
        if match[8] == "l2":
            difference = largest_difference(unit(raw), golden[key].ravel())
            measured("SuperGlobal: descriptors", difference, OF_UNIT)
        else:
            difference = largest_difference(raw, golden[key].ravel()) / rms(golden[key])
            measured("SuperGlobal: descriptors before the last normalisation / RMS", difference, OF_RMS)
    assert len(seen) == 19, "16 combinations, 1 and 5 scales, antialias"


def test_finite_scale_gem_is_the_released_formula(golden, networks, model):
    name = fields(golden, r"(img\w+)/input_tensor/sample")[0][1][1]
    vectors = [head(model, networks(name, True, s, False)["block4"], True, True)[1][0] for s in SCALES["scales3"]]
    stack = np.stack(vectors).astype(np.float64)
    least = stack.min()
    expected = np.power(np.power(stack - least, 10).mean(0), 0.1) + least
    np.testing.assert_allclose(build_scale_pooling("scale_gem(p=10)")(stack), expected, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def superglobal(model):
    """The extractor with all switches on; its networks can be used again with other rules."""
    extractor = DelgExtractor(model, ExtractionConfig(**SUPERGLOBAL_EXTRACTION))
    extractor.model.inference_model = cache(extractor.model.inference_model)
    return extractor


def compare_extractor(extractor, golden, measured, text: str) -> None:
    for key, match in fields(golden, rf"(img\w+)/desc/{text}/l2"):
        features = extractor(image_of(match[1]), "image")
        measured("SuperGlobal: extractor", largest_difference(features.global_descriptor, golden[key].ravel()), OF_UNIT)
        assert len(features) == 0


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("scales3/aa0", {}),
        ("scales3/aa1", {"antialias": True}),
        ("scales1/aa0", {"image_scales": [1.0], "global_scales_ind": [0]}),
        ("scales5/aa0", {"image_scales": [1.0, *SCALES["scales5"]], "global_scales_ind": [5, 1, 4, 2, 3, 5]}),
    ],
)
def test_the_extractor_with_all_switches_on(golden, superglobal, measured, text, changes):
    config = ExtractionConfig(**SUPERGLOBAL_EXTRACTION | changes)
    extractor = DelgExtractor(superglobal.model, config)
    compare_extractor(extractor, golden, measured, f"{text}/gemp1_rgem1_sgem1_relup1")


def test_the_extractor_with_switches_off(golden, model, measured):
    off = {"gem_plus": False, "scale_pooling": "mean", "relup": False, "stage1_inner_leak": True}
    extractor = DelgExtractor(model, ExtractionConfig(**SUPERGLOBAL_EXTRACTION | off))
    compare_extractor(extractor, golden, measured, "scales3/aa0/gemp0_rgem1_sgem0_relup0")


def test_cvnet(golden, model, measured):
    extractor = DelgExtractor(model, ExtractionConfig(**CVNET_EXTRACTION))
    for key, match in fields(golden, r"(img\w+)/cvnet/desc_l2"):
        descriptor = extractor(image_of(match[1]), "image").global_descriptor
        measured("CVNet: extractor", largest_difference(descriptor, golden[key].ravel()), OF_UNIT)
    for key, match in fields(golden, r"(img\w+)/cvnet/scale([\d.]+)/(input_shape|input/sample|desc_l2)"):
        scale, cvnet = float(match[2]), SCALE_RULES["cvnet"]
        scaled = Pyramid(image_of(match[1]), cvnet, False, model.normalize)
        x = scaled(scale, cvnet.size(scaled.base, scale))
        if match[3] == "input_shape":
            assert tuple(golden[key])[-3:] == nchw(x).shape[1:], key
        elif match[3] == "desc_l2":
            descriptor = unit(array(model(x)["global_descriptor"])[0].astype(np.float64))
            measured("CVNet: descriptor of one scale", largest_difference(descriptor, golden[key].ravel()), OF_UNIT)
        else:
            value = rule.sample(nchw(x), key, 1024)
            measured("CVNet: network input of a scale", largest_difference(value, golden[key]), 1e-6)


def test_query_crop(golden, model, superglobal, measured, tmp_path):
    seed, height, width, box = json.loads(str(golden["meta"]))["crop"]
    assert golden["query_crop/bbx"].tolist() == box
    Image.fromarray(rule.synthetic_image(seed, height, width)).save(tmp_path / "photo.png")
    query = ImageRef("query", str(tmp_path / "photo.png"), tuple(box))
    crop = nchw(model.normalize(load_image(query, Reading("ignore", crop_rule="truncate"))[0][None]))
    assert tuple(golden["query_crop/tensor_shape"])[-3:] == crop.shape[1:]
    key = "query_crop/tensor/sample"
    measured("SuperGlobal: network input", largest_difference(rule.sample(crop, key), golden[key]), 1e-6)
    descriptor = describe(superglobal, query).global_descriptor
    measured("SuperGlobal: extractor", largest_difference(descriptor, golden["query_crop/desc_l2"].ravel()), OF_UNIT)

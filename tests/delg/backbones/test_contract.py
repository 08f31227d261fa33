"""The contract of backbones, heads and classifiers, over the tables and over plug-ins outside of the package."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

import delg
from delg.backbones.base import Backbone
from delg.backbones.table import BACKBONES, build_backbone
from delg.common.errors import InputError
from delg.geometry import Window, cell_centres
from tests.delg import plug_ins

MINE = "tests.delg.plug_ins"
VIT = f"{MINE}:vision_transformer"
TINY = {  # of large networks
    "dinov2": "dinov2(size=(24, 2, 2, 48), grid=4, registers=3)",
    "dinov3": "dinov3(size=(24, 2, 2, 48))",
    "siglip": "siglip(size=(24, 2, 2, 48), grid=4)",
}
SMALL = "resnet_small(depths=(1, 1, 1, 1), widths=(8, 8, 8, 16))"


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def model_with(backbone: str = SMALL, **others) -> delg.Delg:
    sizes = {"embedding_dim": 12, "local_dim": 6, "attention_channels": 5, "num_classes": 3}
    keras.utils.set_random_seed(1)
    return delg.Delg(backbone, **sizes | others)


@pytest.mark.parametrize("text", [*(TINY.get(name, name) for name in BACKBONES), VIT, f"{VIT}(patch=5, blocks=3)"])
def test_every_level_has_the_cells_that_its_windows_promise(text):
    thinning = text in BACKBONES and "block3_strides" in inspect.signature(BACKBONES[text]).parameters
    switches = (False, True) if thinning else (False,)
    for thinned in switches:
        backbone = build_backbone(text, block3_strides=thinned)
        outputs = backbone.model(ops.zeros((1, 70, 93, 3)), training=False)
        for level, windows in backbone.levels.items():
            ys, xs = (cell_centres(windows, side) for side in (70, 93))
            assert outputs[level].shape[1:3] == (len(ys), len(xs)), (text, level)
            assert len(ys) == 1 or ys[1] - ys[0] == backbone.stride(level), (text, level)
        side = backbone.min_side()
        assert 0 not in backbone.model(ops.zeros((1, side, side, 3)), training=False)[backbone.global_level].shape


def test_what_a_transformer_declares_reaches_the_heads():
    model = model_with(VIT, pooling="class_token", normalization=f"{MINE}:unit_range")
    assert (model.local_stride, model.min_sides) == (8, {"global": 8, "local": 8})
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 27, 3)).astype(np.uint8)
    inputs = model.normalize(images)
    np.testing.assert_allclose(array(inputs), images / 255, rtol=1e-6)
    outputs = model(inputs)
    assert outputs["local_descriptors"].shape == (2, 5, 3, 6) and outputs["attention"].shape == (2, 5, 3)
    assert [len(centres) for centres in model.keypoint_grid(40, 27)] == [5, 3]
    token = array(model.backbone(inputs)["prefix"])[:, 0]
    np.testing.assert_allclose(
        array(outputs["global_descriptor"]), array(model.embedding_layer(token)), rtol=1e-5, atol=1e-6
    )
    exported = model.inference_model()(inputs)
    np.testing.assert_allclose(array(exported["global_descriptor"]), array(outputs["global_descriptor"]), rtol=1e-5)


def test_a_model_of_plug_ins_is_the_same_after_saving(tmp_path):
    model = model_with(
        VIT,
        pooling=f"{MINE}:Doubled, {MINE}:TokenAndMean",
        local_head=f"{MINE}:NormHead",
        classifier=f"{MINE}:PlainCosine(scale=9.0)",
    )
    assert model.embedding_layer.kernel.shape == (32, 12) and model.local_dim == 16
    assert model.min_sides == {"global": 16, "local": 8}, "the filter needs two cells"
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 24, 3)).astype(np.float32)
    delg.save(model, tmp_path / "model")
    loaded = delg.load(tmp_path / "model")
    for name, value in model(images).items():
        np.testing.assert_array_equal(array(loaded(images)[name]), array(value), err_msg=name)
    labels = np.array([0, 2])
    descriptors = model(images)["global_descriptor"]
    logits = array(loaded.arcface_logits(descriptors, labels))
    assert logits.shape == (2, 3) and np.abs(logits).max() <= 9
    np.testing.assert_array_equal(logits, array(loaded.arcface_logits(descriptors)))


def test_a_transformer_trains_one_step():
    from training.backends.engine import engine
    from training.computation import StepConfig
    from training.optimizers import build_optimizer

    model = model_with(VIT, pooling="class_token")
    optimizer = build_optimizer("sgd")
    optimizer.build(model.trainable_variables)
    before = {variable.path: array(variable) for variable in model.trainable_variables}
    step = engine().TrainStep(model, optimizer, StepConfig(batch_size=2, image_size=32))
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    result = step(images, np.array([0, 2]), 0.1, summarize=True)
    assert np.isfinite(array(result.metrics)).all() and len(array(result.sparsity)) == len(model.trunk.levels)
    changed = [v.path for v in model.trainable_variables if not np.array_equal(before[v.path], array(v))]
    assert {"tokens/positions", "tokens/class_token", "patch_embedding/kernel"} <= set(changed)
    assert any(path.startswith("local_head/") for path in changed)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"backbone": VIT, "block3_strides": True}, "--block3_strides"),
        ({"backbone": f"{MINE}:not_a_backbone"}, "Backbone"),
        ({"backbone": f"{MINE}:missing"}, "missing"),
        ({"backbone": f"{VIT}(depth=9)"}, "depth"),
        ({"pooling": "class_token"}, "class_token"),
        ({"pooling": f"{MINE}:NormHead(channels=3), gem"}, "MapFilter"),
        ({"local_head": f"{MINE}:Doubled"}, "Doubled"),
        ({"classifier": f"{MINE}:NormHead"}, "NormHead"),
        ({"normalization": "nothing"}, "nothing"),
    ],
)
def test_parts_that_do_not_fit_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        model_with(**settings)


def test_a_backbone_checks_what_it_declares():
    network = plug_ins.vision_transformer().model
    levels = {name: (Window(8, 8, "valid"),) for name in ("layer0", "layer1")}
    Backbone(network, levels, "layer1", "layer0", 16.0, tokens="prefix")
    with pytest.raises(InputError, match="prefix"):
        Backbone(network, levels, "layer1", "layer0", 16.0)
    with pytest.raises(InputError, match="layer7"):
        Backbone(network, levels, "layer7", "layer0", 16.0, tokens="prefix")
    with pytest.raises(InputError, match="prefix"):
        Backbone(network, {**levels, "prefix": ()}, "layer1", "layer0", 16.0)


def test_a_backbone_of_one_image_size_refuses_others(tmp_path):
    from extraction.extractors.delg import DelgExtractor

    model = model_with(f"{VIT}(side=32)", pooling="class_token")
    delg.save(model, tmp_path)
    image = np.zeros((40, 60, 3), np.uint8)
    square = {"max_image_size": 32, "min_image_size": 32, "use_square_images": True}
    features = DelgExtractor.from_folder(str(tmp_path), **square)(image, "name")
    assert len(features.keypoints) == 16
    with pytest.raises(InputError, match="32 x 32"):
        DelgExtractor.from_folder(str(tmp_path))(image, "name")

from functools import cache

import cv2
import keras
import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.common.files import read_json, write_json
from delg.weights.catalogue import WEIGHTS
from extraction.config import ExtractionConfig
from extraction.describing import Picture, describe
from extraction.extractors.delg import DelgExtractor
from extraction.extractors.table import build_extractor
from extraction.formats.checks import differing
from extraction.images import list_images
from extraction.pipeline import extract
from extraction.resize import resize
from extraction.scale_pooling import unit
from tests.extraction.pictures import picture, write_picture
from tests.published import published
from tests.tiny import BACKBONE

SCALES = (0.5, 1.0, 1.5)
IMAGE = picture(90, 120, seed=3)
SMALL = "resnet_small(depths=(1, 1, 1, 1), widths=(8, 8, 8, 16))"


@pytest.fixture(scope="module")
def model():
    model = delg.create("delg_small", backbone=SMALL, embedding_dim=16, local_dim=8, attention_channels=8)
    model.inference_model = cache(model.inference_model)  # compiled once for all tests
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    delg.save(model, place)
    return place


def extractor(model, scales=SCALES, chosen=(0, 1), **options):
    return DelgExtractor(model, ExtractionConfig(scales, chosen, **options))


def outputs(model, scale):
    """Both heads at one scale, computed plainly."""
    x = model.normalize(IMAGE[None])
    size = (round(90 * scale), round(120 * scale))
    x = keras.ops.image.resize(x, size, interpolation="bilinear", antialias=False)
    return {key: np.asarray(value)[0] for key, value in model(x, training=False).items()}, size


def test_global_descriptor_is_the_unit_sum_of_unit_descriptors(model):
    expected = unit(sum(unit(outputs(model, scale)[0]["global_descriptor"]) for scale in (0.5, 1.0)))
    got = extractor(model)(IMAGE, "x").global_descriptor
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert got.dtype == np.float32
    other = extractor(model, chosen=(1, 0, 1))(IMAGE, "x").global_descriptor
    np.testing.assert_array_equal(got, other)
    alone = extractor(model, chosen=(2,))(IMAGE, "x").global_descriptor
    np.testing.assert_allclose(alone, unit(outputs(model, 1.5)[0]["global_descriptor"]), atol=1e-6)
    assert np.abs(alone - got).max() > 1e-5


def test_local_features_are_the_best_cells_of_all_scales(model):
    scores, descriptors, points, scales = [], [], [], []
    for scale in SCALES:
        out, (h, w) = outputs(model, scale)
        ys, xs = model.keypoint_grid(h, w)
        for i, y in enumerate(ys):
            for j, x in enumerate(xs):
                scores.append(out["attention"][i, j])
                descriptors.append(unit(out["local_descriptors"][i, j]))
                points.append(((x + 0.5) * 120 / w - 0.5, (y + 0.5) * 90 / h - 0.5))
                scales.append(1 / scale)
    features = extractor(model, max_feature_num=50)(IMAGE, "x")
    assert (len(features), features.image_size) == (50, (120, 90))
    best = np.sort(np.array(scores))[::-1][:50]
    np.testing.assert_allclose(features.scores, best, atol=1e-5)
    cells = np.column_stack([points, scales])
    for row in range(50):
        place = [*features.keypoints[row], features.scales[row]]
        cell = np.abs(cells - place).max(1).argmin()
        assert np.abs(cells[cell] - place).max() < 1e-3
        assert abs(scores[cell] - features.scores[row]) < 1e-5
        np.testing.assert_allclose(features.descriptors[row], descriptors[cell], atol=1e-5)
    every = extractor(model, max_feature_num=10**6)(IMAGE, "x")
    assert len(every) == len(scores)


def test_threshold(model):
    every = extractor(model)(IMAGE, "x")
    middle = float(every.scores[100])
    assert len(extractor(model, score_threshold=middle)(IMAGE, "x")) == int((every.scores >= middle).sum())
    none = extractor(model, score_threshold=1e9)(IMAGE, "x")
    assert none.descriptors.shape == (0, 8)
    assert abs(np.linalg.norm(none.global_descriptor) - 1) < 1e-6


def test_suppression_leaves_the_best_and_fewer(model):
    every, some = (extractor(model, max_feature_num=10**6, iou=iou)(IMAGE, "x") for iou in (1.0, 0.8))
    assert 1 < len(some) < len(every)
    assert some.scores[0] == every.scores[0] and (np.diff(some.scores) <= 0).all()
    assert extractor(model, iou=0.8).settings["iou"] == 0.8
    with pytest.raises(InputError, match="iou expects"):
        extractor(model, iou=1.5)


def test_released_keypoints_are_multiples_of_the_stride(model):
    released = extractor(model, (0.5,), (0,), keypoints="released", max_feature_num=10**6)(IMAGE, "x")
    step = model.local_stride / 0.5
    assert sorted(set(released.keypoints[:, 0].tolist())) == [step * i for i in range(-(-60 // model.local_stride))]
    assert sorted(set(released.keypoints[:, 1].tolist())) == [step * i for i in range(-(-45 // model.local_stride))]
    centre = extractor(model, (0.5,), (0,), max_feature_num=10**6)(IMAGE, "x")
    np.testing.assert_array_equal(centre.scores, released.scores)
    assert not np.allclose(centre.keypoints, released.keypoints, atol=0.2)
    halved = extractor(model, (1.0,), (0,), keypoints="released", max_image_size=60)(IMAGE, "x")
    assert set(halved.keypoints[:, 0].tolist()) <= {2.0 * model.local_stride * i for i in range(10)}


def test_keypoints_follow_the_picture(model):
    """The cell that changes most when a spot appears is the one whose keypoint is nearest to the spot."""
    for x, y in ((30, 40), (77, 21), (101, 66)):
        spotted = np.full((90, 120, 3), 128, np.uint8)
        plain = spotted.copy()
        spotted[y - 2 : y + 3, x - 2 : x + 3] = 255
        one = extractor(model, (1.0,), (0,), max_feature_num=10**6)
        net = model.inference_model(("local",))
        a, b = (net.predict_on_batch(model.normalize(image[None])) for image in (spotted, plain))
        change = np.linalg.norm(a["local_descriptors"] - b["local_descriptors"], axis=-1)[0]
        ys, xs = model.keypoint_grid(90, 120)
        grid = np.stack(np.meshgrid(xs, ys), -1)
        centroid = (grid * change[..., None] ** 4).sum((0, 1)) / (change**4).sum()
        assert np.abs(centroid - [x, y]).max() < model.local_stride
        assert one(plain, "x").keypoints.shape == (change.size, 2)


def test_limits_shrink_with_the_crop(model):
    config = {"scales": (1.0,), "chosen": (0,), "max_feature_num": 10**6}
    half = extractor(model, max_image_size=60, **config)(IMAGE, "x")
    factor = extractor(model, max_image_size=120, **config)(IMAGE, "x", resize_factor=0.5)
    np.testing.assert_array_equal(half.global_descriptor, factor.global_descriptor)
    np.testing.assert_array_equal(half.keypoints, factor.keypoints)
    assert len(half) < len(extractor(model, max_image_size=-1, **config)(IMAGE, "x"))


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (5, 7), (19, 18)])
def test_images_of_any_size_are_described(model, size):
    features = extractor(model, max_image_size=256)(picture(*size), "x")
    assert abs(np.linalg.norm(features.global_descriptor) - 1) < 1e-6
    assert len(features) >= 1
    np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1, atol=1e-5)


def heads_run(one):
    """The heads of each run of the network from now on."""
    heads, network = [], one.network
    one.network = lambda wanted: heads.append(wanted) or network(wanted)
    return heads


def test_the_last_stage_runs_at_the_global_scales_only(model):
    one = extractor(model, chosen=(1,))
    heads = heads_run(one)
    one(IMAGE, "x")
    assert set(heads) == {("local",), ("global", "local")}
    local, both = (model.inference_model(wanted) for wanted in (("local",), ("global", "local")))
    assert len(local.layers) < len(both.layers)
    assert {layer.name for layer in both.layers} >= {"embedding_layer"}
    assert "embedding_layer" not in {layer.name for layer in local.layers}


def test_the_network_is_traced_once_for_all_sizes():
    model = delg.create("delg_small", backbone=BACKBONE, embedding_dim=16, local_head=None)
    model.inference_model = cache(model.inference_model)
    network, traces = model.inference_model(("global",)), []
    call, network.call = network.call, lambda *given, **settings: traces.append(given) or call(*given, **settings)
    one = extractor(model, (1.0,), (0,))
    for size in ((60, 80), (70, 80), (64, 99), (120, 33), (99, 64), (33, 34)):
        one(picture(*size), "x")
    for size, count in (((60, 80), 2), ((70, 80), 3), ((33, 34), 5), ((50, 41), 1)):
        one.together([Picture(picture(*size, seed=i), str(i)) for i in range(count)])
    assert len(traces) == 1


def test_a_head_that_is_not_wanted_is_not_computed(model):
    whole, one = extractor(model, chosen=(1,)), extractor(model, chosen=(1,))
    assert whole.heads == ("global", "local") and whole.dimensions == {"global": 16, "local": 8}
    expected = whole(IMAGE, "x")
    one.heads, heads = ("local",), heads_run(one)
    found = one(IMAGE, "x")
    assert set(heads) == {("local",)} and found.global_descriptor.shape == (0,)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    one = extractor(model, chosen=(1,))
    one.heads, heads = ("global",), heads_run(one)
    found = one(IMAGE, "x")
    assert set(heads) == {("global",)} and len(found) == 0
    np.testing.assert_allclose(found.global_descriptor, expected.global_descriptor, atol=1e-6)


def test_squares(model):
    one = extractor(model, (1.0,), (0,), use_square_images=True)
    found = one(IMAGE, "x")
    large = extractor(model, (1.0,), (0,))(resize(IMAGE, (120, 120)), "x")
    np.testing.assert_allclose(found.global_descriptor, large.global_descriptor, atol=1e-6)
    np.testing.assert_allclose(found.keypoints, (large.keypoints + 0.5) * [1, 90 / 120] - 0.5, atol=1e-4)
    assert found.image_size == (120, 90) and one.settings["use_square_images"] is True


@pytest.mark.parametrize("options", [{}, {"iou": 0.3}, {"use_square_images": True}], ids=["plain", "iou", "square"])
@pytest.mark.parametrize("keypoints", ["centre", "released"])
def test_keypoints_in_pixels_of_the_resized_image(model, tmp_path, keypoints, options):
    shared = {"keypoints": keypoints, "max_image_size": 80, **options}
    plain, resized = (extractor(model, **shared, use_resized_coordinates=in_resized) for in_resized in (False, True))
    before, after = plain(IMAGE, "x"), resized(IMAGE, "x")
    base = np.array(plain.base_size((120, 90)))
    for name in ("global_descriptor", "descriptors", "scores", "scales"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    half = 0.5 if keypoints == "centre" else 0.0
    np.testing.assert_allclose(after.keypoints, (before.keypoints + half) * base / [120, 90] - half, atol=1e-4)
    assert base.max() == 80 and len(after) and after.image_size == (120, 90)
    assert differing(plain.settings, resized.settings) == ["use_resized_coordinates (False and True)"]
    write_picture(tmp_path / "a.png", 60, 90)
    with pytest.raises(InputError, match="official files alone"):
        extract(resized, list_images(tmp_path), tmp_path / "store", progress=False)
    assert not (tmp_path / "store").exists()
    with pytest.raises(InputError, match="official files alone"):
        describe(resized, list_images(tmp_path)[0])


ALL_ON = {"gem_plus": True, "regional_gem": True, "relup": True, "normalize_pooled": True}


def test_every_switch_changes_the_descriptor_and_is_recorded():
    model = delg.create("delg_small", backbone=SMALL, embedding_dim=12, local_head=None)
    model.embedding_layer.bias.assign(np.linspace(-0.2, 0.2, 12))  # so that the length of the pooled vector matters
    model.inference_model = cache(model.inference_model)
    plain = extractor(model, (0.7, 1.0))
    descriptors = [plain(IMAGE, "x").global_descriptor]
    for change in (
        {"gem_plus": True},
        {"regional_gem": True},
        {"relup": True},
        {"stage1_inner_leak": True},
        {"normalize_pooled": True},
        {"scale_pooling": "mean"},
        {"scale_pooling": "scale_gem"},
        {"scale_pooling": "scale_gem(p=10)"},
        {"scale_rule": "superglobal"},
        {"scale_rule": "cvnet"},
        {"antialias": True},
    ):
        one = extractor(model, (0.7, 1.0), **change)
        changed = {line.split(" ")[0] for line in differing(plain.settings, one.settings)}
        assert changed - {"scale_resize"} == set(change)
        descriptors.append(one(IMAGE, "x").global_descriptor)
    for i, left in enumerate(descriptors):
        assert all(np.abs(left - right).max() > 1e-6 for right in descriptors[:i]), i


def test_switches_are_arguments_of_the_text(folder):
    options = "gem_plus=True, relup=True, scale_pooling='scale_gem(p=10)', scale_rule='superglobal', min_image_size=90"
    for text in (f'delg(model="{folder}", {options})', f'untrained(model="{folder}", {options})'):
        one = build_extractor(text, regional_gem=True, antialias=None)
        names = ("gem_plus", "regional_gem", "relup", "scale_pooling", "scale_rule", "min_image_size", "antialias")
        recorded = [one.settings[name] for name in names]
        assert recorded == [True, True, True, "scale_gem(p=10)", "superglobal", 90, False]
        assert one.model.config["pooling"] == "regional_gem, gem_plus"
        assert one.settings["model_sha256"] == build_extractor(str(folder)).settings["model_sha256"]


def test_the_same_image_size_by_minimum_and_by_scale(model):
    small = extractor(model, (1.0,), (0,), min_image_size=240)(IMAGE, "x")
    assert len(small) > len(extractor(model, (1.0,), (0,))(IMAGE, "x"))
    again = extractor(model, (1.0,), (0,), min_image_size=100)(IMAGE, "x")
    np.testing.assert_array_equal(again.scores, extractor(model, (1.0,), (0,))(IMAGE, "x").scores)


def test_the_largest_component_of_the_scales(model):
    alone = [extractor(model, chosen=(i,))(IMAGE, "x").global_descriptor for i in (0, 1, 2)]
    joined = extractor(model, chosen=(2, 0, 1), scale_pooling="scale_gem")(IMAGE, "x").global_descriptor
    np.testing.assert_allclose(joined, unit(np.max(alone, axis=0)), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 300), (5, 7), (19, 18), (40, 60)])
@pytest.mark.parametrize("rule", ["delg", "superglobal", "cvnet"])
def test_images_of_any_size_with_all_switches(superglobal, size, rule):
    features = superglobal(rule)(picture(*size), "x")
    assert abs(np.linalg.norm(features.global_descriptor) - 1) < 1e-6
    assert np.isfinite(features.global_descriptor).all()
    assert len(features) >= 1


@pytest.fixture(scope="module")
def superglobal(model):
    return cache(lambda rule: extractor(model, chosen=(0, 1, 2), scale_rule=rule, scale_pooling="scale_gem", **ALL_ON))


def test_shares_of_the_long_side(model):
    options = {"scale_rule": "long_side", "max_image_size": 200, "max_feature_num": 400}
    one = extractor(model, (0.5, 1.0), **options)
    halves = [resize_by(IMAGE, 100 / 120), IMAGE]  # 120 pixels are below the limit of 200
    expected = unit(sum(unit(np.asarray(model(model.normalize(x[None]))["global_descriptor"])[0]) for x in halves))
    features = one(IMAGE, "x")
    np.testing.assert_allclose(features.global_descriptor, expected, atol=1e-6)
    np.testing.assert_allclose(np.unique(features.scales), [1.0, 1.2], rtol=1e-6)
    crops = [Picture(IMAGE, "x", factor) for factor in (1.0, 0.7)]  # of one size at scale 1, with other limits
    for crop, together in zip(crops, one.together(crops), strict=True):
        alone = one(crop.image, crop.name, crop.resize_factor)
        np.testing.assert_allclose(together.global_descriptor, alone.global_descriptor, atol=1e-6)
        np.testing.assert_array_equal(np.unique(together.scales), np.unique(alone.scales))


def resize_by(image, factor):
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def test_published_weights_by_one_word():
    published("efficientnet_lite0")
    one = build_extractor("efficientnet_lite0(max_feature_num=7)")
    model, features = one.model, one(picture(200, 300, seed=5), "x")
    pooled = []
    for image in (resize_by(picture(200, 300, seed=5), 256 / 300), picture(200, 300, seed=5)):
        cells = np.asarray(model.backbone(model.normalize(image[None]))["head"], np.float64)[0]
        pooled.append(unit(np.cbrt((np.maximum(cells, 1e-6) ** 3).mean(axis=(0, 1)))))
    np.testing.assert_allclose(features.global_descriptor, unit(sum(pooled)), atol=1e-6)
    assert (len(features), features.global_descriptor.shape) == (0, (1280,))
    assert one.settings["weights_sha256"] == WEIGHTS["efficientnet_lite0"].sha256
    assert (one.settings["max_feature_num"], one.settings["max_image_size"]) == (7, 512)


def test_a_preset_without_its_weights_is_the_untrained_network():
    one = build_extractor('untrained(model="efficientnet_lite1", seed=3)')
    assert one.settings["weights_sha256"].startswith("untrained:seed=3:") and one.dimensions["global"] == 1280


def test_a_model_without_a_local_head_gives_no_local_features(tmp_path):
    delg.save(delg.create("superglobal_r50", backbone=SMALL, embedding_dim=12), tmp_path)
    features = build_extractor(str(tmp_path))(IMAGE, "x")
    assert (features.global_descriptor.shape, len(features), features.keypoints.shape) == ((12,), 0, (0, 2))
    refs = list_images(write_picture(tmp_path / "photos" / "a.png").parent)
    store = extract(build_extractor(str(tmp_path)), refs, tmp_path / "store", progress=False)
    assert (len(store.features(0)), store.settings["scale_pooling"]) == (0, "scale_gem")


def test_an_unknown_setting_of_extraction_in_the_folder_is_a_sentence(folder, tmp_path):
    document = read_json(folder / "config.json")
    document["model"]["extraction"]["colour"] = 1
    write_json(tmp_path / "config.json", document)
    (tmp_path / "model.weights.h5").write_bytes((folder / "model.weights.h5").read_bytes())
    with pytest.raises(InputError, match="unknown settings of extraction: colour"):
        build_extractor(str(tmp_path))


def test_a_backbone_that_lacks_a_switch_is_a_sentence(model, monkeypatch):
    from delg.backbones import table

    monkeypatch.setitem(table.BACKBONES, "plain", lambda block3_strides=False: table.resnet_small((1, 1, 1, 1)))
    with pytest.raises(InputError, match="relup"):
        extractor(delg.create("delg_small", backbone="plain"), relup=True)

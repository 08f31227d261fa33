"""The released signatures: names, shapes and values."""

import numpy as np
import pytest
import tensorflow as tf

from delg.exporting.pyramid import local_rows, scaled_size, select
from tests.delg.exported import (
    IMAGE,
    SCALES,
    Exporter,
    globally,
    model_with_both_heads,
    plain,
    run,
    signature,
    unwritten,
)


@pytest.fixture(scope="module")
def model():
    return model_with_both_heads()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return Exporter(model, tmp_path_factory.mktemp("exported"))


def cells(model):
    """Every local feature of every scale, in the order of the scales: boxes, features, scales, scores."""
    rows = []
    for scale in SCALES:
        outputs = plain(model, scale)
        height, width = outputs["attention"].shape
        for i in range(height):
            for j in range(width):
                y, x = 8 * i, 8 * j
                box = np.array([y - 6, x - 6, y + 6, x + 6]) / scale  # a cell sees 13 pixels
                rows.append((box, outputs["local_descriptors"][i, j], 1 / scale, outputs["attention"][i, j]))
    return [np.array(column) for column in zip(*rows)]


@pytest.mark.parametrize(
    ("kind", "options", "inputs", "outputs"),
    [
        (
            "local",
            {},
            {"image", "scales", "max_feature_num", "abs_thres"},
            {"boxes": (None, 4), "features": (None, 8), "scales": (None,), "scores": (None, 1)},
        ),
        (
            "local_and_global",
            {},
            {"image", "scales", "max_feature_num", "abs_thres", "global_scales_ind"},
            {
                "boxes": (None, 4),
                "features": (None, 8),
                "scales": (None,),
                "scores": (None, 1),
                "global_descriptors": (None, 16),
            },
        ),
        ("global", {}, {"image", "scales", "global_scales_ind"}, {"global_descriptors": (None, 16)}),
        (
            "global",
            {"multi_scale_pool_type": "sum"},
            {"image", "scales", "global_scales_ind"},
            {"global_descriptor": (16,)},
        ),
        ("global", {"input_scales_list": (1.0, 0.5)}, {"image"}, {"global_descriptors": (None, 16)}),
    ],
)
def test_names_types_and_shapes_are_the_released_ones(exported, kind, options, inputs, outputs):
    every = {
        "image": (tf.uint8, [None, None, 3]),
        "scales": (tf.float32, [None]),
        "max_feature_num": (tf.int32, []),
        "abs_thres": (tf.float32, []),
        "global_scales_ind": (tf.int32, [None]),
    }
    function = signature(exported(kind, **options)).function
    given = function.structured_input_signature[1]
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in given.items()} == {
        f"input_{name}": every[name] for name in inputs
    }
    assert {name: tuple(spec.shape.as_list()) for name, spec in function.structured_outputs.items()} == outputs
    assert all(spec.dtype == tf.float32 for spec in function.structured_outputs.values())


def test_local_features_are_the_best_cells_of_all_scales(model, exported):
    boxes, features, scales, scores = cells(model)
    found = run(signature(exported("local_and_global")))
    order = np.argsort(-scores, kind="stable")
    assert found["scores"].shape == (len(scores), 1)
    np.testing.assert_allclose(found["scores"][:, 0], scores[order], atol=1e-5)
    for row in range(0, len(scores), 7):  # neighbours of equal score may be swapped
        cell = np.abs(np.column_stack([boxes, scales]) - [*found["boxes"][row], found["scales"][row]]).max(1).argmin()
        np.testing.assert_allclose(found["boxes"][row], boxes[cell], atol=1e-3)
        np.testing.assert_allclose(found["features"][row], features[cell], atol=1e-5)
        np.testing.assert_allclose(found["scores"][row, 0], scores[cell], atol=1e-5)
        np.testing.assert_allclose(found["scales"][row], scales[cell], rtol=1e-6)


def test_threshold_and_limit(exported):
    call = signature(exported("local_and_global"))
    every = run(call)
    middle = float(every["scores"][40, 0])
    some = run(call, threshold=middle)
    assert len(some["scores"]) == (every["scores"] >= middle).sum()
    few = run(call, limit=5, threshold=middle)
    for key in ("boxes", "features", "scales", "scores"):
        np.testing.assert_array_equal(few[key], every[key][:5])
    none = run(call, threshold=1e9)
    assert [none[key].shape for key in ("boxes", "features", "scales", "scores")] == [(0, 4), (0, 8), (0,), (0, 1)]
    np.testing.assert_array_equal(none["global_descriptors"], every["global_descriptors"])
    assert run(call, limit=0)["boxes"].shape == (0, 4)


def test_global_rows_follow_the_scales_not_the_indices(model, exported):
    expected = [plain(model, scale)["global_descriptor"] for scale in SCALES]
    for kind in ("local_and_global", "global"):
        call = signature(exported(kind))
        if kind == "global":
            call = globally(call)
        found = run(call, chosen=(2, 0, 2))["global_descriptors"]
        np.testing.assert_allclose(found, [expected[0], expected[2]], atol=1e-5)
        assert np.abs(found[0] - found[1]).max() > 1e-4
        assert run(call, chosen=())["global_descriptors"].shape == (0, 16)


def test_the_local_export_is_the_local_part(exported):
    call, both = signature(exported("local")), run(signature(exported("local_and_global")), limit=50)
    found = call(
        input_image=tf.constant(IMAGE),
        input_scales=tf.constant(SCALES),
        input_max_feature_num=tf.constant(50),
        input_abs_thres=tf.constant(0.0),
    )
    np.testing.assert_allclose(found["scores"], both["scores"], atol=1e-6)
    np.testing.assert_allclose(found["boxes"], both["boxes"], atol=1e-3)


@pytest.mark.parametrize("normalize", [False, True])
def test_pooled_global_descriptors(model, normalize):
    rows = np.array([plain(model, scale)["global_descriptor"] for scale in SCALES])
    pooled = {"average": rows[[0, 2]].mean(0), "sum": rows[[0, 2]].sum(0), "None": rows[[0, 2]]}
    for pool, raw in pooled.items():
        options = {"multi_scale_pool_type": pool, "normalize_global_descriptor": normalize}
        found = run(globally(unwritten(model, kind="global", **options)))
        value = raw / np.linalg.norm(raw, axis=-1, keepdims=True) if normalize else raw
        name = "global_descriptors" if pool == "None" else "global_descriptor"
        assert set(found) == {name}
        np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_fixed_scales_are_all_global(model, exported):
    call = signature(exported("global", input_scales_list=(1.0, 0.5)))
    found = call(input_image=tf.constant(IMAGE))["global_descriptors"]
    expected = [plain(model, scale)["global_descriptor"] for scale in (1.0, 0.5)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scales_that_are_too_small_are_left_out(model, exported):
    call = signature(exported("local_and_global"))
    side = model.min_side
    image = IMAGE[: 2 * side, : 2 * side]
    found = run(call, image, scales=(0.2, 1.0, 0.5), chosen=(0, 1, 2))
    assert found["global_descriptors"].shape == (2, 16)
    assert set(found["scales"].tolist()) == {1.0, 2.0}
    nothing = run(call, image, scales=(0.2, 0.1))
    assert nothing["global_descriptors"].shape == (0, 16)
    assert nothing["boxes"].shape == (0, 4)


def test_any_size_and_number_of_scales_with_one_trace(exported):
    call = signature(exported("local_and_global"))
    for height, width, scales in ((40, 31, [1.0]), (33, 64, [0.5, 0.7, 1.0, 2.0]), (64, 64, [1.0, 1.0])):
        found = run(call, np.full((height, width, 3), 90, np.uint8), scales=scales, chosen=(0,))
        assert len(set(found["scales"].tolist())) == len(set(scales))
    assert len(call.loaded.signatures) == 1
    assert call.function.structured_input_signature[1]["input_image"].shape.as_list() == [None, None, 3]


def test_sizes_round_halves_to_even_or_are_cut_down():
    sides, half = tf.constant([25, 27]), tf.constant(0.5)
    assert scaled_size(sides, half).numpy().tolist() == [12, 14]
    assert scaled_size(sides, half, "superglobal").numpy().tolist() == [12, 13]


def test_boxes_scales_and_threshold_by_hand():
    attention = tf.constant([[[1.0, 5.0], [4.0, 2.0]]])
    descriptors = tf.reshape(tf.range(12.0), [1, 2, 2, 3])
    rows = local_rows(attention, descriptors, tf.constant(0.5), tf.constant(2.0), stride=16.0, padding=145.0)
    rows = {key: value.numpy().tolist() for key, value in rows.items()}
    assert rows == {
        "boxes": [[-290, -258, 290, 322], [-258, -290, 322, 290], [-258, -258, 322, 322]],
        "features": [[3, 4, 5], [6, 7, 8], [9, 10, 11]],
        "scales": [2, 2, 2],
        "scores": [5, 4, 2],
    }


def test_selection_ties_and_overlaps():
    rows = {
        "boxes": tf.constant([[0.0, 0.0, 10.0, 10.0], [0.0, 1.0, 10.0, 11.0], [0.0, 20.0, 10.0, 30.0]]),
        "scores": tf.constant([1.0, 3.0, 3.0]),
    }

    def kept(limit, iou):
        return select(rows, tf.constant(limit), iou)["boxes"][:, 1].numpy().tolist()

    assert kept(3, 1.0) == [1, 20, 0]
    assert kept(1, 1.0) == [1]
    assert kept(9, 0.5) == [1, 20]  # the first two overlap by 90 of 110
    assert kept(9, 0.85) == [1, 20, 0]
    assert kept(1, 0.5) == [1]
    assert kept(-1, 1.0) == []


def test_an_export_with_suppression_has_fewer_boxes(model, exported):
    every = run(signature(exported("local_and_global")))
    some = run(unwritten(model, kind="local_and_global", iou=0.2))
    assert 0 < len(some["boxes"]) < len(every["boxes"])
    np.testing.assert_allclose(some["scores"][0], every["scores"][0], rtol=1e-5)

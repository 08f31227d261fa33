"""The exported SavedModel against what the released one gives, and the released extractor's pipeline around it."""

import json

import numpy as np
import pytest

from delg.exporting.files import export_model
from delg.exporting.options import ExportOptions
from extraction.extractors.saved_model import SavedModelExtractor
from tests.golden import rule
from tests.golden.conftest import largest_difference, load_golden, rms

SCALES = (0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0)
LIMIT = 200
WITH_STRIDES = pytest.mark.parametrize("released", [True], ids=["strides1"], indirect=True, scope="session")
CLOSE = 1e-4  # twice the tolerance of a score: such neighbours may be swapped


@pytest.fixture(scope="module")
def golden(request):
    return load_golden(request.config, "delg_extract")


@pytest.fixture(scope="module")
def meta(golden):
    return json.loads(str(golden["meta"]))


@pytest.fixture(scope="module")
def image(meta):
    return rule.synthetic_image(*meta["image"])


@pytest.fixture(scope="module")
def exported(released, tmp_path_factory):
    """The prefix of the golden fields and the folder of the export."""
    prefix, model = released
    folder = tmp_path_factory.mktemp(prefix) / "exported"
    export_model(model, ExportOptions(kind="local_and_global"), folder)
    return prefix, folder


@pytest.mark.slow
@WITH_STRIDES
def test_the_export_gives_what_the_released_model_gives(exported, golden, meta, image, measured):
    import tensorflow as tf

    prefix, folder = exported
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    for case, gap in (("raw", "gap_at_200"), ("raw_high", "gap_high")):
        expected = fields(golden, f"{prefix}/{case}")
        if not expected:
            continue
        found = signature(
            input_image=tf.constant(image),
            input_scales=tf.constant(SCALES),
            input_max_feature_num=tf.constant(LIMIT),
            input_abs_thres=tf.constant(expected["threshold"]),
            input_global_scales_ind=tf.constant([3, 4, 5]),
        )
        found = {key: value.numpy() for key, value in found.items()}
        assert found["scores"].shape == (len(expected["boxes"]), 1)
        order = same_rows(found, expected, meta[f"{prefix}/"][gap])
        stage = f"DELG exported model, {prefix}"
        for key, tolerance in (("boxes", 1e-3), ("scales", 1e-5), ("scores", 5e-5)):
            value = found[key][order].reshape(expected[key][: len(order)].shape)
            measured(f"{stage}: {key}", largest_difference(value, expected[key][: len(order)]), tolerance)
        for key, value in (("features", found["features"][order]), ("global_descriptors", found["global_descriptors"])):
            if key in expected:
                rows = min(len(expected[key]), len(value))
                difference = largest_difference(value[:rows], expected[key][:rows]) / rms(expected[key])
                measured(f"{stage}: {key} / RMS", difference, 5e-5)


@pytest.mark.slow
@WITH_STRIDES
def test_the_pipeline_around_it_gives_what_the_released_extractor_gives(exported, golden, meta, image, measured):
    prefix, folder = exported
    for case, size in (("extractor", -1), ("extractor_max160", meta["max_image_size"])):
        expected = fields(golden, f"{prefix}/{case}")
        extractor = SavedModelExtractor(
            str(folder),
            max_image_size=size,
            max_feature_num=LIMIT,
            score_threshold=float(expected["threshold"]),
        )
        features = extractor(image, "image")
        found = {"centres": features.keypoints[:, ::-1], "scales": features.scales, "scores": features.scores}
        wanted = {
            "centres": expected["locations"],
            "scales": expected["scales"],
            "scores": expected["attention"],
        }
        gap = meta[f"{prefix}/"]["gap_at_200"] if case == "extractor" else meta[f"{prefix}/{case}/"]["gap"]
        order = same_rows(found, wanted, gap)
        stage = f"SavedModel extractor, {prefix}"
        for key, tolerance in (("centres", 1e-3), ("scales", 1e-5), ("scores", 5e-5)):
            measured(f"{stage}: {key}", largest_difference(found[key][order], wanted[key][: len(order)]), tolerance)
        rows = min(len(expected["descriptors"]), len(order))
        descriptors = features.descriptors[order][:rows]
        measured(f"{stage}: descriptors", largest_difference(descriptors, expected["descriptors"][:rows]), 3e-6)
        descriptor = features.global_descriptor
        measured(f"{stage}: global", largest_difference(descriptor, expected["global_descriptor"]), 1e-6)


def fields(golden, prefix):
    """The fields below a prefix."""
    return {key.rpartition("/")[2]: value for key, value in golden.items() if key.rpartition("/")[0] == prefix}


def same_rows(found, expected, gap):
    """Our rows in the order of the golden ones; neighbours of nearly the same score may be swapped.

    ``gap`` is the distance of scores at the end of the selection; where it is small the last row may be another.
    """
    place, theirs = ({k: np.asarray(v) for k, v in rows.items()} for rows in (found, expected))
    where = "boxes" if "boxes" in place else "centres"
    assert len(place["scores"]) == len(theirs["scores"])
    rows = len(theirs["scores"]) - (gap < CLOSE)
    ours = np.column_stack([place[where], place["scales"]])
    order = []
    for row in np.column_stack([theirs[where], theirs["scales"]])[:rows]:
        order.append(int(np.abs(ours - row).max(1).argmin()))
    assert len(set(order)) == len(order)
    scores = place["scores"].ravel()
    assert all(row == column or abs(scores[column] - scores[row]) < CLOSE for row, column in enumerate(order))
    return order

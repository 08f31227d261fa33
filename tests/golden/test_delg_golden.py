"""The R50 model in inference mode against the released code, at the tolerances of the golden files."""

import numpy as np
import pytest
from keras import ops

from delg.numerics import l2_normalize
from tests.golden import rule
from tests.golden.conftest import image_of, largest_difference, load_golden, rms

ABSOLUTE = {"attn_score": 5e-5, "attn_prob": 5e-5, "global_l2": 1e-6, "ae_features_l2": 3e-6}
OF_RMS = 5e-5
STAGES = ("block0mp", "block1", "block2", "block3", "block4")


@pytest.fixture(scope="module")
def golden(request) -> dict[str, np.ndarray]:
    return load_golden(request.config, "delg_r50")


def stages(model, image: np.ndarray) -> dict[str, np.ndarray]:
    x = model.normalize(image[None])
    maps = model.backbone(x, training=False)
    out = model.heads(maps)
    values = {
        "block0mp": maps["block0"],
        **{f"block{i}": maps[f"block{i}"] for i in range(1, 5)},
        "ae_features": out["local_descriptors"],
        "ae_features_l2": l2_normalize(out["local_descriptors"]),
        "ae_reconstruction": out["reconstruction"],
        "attn_score": model.local_head.attention.scores(out["reconstruction"]),
        "attn_prob": out["attention"][..., None],
        "attn_pooled": out["attention_pooled"],
        "gem_pooled": model.pooling(maps["block4"]),
        "global_raw": out["global_descriptor"],
        "global_l2": l2_normalize(out["global_descriptor"]),
    }
    return {name: np.asarray(ops.convert_to_numpy(value)) for name, value in values.items()}


def compare(key: str, expected: np.ndarray, ours: np.ndarray, measured) -> None:
    """One field: a sample, the shape, the moments, or the whole array."""
    _, _, stage, *part = key.split("/")
    if part == ["shape"]:
        assert tuple(expected) == ours.shape, key
    elif part == ["mean_std"]:
        moments = np.array([ours.mean(dtype=np.float64), ours.std(dtype=np.float64)])
        measured("DELG: mean and deviation of a stage, relative", np.abs(moments / expected - 1).max(), 1e-5)
    else:
        value = rule.sample(ours, key) if part else ours
        difference = largest_difference(value, expected)
        if stage in ABSOLUTE:
            measured(f"DELG: {stage}", difference, ABSOLUTE[stage])
        else:
            kind = "stage outputs" if stage in STAGES else stage
            measured(f"DELG: {kind} / RMS", difference / rms(expected), OF_RMS)


def test_every_stage_equals_the_released_code(released, golden, measured):
    prefix, model = released
    fields = [key for key in golden if key.startswith(f"{prefix}/img")]
    images = sorted({key.split("/")[1] for key in fields})
    assert images
    for name in images:
        ours = stages(model, image_of(name))
        of_image = [key for key in fields if key.startswith(f"{prefix}/{name}/")]
        assert {key.split("/")[2] for key in of_image} >= {"block1", "block4", "attn_prob", "global_l2"}
        for key in of_image:
            compare(key, golden[key], ours[key.split("/")[2]], measured)

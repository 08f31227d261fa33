"""The R50 model in inference mode against the released code, at the tolerances of the golden files."""

import numpy as np
from keras import ops

from delg.numerics import l2_normalize
from tests.golden import rule

ABSOLUTE = {"attn_score": 5e-5, "attn_prob": 5e-5, "global_l2": 1e-6, "ae_features_l2": 3e-6}
OF_RMS = 5e-5


def stages(model, image: np.ndarray) -> dict[str, np.ndarray]:
    x = model.normalize(image[None])
    maps = model.backbone(x, training=False)
    out = model(x, training=False)
    pooled = model.pooling(maps["block4"])
    values = {
        **{f"block{i}": maps[f"block{i}"] for i in range(1, 5)},
        "ae_features": out["local_descriptors"],
        "ae_features_l2": l2_normalize(out["local_descriptors"]),
        "ae_reconstruction": out["reconstruction"],
        "attn_score": model.local_head.attention.scores(out["reconstruction"]),
        "attn_prob": out["attention"][..., None],
        "attn_pooled": out["attention_pooled"],
        "gem_pooled": pooled,
        "global_raw": out["global_descriptor"],
        "global_l2": l2_normalize(out["global_descriptor"]),
    }
    return {name: np.asarray(ops.convert_to_numpy(value)) for name, value in values.items()}


def test_every_stage_equals_the_released_code(released, delg_golden):
    prefix, model = released
    images = sorted({key.split("/")[1] for key in delg_golden if key.startswith(prefix)})
    assert images
    compared = 0
    for name in images:
        seed, size = name.removeprefix("img").split("_")
        height, width = map(int, size.split("x"))
        ours = stages(model, rule.synthetic_image(int(seed), height, width))
        for key, expected in delg_golden.items():
            if not key.startswith(f"{prefix}/{name}/"):
                continue
            stage = key.split("/")[2]
            if stage not in ours:
                continue
            if key.endswith("/sample"):
                value = rule.sample(ours[stage], key)
            elif "/shape" in key:
                assert tuple(expected) == ours[stage].shape, key
                continue
            elif "/mean_std" in key:
                value = np.array([ours[stage].mean(dtype=np.float64), ours[stage].std(dtype=np.float64)])
                np.testing.assert_allclose(value, expected, rtol=1e-5, err_msg=key)
                continue
            else:
                value = ours[stage].reshape(expected.shape)
            limit = ABSOLUTE.get(stage, OF_RMS * float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))))
            worst = float(np.abs(value - expected).max())
            print(f"{key}: largest difference {worst:.2e}, limit {limit:.2e}")
            assert worst <= limit, key
            compared += 1
    assert compared >= 6

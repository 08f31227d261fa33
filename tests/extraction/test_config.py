import json

import pytest

from delg.common.errors import InputError
from delg.presets import PRESETS
from extraction.config import OPTIONS, ExtractionConfig, fitted

GIVEN = {"image_scales": [0.5, 0.7, 1.0, 1.4], "global_scales_ind": [0, 1]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_scales": []}, "image_scales"),
        ({"image_scales": [0.0]}, "image_scales"),
        ({"image_scales": 1.0}, "expect numbers"),
        ({"global_scales_ind": [4]}, "indices from 0 to 3"),
        ({"global_scales_ind": [-1]}, "indices from 0 to 3"),
        ({"global_scales_ind": []}, "indices from 0 to 3"),
        ({"max_image_size": 0}, "max_image_size"),
        ({"min_image_size": 0}, "min_image_size"),
        ({"min_image_size": 2000}, "min_image_size 2000 is above max_image_size 1024"),
        ({"max_feature_num": 0}, "max_feature_num"),
        ({"keypoints": "left"}, "centre, released"),
        ({"score_threshold": "much"}, "expect numbers"),
        ({"score_threshold": float("nan")}, "score_threshold expects a finite number. Received: nan"),
        ({"score_threshold": float("inf")}, "score_threshold expects a finite number"),
        ({"image_scales": [float("nan")], "global_scales_ind": [0]}, "image_scales expects"),
        ({"global_scales_ind": [1.7]}, "expect numbers: expected whole numbers .* not 1.7"),
        ({"global_scales_ind": [float("inf")]}, "expect numbers"),
        ({"use_square_images": 1}, "use_square_images expects True or False"),
        ({"gem_plus": 1}, "gem_plus expects True or False"),
        ({"relup": None}, "relup expects True or False"),
        ({"antialias": "yes"}, "antialias expects True or False"),
        ({"scale_rule": "torch"}, "delg, superglobal, cvnet"),
        ({"scale_rule": "long_side", "max_image_size": -1, "image_scales": [0.5, 1.0]}, "max_image_size=-1"),
        ({"scale_rule": "long_side", "max_image_size": 64, "image_scales": [0.5, 1.5]}, r"image_scales=\[0.5, 1.5\]"),
        ({"crop_rule": "ceil"}, "round, truncate"),
        ({"scale_pooling": "max"}, "mean, scale_gem, sum"),
        ({"scale_pooling": "scale_gem(p=0.5)"}, "p of 1 or more"),
        ({"side_multiple": 0}, "side_multiple"),
        ({"side_multiple": 14, "scale_rule": "cvnet"}, "side_multiple"),
        ({"interpolation": "cubic"}, "cubic"),
        ({"scale_rule": "cvnet", "antialias": True}, "antialias=True cannot be combined with scale_rule='cvnet'"),
    ],
)
def test_options_out_of_range_are_a_sentence(options, said):
    with pytest.raises(InputError, match=said):
        ExtractionConfig(**GIVEN | options)


def test_settings_are_every_option_as_json():
    config = ExtractionConfig(**GIVEN | {"global_scales_ind": [2, 0, 2], "max_image_size": -1, "min_image_size": 300})
    assert tuple(config.settings()) == OPTIONS
    again = json.loads(json.dumps(config.settings()))
    assert again["global_scales_ind"] == [0, 2]
    assert again["normalize_pooled"] is None
    assert ExtractionConfig(**again) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_the_extraction_of_every_preset_is_valid(preset):
    config = ExtractionConfig(**PRESETS[preset]["extraction"])
    superglobal = (config.gem_plus, config.regional_gem, config.relup, config.normalize_pooled)
    assert superglobal == (
        (True, True, True, True) if preset.startswith("superglobal") else (False, False, False, None)
    )
    rules = {"efficientnet": ("long_side", "sum", "round")}
    rules |= {"cvnet": ("cvnet", "sum", "truncate"), "superglobal": ("superglobal", "scale_gem", "truncate")}
    expected = rules.get(preset.split("_")[0], ("delg", "sum", "round"))
    assert (config.scale_rule, config.scale_pooling, config.crop_rule) == expected


def test_whole_numbers_of_any_type_are_indices():
    assert ExtractionConfig((0.5, 1.0), (1.0, 0)).global_scales_ind == (0, 1)


def test_indices_of_a_model_that_do_not_fit_the_given_scales():
    own = {"image_scales": [0.5, 0.7, 1.0], "global_scales_ind": [1, 2], "max_image_size": 9}
    assert fitted(own, {}) == own
    assert fitted(own, {"image_scales": [1.0]}) == own | {"image_scales": [1.0], "global_scales_ind": [0]}
    assert fitted(own, {"image_scales": [1.0, 2.0]})["global_scales_ind"] == [0, 1]
    assert fitted(own, {"image_scales": [1.0, 2.0, 3.0]})["global_scales_ind"] == [1, 2]
    assert fitted(own, {"image_scales": [1.0], "global_scales_ind": [1]})["global_scales_ind"] == [1]
    assert fitted(own, {"image_scales": 1.0})["global_scales_ind"] == [1, 2]

"""What tests of this room share."""

import pytest

import delg
from tests.extraction.pictures import write_picture
from tests.tiny import BACKBONE

SCALES = {"image_scales": [0.7, 1.0], "global_scales_ind": [1], "max_feature_num": 200}


@pytest.fixture
def folder(tmp_path):
    sizes = {"embedding_dim": 16, "local_dim": 8, "attention_channels": 8}
    delg.save(delg.create("delg_small", backbone=BACKBONE, extraction=SCALES, **sizes), tmp_path / "model")
    for i in range(3):
        write_picture(tmp_path / "photos" / f"{i}.png", 90, 120, seed=i)
    (tmp_path / "photos" / "bad.png").write_text("no image")
    return tmp_path

"""What tests of this room share."""

import shutil
from functools import lru_cache

import pytest

import delg
from extraction.runtimes import keras_runtime
from tests.extraction.pictures import write_picture
from tests.tiny import BACKBONE

SCALES = {"image_scales": [0.7, 1.0], "global_scales_ind": [1], "max_feature_num": 200}


@pytest.fixture(scope="session", autouse=True)
def traced_once():
    """Extractors of one network share its trace; tests whose extractors share a model keep its ``inference_model``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_runtime, "compiled", lru_cache(maxsize=8)(keras_runtime.compiled))
        yield


@pytest.fixture(scope="session")
def folder_made_once(tmp_path_factory):
    place, sizes = tmp_path_factory.mktemp("user"), {"embedding_dim": 16, "local_dim": 8, "attention_channels": 8}
    delg.save(delg.create("delg_small", backbone=BACKBONE, extraction=SCALES, **sizes), place / "model")
    for i in range(3):
        write_picture(place / "photos" / f"{i}.png", 90, 120, seed=i)
    (place / "photos" / "bad.png").write_text("no image")
    return place


@pytest.fixture
def folder(folder_made_once, tmp_path):
    """A user's folder: an untrained model, three photos and a broken one."""
    return shutil.copytree(folder_made_once, tmp_path, dirs_exist_ok=True)

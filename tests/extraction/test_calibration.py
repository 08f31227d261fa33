"""Thresholds and int8 ranges from a sample of images."""

import numpy as np
import pytest

import delg
from extraction.calibration import keep_threshold, quantise, score_threshold
from extraction.delg_extractor import DelgExtractor
from extraction.images import list_images
from extraction.verification import verify
from protos.errors import InputError
from tests.extraction.pictures import picture, write_picture
from tests.test_commands import run

SCALES = {"image_scales": [0.7, 1.0], "global_scales_ind": [1], "max_feature_num": 200}


@pytest.fixture
def folder(tmp_path):
    small = "resnet_small(depths=(1, 1, 1, 1), widths=(8, 8, 8, 16))"
    sizes = {"embedding_dim": 16, "local_dim": 8, "attention_channels": 8}
    delg.save(delg.from_preset("delg_small", backbone=small, extraction=SCALES, **sizes), tmp_path / "model")
    for i in range(3):
        write_picture(tmp_path / "photos" / f"{i}.png", 90, 120, seed=i)
    (tmp_path / "photos" / "bad.png").write_text("no image")
    return tmp_path


def test_the_threshold_leaves_a_share_of_the_cells_out(folder):
    images, one = list_images(folder / "photos"), DelgExtractor.from_folder(str(folder / "model"))
    with pytest.raises(InputError, match="0 to 1"):
        score_threshold(one, images, 1.5)
    with pytest.raises(InputError, match="sample can be read"):
        score_threshold(one, [ref for ref in images if ref.name == "bad"], 0.5)
    threshold = score_threshold(one, images, 0.75)
    keep_threshold(folder / "model", threshold)
    again = DelgExtractor.from_folder(str(folder / "model"), max_feature_num=10**6)
    assert again.config.score_threshold == threshold
    every = DelgExtractor.from_folder(str(folder / "model"), max_feature_num=10**6, score_threshold=-1.0)
    counts = [[len(e(picture(90, 120, seed=i), "x")) for i in range(3)] for e in (again, every)]
    assert abs(sum(counts[0]) / sum(counts[1]) - 0.25) < 0.01


@pytest.mark.slow
def test_int8_is_near_float32_and_of_its_model_alone(folder):
    pytest.importorskip("nncf")
    place, images = str(folder / "model"), list_images(folder / "photos")
    options = {"runtime": "openvino", "precision": "int8"}
    with pytest.raises(InputError, match="delg-calibrate --precision=int8"):
        DelgExtractor.from_folder(place, **options)
    plain = DelgExtractor.from_folder(place)
    quantise(plain, images, place)
    found = DelgExtractor.from_folder(place, **options)
    assert len(found.settings["int8_sha256"]) == 64
    difference = verify(found, plain, images, 3)
    assert 0.98 < difference.global_cosine < 1 - 1e-7 and difference.local_cosine > 0.9
    with pytest.raises(InputError, match="other weights or switches"):
        DelgExtractor.from_folder(place, gem_plus=True, **options)
    plain.model.embedding_layer.bias.assign(np.ones(16))
    delg.save(plain.model, place)
    with pytest.raises(InputError, match="other weights or switches"):
        DelgExtractor.from_folder(place, **options)


def test_the_command(folder):
    done = run("calibrate", "--model=model", "--images_dir=photos", "--quantile=0.5", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "model: score_threshold 0." in done.stdout and "from 4 images" in done.stdout
    done = run("calibrate", "--model=model", "--images_dir=photos", cwd=folder)
    assert (done.returncode, done.stderr) == (
        1,
        "delg-calibrate: One of --quantile and --precision=int8 is required.\n",
    )

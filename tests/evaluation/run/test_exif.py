"""Whose photos are turned as their orientation tag says: yours, unless asked otherwise; none of a published set."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from delg.common.errors import InputError
from evaluation.run import pipeline
from extraction.extractors.table import build_extractor
from extraction.images import list_images
from extraction.pipeline import extract
from extraction.settings import set_reading
from extraction.store.reader import FeatureStore
from tests.evaluation.options import Config
from tests.evaluation.tiny import revisited_set
from tests.extraction.pictures import picture

MODEL = "rootsift(max_feature_num=60)"
RECORDED = {"apply": "orientation applied", "ignore": "orientation ignored"}


@pytest.fixture
def config(tmp_path):
    """Two instances of two photos, 90 x 140 pixels as stored, 140 x 90 as a viewer shows them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for instance in range(2):
        for view in range(2):
            place = tmp_path / "photos" / f"object{instance}" / f"{view}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            seen = picture(100, 150, seed=instance)[5 * view :, 5 * view :][:90, :140]
            Image.fromarray(seen).save(place, exif=exif)
    return Config(
        "folders", str(tmp_path / "photos"), output_dir=str(tmp_path / "out"), model=MODEL, rerank=("ransac",)
    )


def benchmark(config):
    return pipeline.benchmark(config, lambda line: None)


@pytest.mark.parametrize(("asked", "policy"), [(None, "apply"), ("apply", "apply"), ("ignore", "ignore")])
def test_your_own_photos(config, tmp_path, asked, policy):
    report = benchmark(replace(config, exif=asked))
    store = FeatureStore.open(tmp_path / "out" / "features" / "global" / "database")
    size = (90, 140) if policy == "apply" else (140, 90)
    assert store.settings["exif"] == report.settings["features"]["global"]["exif"] == RECORDED[policy]
    assert {store.features(i).image_size for i in range(4)} == {size}
    page = (tmp_path / "out" / "report.html").read_text()
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in pictures]
    thumbnails = [one for one in sizes if one[1] <= 120]
    assert thumbnails and all((width < height) == (policy == "apply") for width, height in thumbnails)


def test_features_that_exist_decide(config, tmp_path):
    images = list_images(config.data_dir)
    for policy, recorded in RECORDED.items():
        extract(set_reading(build_extractor(MODEL), exif=policy), images, tmp_path / policy, progress=False)
        given = replace(config, model=None, index_features_dir=str(tmp_path / policy), baselines=("histogram",))
        report = benchmark(replace(given, output_dir=str(tmp_path / f"of {policy}")))
        assert {made["exif"] for made in report.settings["features"].values()} == {recorded}
    with pytest.raises(InputError, match="--exif=apply"):
        benchmark(replace(given, exif="apply"))


def test_a_published_protocol_takes_photos_as_they_are_stored(tmp_path):
    place = revisited_set(tmp_path / "set", "roxford5k")
    config = Config("roxford5k", str(place), output_dir=str(tmp_path / "out"), model=MODEL, rerank=())
    report = benchmark(config)
    assert report.settings["features"]["global"]["exif"] == RECORDED["ignore"]
    with pytest.raises(InputError, match="--exif=apply"):
        benchmark(replace(config, exif="apply"))
    assert np.isfinite(report.rows[0].metrics["medium"]["mAP"])

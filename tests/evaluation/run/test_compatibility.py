"""Features whose recorded protocol is not that of the benchmark, of each other, or of a published model."""

from dataclasses import replace

import pytest

from delg.common.errors import InputError
from evaluation.benchmarks.table import build_benchmark
from evaluation.run import pipeline
from extraction.extractors.histogram import Histogram
from extraction.formats.checks import differences, version_differences
from extraction.pipeline import extract
from tests.evaluation.options import Config
from tests.evaluation.tiny import MeanColour, revisited_set

MADE = {
    "weights_sha256": "aa",
    "image_scales": [0.70710677, 1.0, 1.4142135],
    "global_scales_ind": [0, 1, 2],
    "max_image_size": 1024,
    "scale_pooling": "sum",
    "resize": "pillow bilinear",
    "decoder": "pillow 11.0.0",
    "exif": "orientation ignored",
    "package_version": "0.1.0",
}


def run(config):
    return pipeline.benchmark(config, lambda line: None)


@pytest.fixture
def config(tmp_path):
    folder = revisited_set(tmp_path / "set", "roxford5k")
    return Config("roxford5k", str(folder), output_dir=str(tmp_path / "out"), rerank=())


def given(config, tmp_path, queries=MADE, database=MADE, crop=True):
    """The configuration, with features of these settings."""
    benchmark = build_benchmark(config.benchmark, config.data_dir)
    asked = benchmark.queries if crop else [replace(query, crop=None) for query in benchmark.queries]
    extract(MeanColour(**queries), asked, tmp_path / "q", progress=False)
    extract(MeanColour(**database), benchmark.database, tmp_path / "d", progress=False)
    return replace(config, query_features_dir=str(tmp_path / "q"), index_features_dir=str(tmp_path / "d"))


def refused_or_told(config, tmp_path, message):
    """One sentence ends the run; with the flag it stands first in the reports."""
    with pytest.raises(InputError, match=message + r" --allow_protocol_mismatch runs it nevertheless"):
        run(config)
    report = run(replace(config, allow_protocol_mismatch=True))
    sentence = report.settings["protocol_mismatch"][0]
    for name, table in (("report.md", "| method"), ("report.html", "<table")):
        text = (tmp_path / "out" / name).read_text().replace("&#39;", "'")
        assert 0 < text.index(f"PROTOCOL MISMATCH: {sentence}") < text.index(table)
    return report


def test_features_of_another_crop_are_refused_or_told(config, tmp_path):
    config = given(config, tmp_path, crop=False)
    refused_or_told(config, tmp_path, r"roxford5k expects query images to be cropped.*records crop=False\.")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weights_sha256", "bb", r"weights_sha256 \('aa' and 'bb'\)"),
        (
            "image_scales",
            [0.7, 1.0, 1.4],
            r"image_scales \(\[0\.70710677, 1\.0, 1\.4142135\] and \[0\.7, 1\.0, 1\.4\]\)",
        ),
        ("max_image_size", 512, r"max_image_size \(1024 and 512\)"),
        ("resize", "opencv area", r"resize \('pillow bilinear' and 'opencv area'\)"),
        ("decoder", "libjpeg 9", r"decoder \('pillow' and 'libjpeg'\)"),
    ],
)
def test_queries_and_database_of_two_protocols_are_refused_or_told(config, tmp_path, key, value, message):
    config = given(config, tmp_path, database=MADE | {key: value})
    report = refused_or_told(config, tmp_path, f"q and .*d were made with different settings: {message}\\.")
    assert report.settings["query_features"][key] == MADE[key]


def test_turned_photos_do_not_fit_boxes(config, tmp_path):
    turned = MADE | {"exif": "orientation applied"}
    config = given(config, tmp_path, turned, turned)
    message = r"expects query images as they are stored \(exif='orientation ignored'\).*exif='orientation applied'\."
    refused_or_told(config, tmp_path, message)


def test_versions_are_noted_and_nothing_more(config, tmp_path):
    other = MADE | {"package_version": "0.2.0", "decoder": "pillow 12.0.0"}
    assert differences(MADE, other) == []
    assert version_differences(MADE, other) == [
        "decoder ('pillow 11.0.0' and 'pillow 12.0.0')",
        "package_version ('0.1.0' and '0.2.0')",
    ]
    report = run(given(config, tmp_path, database=other))
    assert "protocol_mismatch" not in report.settings
    assert "different versions: decoder ('pillow 11.0.0' and" in (tmp_path / "out" / "report.md").read_text()


def test_what_cannot_be_computed_is_refused_whatever_is_allowed(config, tmp_path):
    config = given(config, tmp_path)
    database = build_benchmark(config.benchmark, config.data_dir).database
    extract(Histogram(), database, tmp_path / "longer", progress=False)
    other = replace(config, index_features_dir=str(tmp_path / "longer"), allow_protocol_mismatch=True)
    with pytest.raises(InputError, match=r"cannot be compared: their global descriptors have 3 and \d+ values"):
        run(other)


@pytest.mark.parametrize("name", ["AMES", "official"])
def test_files_of_other_programs_are_not_compared_and_that_is_said(config, tmp_path, name):
    unknown = {"extractor": f"unknown, {name} files"}
    config = given(config, tmp_path, unknown, unknown, crop=False)
    report = run(replace(config, published="delg_r50_gldv1"))
    assert "protocol_mismatch" not in report.settings and len(report.settings["protocol_unknown"]) == 2
    assert (
        "q does not record how its features were made, so that their protocol is not checked."
        in (tmp_path / "out" / "report.md").read_text()
    )

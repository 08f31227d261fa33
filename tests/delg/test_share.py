"""A folder to be shared: the same weights as safetensors, and a card that says what is recorded and no more."""

import json
from pathlib import Path

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.exporting.card import licence_of
from delg.exporting.options import ExportOptions
from delg.exporting.share import share
from delg.saving import weights_sha256
from evaluation.report.model import Report, Row
from extraction import adaptation, whitening
from extraction.pca import Pca
from tests import processes
from tests.delg.exported import tiny

TRAINED = {"trained": {"images": 120, "num_classes": 7, "max_iters": 40, "optimizer": "sgd", "init_model": None}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("shared") / "model"
    delg.save(tiny(embedding_dim=6, local_dim=4, attention_channels=4, seed=3), place, provenance=TRAINED)
    return place


def report_of(place: Path, weights: str, **more: str) -> Path:
    """A report of features of some weights, as one part of a composed extractor."""
    part = {"weights_sha256": weights} | more
    settings = {
        "queries": 12,
        "database": 90,
        "junk": "keep",
        "features": {"global": {"extractor": "pair", "parts": {"global": part}}},
    }
    rows = [Row("global", {"medium": {"mAP": 43.21, "mP@1": 50.0}})]
    report = Report("roxford5k", rows, settings, {}, {"names": ["q"], "ap": {"global": {"medium": [43.21]}}})
    place.write_text(json.dumps(report.to_json()))
    return place


def test_the_command_writes_weights_whitening_and_card(folder, tmp_path):
    delg.save(delg.load(folder), tmp_path / "model", provenance=TRAINED)
    weights = weights_sha256(tmp_path / "model")
    whitening.save(Pca(np.zeros(4), np.eye(4), np.ones(4)), tmp_path / "model", weights)
    adapted = adaptation.Adaptation(np.eye(2), np.zeros(2))
    adaptation.save(adapted, tmp_path / "model", weights)
    report_of(tmp_path / "report.json", weights, adaptation=adapted.digest())
    flags = ("--model=model", "--output_dir=place/shared", "--kind=safetensors", "--licence=cc-by-4.0")
    done = processes.run("export", *flags, "--report=report.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shared = tmp_path / "place" / "shared"
    assert sorted(p.name for p in shared.iterdir()) == [
        "README.md", "adaptation.npz", "config.json", "local_whitening.npz", "model.safetensors",
    ]  # fmt: skip
    for ours, theirs in zip(delg.load(shared).weights, delg.load(folder).weights, strict=True):
        assert np.array(ours).tobytes() == np.array(theirs).tobytes()
    for part in (whitening, adaptation):
        assert part.load(shared, weights_sha256(shared)) is not None, "of the weights as they lie there"
    card = (shared / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n") and "# shared" in card
    for fact in (
        "120 images of 7 classes",
        "| max_iters | 40 |",
        "12 queries, 90 images",
        "| global | 43.21 | 50.00 |",
        adapted.digest(),
    ):
        assert fact in card
    assert weights in card and weights_sha256(shared) in card
    assert "init_model" not in card, "a setting without a value is no fact"
    for name, other in (("weights", "0" * 64), ("unadapted", weights)):
        report = report_of(tmp_path / f"{name}.json", other)
        done = processes.run("export", *flags[:1], "--output_dir=x", *flags[2:], f"--report={report}", cwd=tmp_path)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and f"{name}.json" in done.stderr
    assert not (tmp_path / "x").exists()


def test_nothing_known_is_said_so(tmp_path):
    delg.save(tiny(embedding_dim=6, seed=1), tmp_path / "model")
    (line,) = share(tmp_path / "model", tmp_path / "shared", "mine")
    assert "--licence" in line
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "license:" not in card and "is recorded" in card and "No measurement" in card


def test_the_licence_is_that_of_the_weights_a_model_began_with():
    dinov3 = {"format": "dinov3", "files": {}}
    assert licence_of({"published": "efficientnet_lite2"}, None) == "apache-2.0"
    assert licence_of(TRAINED | {"start": {"published": "efficientnet_lite2"}}, None) is None, "its owner's to say"
    assert licence_of({}, "mit") == "mit"
    for provenance in (dinov3, TRAINED | {"start": dinov3}):
        assert licence_of(provenance, None) == licence_of(provenance, "dinov3-license") == "dinov3-license"
        with pytest.raises(InputError, match="dinov3-license"):
            licence_of(provenance, "apache-2.0")
    with pytest.raises(InputError, match="--licence"):
        licence_of({}, "do: what")


def test_a_report_belongs_to_the_kind_safetensors():
    with pytest.raises(InputError, match=r"--report.*safetensors"):
        ExportOptions(kind="onnx", report=("report.json",))

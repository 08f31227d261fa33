"""Calibrations and tables from files of evidence, as the study writes them."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from matching.verdict import Calibration
from scripts.studies import verdicts


def evidence(name, extractor, hard):
    """Queries of 12 classes; true pairs have more evidence, and others as much more as a set is hard."""
    rng = np.random.default_rng(0)
    asked = []
    for label in map(str, range(12)):
        candidates = []
        for place in range(40):
            true = place < 2
            surprise = float(rng.gamma(9, 6) if true else hard * rng.gamma(0.5, 1))
            candidates.append(
                {
                    "label": label if true else str(rng.integers(12, 40)),
                    "first": place < 20,
                    "similarity": float(rng.normal(0.8 if true else 0.5, 0.05)),
                    "gap": float(rng.normal(6 if true else 1, 1)),
                    "tentative": 200,
                    "inliers": int(surprise) + 4,
                    "surprise": surprise,
                    "coverage": min(surprise / 100, 1.0),
                    "scale": 1.0,
                    "stretch": 1.0,
                }
            )
        asked.append({"label": label, "has": True, "ranks": [0, 1], "candidates": candidates})
    return {"part": "collect", "set": name, "extractor": extractor, "images": 500, "matching": {}, "queries": asked}


@pytest.fixture
def files(tmp_path):
    paths = []
    for name, hard in (("landmarks", 3.0), ("places", 1.0)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(evidence(name, "rootsift", hard)))
    return [str(path) for path in paths]


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["verdicts", *arguments])
    verdicts.main()


def test_calibrations_are_shipped_for_each_extractor_and_for_any(files, tmp_path, monkeypatch):
    run(monkeypatch, "ship", str(tmp_path / "shipped.json"), *files)
    shipped = json.loads((tmp_path / "shipped.json").read_text())
    assert [(one["extractor"], len(one["heads"])) for one in shipped] == [
        (extractor, heads) for extractor in ("rootsift", "generic") for heads in (2, 1, 1)
    ]
    (tmp_path / "one.json").write_text(json.dumps(shipped[0]))
    calibration = Calibration.load(tmp_path / "one.json")
    assert len(calibration.absent) == 12, "those of the harder set"


def test_false_and_true_answers_are_counted(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verdicts, "HEADS", verdicts.HEADS[:1])
    run(monkeypatch, "measure", str(tmp_path / "table.md"), *files)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert capsys.readouterr().out.splitlines()[:-1] == lines
    (cells,) = [line.split(" | ") for line in lines if "global and local | places | this set" in line]
    assert cells[3] == "0.0 (0.0 to 26.5), 100.0", "none of 12, and all"
    assert float(cells[-1].strip(" |")) < 0.1


def test_the_order_by_evidence(files, tmp_path, monkeypatch):
    run(monkeypatch, "order", str(tmp_path / "order.md"), *files)
    assert (
        "| rootsift | places | 100.0 / 100.0 | 100.0 / 100.0 | 100.0 / 100.0 |" in (tmp_path / "order.md").read_text()
    )


def test_the_reliability_of_each_way_is_drawn(files, tmp_path, monkeypatch):
    run(monkeypatch, "reliability", str(tmp_path / "picture.svg"), *files)
    text = (tmp_path / "picture.svg").read_text()
    ElementTree.fromstring(text)
    assert "rootsift: this set, other classes" in text and "right, predicted" in text

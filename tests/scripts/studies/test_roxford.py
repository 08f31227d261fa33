"""Features made by rule on a ground truth, through the real benchmark command."""

import pytest

from delg.common.errors import InputError
from delg.common.files import read_json
from evaluation.benchmarks.table import build_benchmark
from extraction.store.reader import FeatureStore
from matching.rerankers.table import build_reranker
from scripts.studies import roxford
from tests.evaluation.tiny import revisited_set


def test_right_images_are_found_and_verified_by_the_command(tmp_path, monkeypatch, capfd):
    gnd = revisited_set(tmp_path / "set") / "gnd_landmarks.pkl"
    given = ["roxford", str(gnd), str(tmp_path / "out"), "--dimension=512", "--local=60", "--rerank=ransac"]
    monkeypatch.setattr("sys.argv", given)
    roxford.main()
    report = read_json(tmp_path / "out" / "report" / "report.json")
    assert [row["method"] for row in report["rows"]] == ["global", "global+ransac"]
    assert report["rows"][1]["metrics"]["medium"]["mAP"] == 100
    lines = capfd.readouterr().out.splitlines()
    assert "5 images with local features" in lines[0] and "GiB" in lines[-1]
    stores = [FeatureStore.open(tmp_path / "out" / name) for name in ("queries", "database")]
    benchmark = build_benchmark("landmarks", str(tmp_path / "set"))
    found = build_reranker("ransac").inliers(stores[0].features(0), stores[1].features(0))
    wrong = build_reranker("ransac").inliers(stores[0].features(0), stores[1].features(4))
    assert len(found) > 3 > len(wrong), benchmark.database[4].name
    monkeypatch.setattr("sys.argv", [*given[:3], "--dimension=512", "--local=61"])
    with pytest.raises(InputError, match="holds features of other settings"):
        roxford.main()

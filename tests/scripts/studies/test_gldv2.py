"""GLDv2 by rule, through the real benchmark command, and the projection from it."""

import pytest

from delg.common.errors import InputError
from delg.common.files import read_json
from scripts.studies import gldv2


def test_queries_find_their_class_and_the_true_size_is_projected(tmp_path, monkeypatch, capfd):
    given = ["gldv2", str(tmp_path), "--queries=40", "--index=300", "--dimension=64"]
    monkeypatch.setattr("sys.argv", given)
    gldv2.main()
    row = read_json(tmp_path / "report" / "report.json")["rows"][0]
    assert row["metrics"]["public"]["top-1"] > 50
    lines = capfd.readouterr().out.splitlines()
    hours = row["ms_per_query"]["search"] * 117_577 * 4_132_914 / 300 / 3.6e6
    expected = f"projection, not measured: 117577 against 4132914 images take {hours:.1f} hours"
    assert lines[-1] == expected and "40 queries, 300 database images" in lines[1]
    monkeypatch.setattr("sys.argv", [*given[:3], "--index=301", "--dimension=64"])
    with pytest.raises(InputError, match=r"index holds 300 x 64 features, not 301 x 64; remove it\."):
        gldv2.main()


def test_queries_of_retrieval_find_their_image(tmp_path, monkeypatch, capfd):
    given = ["--task=retrieval", "--queries=40", "--index=300", "--dimension=64"]
    monkeypatch.setattr("sys.argv", ["gldv2", str(tmp_path), *given])
    gldv2.main()
    row = read_json(tmp_path / "report" / "report.json")["rows"][0]
    assert row["metrics"]["private"]["mP@1"] > 50
    assert "projection, not measured: 1129 against 761757 images" in capfd.readouterr().out

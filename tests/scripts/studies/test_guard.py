"""What a user can get wrong with the scripts of the benchmarks ends in one sentence, before any work."""

import subprocess
import sys

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.files import write_json
from evaluation.report.model import Report, Row
from scripts.studies import claims


def script(name, *arguments):
    command = [sys.executable, "-m", f"scripts.studies.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("claims", ["none"], "the following arguments are required: seeds"),
        ("claims", ["none", "0"], "claims: none/0/float cannot be read"),
        ("r1m", ["gnd_none.pkl", "out"], "gnd_none.pkl"),
        ("r1m", ["gnd_none.pkl", "out", "--rerank=alpha_qe"], "alpha_qe expects a top_k of at most 20000"),
        ("roxford", ["gnd_none.pkl", "out"], "gnd_none.pkl"),
    ],
)
def test_wrong_arguments(name, arguments, sentence):
    done = script(name, *arguments)
    assert done.returncode != 0 and sentence in done.stderr and "Traceback" not in done.stderr, done.stderr


def reports(folder, seed, rows, protocol="medium"):
    """The reports of a seed, with the rows that the claims are of."""
    random = np.random.default_rng(seed)
    for name in ("float", "uint8"):
        ap = {row: {protocol: random.uniform(0, 100, 12).tolist()} for row in rows}
        made = [
            Row(row, {p: {"mAP": float(np.mean(v))} for p, v in values.items()}, {"search": 1.0, "rerank": 2.0}, {})
            for row, values in ap.items()
        ]
        queries = {"names": [f"q{i}" for i in range(12)], "groups": list(range(12)), "ap": ap}
        write_json(folder / str(seed) / name / "report.json", Report("landmarks", made, {}, {}, queries).to_json())


def test_claims_need_their_rows_and_their_protocol(tmp_path, monkeypatch, capsys):
    rows = sorted({row for _, *sides in claims.CLAIMS for _, row in sides})
    for seed in (0, 1):
        reports(tmp_path / "good", seed, rows)
    reports(tmp_path / "few", 0, rows[:-1])
    reports(tmp_path / "other", 0, rows, "all")
    monkeypatch.setattr("sys.argv", ["claims", str(tmp_path / "good"), "0", "1"])
    claims.main()
    text = (tmp_path / "good" / "claims.md").read_text()
    assert text in capsys.readouterr().out and "2 seeds, 24 queries" in text
    assert text.count("\n|") == len(claims.CLAIMS) + 2
    for name, sentence in (("few", "The report has no row"), ("other", "no protocol medium; its protocols are all")):
        monkeypatch.setattr("sys.argv", ["claims", str(tmp_path / name), "0"])
        with pytest.raises(InputError, match=sentence):
            claims.main()

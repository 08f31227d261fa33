"""The tables of the ablation: means over seeds, changes paired by query, and what is not there yet."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.report.model import Report, Row
from scripts.studies import ablation, ablation_rows
from scripts.studies.ablation_rows import GROCERY, STUDIES
from scripts.studies.ablation_table import RANSAC, tables

SG = f"global+{ablation_rows.SUPERGLOBAL}"
KINDS = [f"global+{kind}" for kind in ablation_rows.KINDS]


def write(place: Path, values: dict[str, list[float]]) -> None:
    """A finished report with these average precisions of each query."""
    rows = [Row(name, {"all": {"mAP": float(np.mean(ap))}}, {}, {}) for name, ap in values.items()]
    count = len(next(iter(values.values())))
    queries = {
        "names": [f"q{i}" for i in range(count)],
        "groups": list(range(count)),
        "ap": {name: {"all": ap} for name, ap in values.items()},
    }
    place.mkdir(parents=True)
    (place / "report.json").write_text(json.dumps(Report("folders", rows, {}, {}, queries).to_json()))


def cells(text: str, title: str) -> list[str]:
    return next(
        [c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith(f"| {title} |")
    )


def test_rows_are_paired_with_their_base_by_query_and_seed(tmp_path):
    """The second seed is worse by ten in all rows; a row of that seed alone is held against that seed of its base."""
    for seed, gain, lower in ((0, 4.0, 0), (1, 8.0, 10)):
        base = [v - lower for v in (50.0, 60, 70, 80, 90, 40, 30, 20, 10, 55)]
        names = {"global": base, RANSAC: [v + 5 for v in base], SG: [v + 1 for v in base]}
        write(tmp_path / str(seed) / "base/queries", names | {kind: [v + 2 for v in base] for kind in KINDS})
        write(tmp_path / str(seed) / "cosface/queries", {"global": [v + gain for v in base], RANSAC: base})
    write(tmp_path / "1/gem_plus/queries", {"global": [v - 1 for v in base]})
    text = tables(GROCERY, tmp_path, [0, 1])
    assert text.startswith("10 queries")
    title = GROCERY.rows["cosface"].title
    assert cells(text, title)[1:5] == ["2", "51.50", "+6.00", "[+6.00, +6.00]"]
    assert cells(text, title)[6:10] == ["+4.0 to +8.0", "45.50", "-5.00", "[-5.00, -5.00]"]
    assert all(float(cells(text, title)[i]) < 0.01 for i in (5, 10)), "p of the same change of ten queries"
    assert cells(text, "GeM+")[1:5] == ["1", "39.50", "-1.00", "[-1.00, -1.00]"] and cells(text, "GeM+")[6] == "–"
    assert cells(text, "GeM+")[7:] == ["–"] * 6
    assert cells(text, GROCERY.rows["base"].title)[2:7] == ["45.50", "–", "–", "–", "–"]
    assert cells(text, "superglobal(m=100) against ransac(residual=8.0)")[1:4] == ["50.50", "46.50", "-4.00"]


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_row_has_its_training_and_its_base(name):
    study = STUDIES[name]
    assert next(iter(study.rows)) == "base"
    for row in study.rows.values():
        assert row.training in study.trainings
        assert row.base is None or row.base in study.rows


@pytest.mark.parametrize(("study", "reports"), [("landmarks", 1), ("grocery", 2)])
def test_a_row_is_benchmarked_on_the_data_of_its_study(study, reports, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(ablation, "delg", lambda *arguments: given.append(arguments))
    options = argparse.Namespace(study=study, database_dir="db")
    if study == "grocery":
        options.queries_dir = "q"
    ablation.benchmark(STUDIES[study].rows["base"], Path("m"), options, tmp_path)
    assert len(given) == reports and all("--data_dir=db" in arguments for arguments in given)
    rerank = next(text for text in given[0] if text.startswith("--rerank="))
    assert rerank.startswith(f"--rerank={STUDIES[study].ransac}, superglobal(m=100), ")
    assert reports == 1 or "--rerank=superglobal(m=100), superglobal(m=50)," in " ".join(given[1])

"""The table of rerankers: means, changes against the first stage, and seeds that are pooled."""

import json

import pytest

from delg.common.errors import InputError
from evaluation.report.model import Report, Row
from scripts.studies.rerankers import table

METHODS = {"global": [50.0, 40.0, 30.0, 20.0, 10.0, 60.0], "global+ransac": [100.0, 90.0, 80.0, 70.0, 60.0, 100.0]}


def write(folder, protocol, values, ms):
    """A report of six queries, each in a group of its own."""
    rows = [
        Row(name, {protocol: {"mAP": 0.0}}, {"search": 0.1, "rerank": ms if "+" in name else 0.0}, {"local": 1000.0})
        for name in values
    ]
    hits = {name: {protocol: [100.0, 0, 0, 0, 0, 0] if name == "global" else [100.0] * 6} for name in values}
    ap = {name: {protocol: found} for name, found in values.items()}
    queries = {"names": list("abcdef"), "groups": list(range(6)), "ap": ap, "hits": {"R@1": hits}}
    folder.mkdir(parents=True)
    document = Report(folder.name, rows, {}, {}, queries).to_json()
    (folder / "report.json").write_text(json.dumps(document))


def test_seeds_are_pooled_and_changes_are_those_of_queries(tmp_path):
    write(tmp_path / "reports/rootsift/places", "all", METHODS, 7.0)
    for seed, shift in ((0, 0), (1, -10)):
        values = {name: [value + shift for value in found] for name, found in METHODS.items()}
        write(tmp_path / f"reports/rootsift/landmarks{seed}", "medium", values, 2.0 + 2 * seed)
    text = table(tmp_path)
    landmarks, places = text.split("## ")[1:]
    assert landmarks.startswith("rootsift, landmarks\n\n12 queries, 2 seed(s).")
    assert places.startswith("rootsift, places\n\n6 queries, 1 seed(s).")
    cells = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")]
        for line in places.splitlines()
        if "|" in line
    }
    assert cells["first stage"][2] == "35.0" and cells["first stage"][7] == "16.7"
    assert cells["ransac"][2] == "83.3" and cells["ransac"][4] == "+48.3"
    assert cells["ransac"][7:10] == ["100.0", "7.0", "1000"]
    assert float(cells["ransac"][5].split(" to ")[0]) > 0
    assert "| ransac | 78.3 |" in landmarks and "| 3.0 | 1000 |" in landmarks


def test_files_of_weights_that_differ_in_a_number_are_one_row(tmp_path):
    values = METHODS | {
        f'global+elvis(weights="elvis{seed}.safetensors")': [value + shift for value in METHODS["global"]]
        for seed, shift in ((0, 10), (1, 30))
    }
    write(tmp_path / "reports/rootsift/places", "all", values, 7.0)
    row = next(line for line in table(tmp_path).splitlines() if "elvis" in line)
    assert row.startswith('| elvis(weights="elvis*.safetensors") | 55.0 (each: 45.0, 65.0) |') and "| +20.0 |" in row


def test_a_folder_without_reports_is_refused(tmp_path):
    with pytest.raises(InputError, match="no reports"):
        table(tmp_path)

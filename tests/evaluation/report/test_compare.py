"""Two reports side by side: the changes, the settings that differ, and what cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest

from delg.common.errors import InputError
from delg.common.files import read_json, write_json
from evaluation.report import compare as compared
from evaluation.report.compare import put_together
from evaluation.report.model import Report, Row
from tests import processes

COST = {"search": 1.0, "rerank": 0.0}, {"global": 8.0, "local": 0.0}


def made(folder, ap, benchmark="roxford5k", names=None, numpy="2", **settings):
    """A report of given average precisions ``{row: [percent]}``."""
    rows = [
        Row(
            row,
            {"all": {"mAP": float(np.nanmean(values))}},
            {"search": 1.0, "rerank": 0.0},
            {"global": 8.0, "local": 0.0},
        )
        for row, values in ap.items()
    ]
    count = len(next(iter(ap.values())))
    queries = {"names": names or [f"q{i}" for i in range(count)], "groups": list(range(count))}
    queries["ap"] = {row: {"all": list(values)} for row, values in ap.items()}
    report = Report(benchmark, rows, settings, {"numpy": numpy}, queries)
    write_json(folder / "report.json", report.to_json())
    return str(folder)


@pytest.fixture
def two(tmp_path):
    random = np.random.default_rng(0)
    values = random.uniform(20, 80, 30)
    one = made(tmp_path / "runs" / "a", {"global": values, "global+ransac": values + 5}, junk="keep", fingerprint="1")
    gains = {"global": values + random.normal(4, 3, 30), "global+ransac": values + 5, "rootsift": values}
    other = made(tmp_path / "runs" / "b", gains, junk="remove_before_rerank", fingerprint="2", numpy="3")
    return one, other


def test_changes_are_paired_by_query(two):
    found = put_together(*two)
    assert [pair.first for pair in found.pairs] == ["global", "global+ransac"] and found.names == ("a", "b")
    better, same = (change["mAP"]["all"] for change in found.changes)
    one, other = (report.queries["ap"]["global"]["all"] for report in found.reports)
    assert better["difference"] == pytest.approx(np.mean(other) - np.mean(one)) and better["p"] < 0.001
    assert better["low"] < better["difference"] < better["high"]
    assert (same["difference"], same["p"], same["p_corrected"]) == (0, 1, 1)
    assert found.settings == [("junk", "keep", "remove_before_rerank"), ("version numpy", "2", "3")]


def test_rows_of_different_names_are_compared_when_asked(two):
    found = put_together(*two, ("global+ransac", "rootsift"))
    assert found.changes[0]["mAP"]["all"]["difference"] == pytest.approx(-5)
    assert "global+ransac → rootsift" in compared.plain(found)
    shown = compared.plain(found)
    assert shown.index("global+ransac → rootsift") < shown.index("Settings that differ") < shown.index("junk: keep")
    with pytest.raises(InputError, match="its rows are global"):
        put_together(*two, ("global", "none"))


def test_what_cannot_be_compared_ends_in_a_sentence(two, tmp_path):
    values = [1.0] * 30
    for text, folder in (
        ("of roxford5k and of rparis6k", made(tmp_path / "p", {"global": values}, "rparis6k")),
        ("different queries", made(tmp_path / "q", {"global": values}, names=[f"x{i}" for i in range(30)])),
        ("No row is in both reports; name one", made(tmp_path / "r", {"histogram": values})),
    ):
        with pytest.raises(InputError, match=text):
            put_together(two[0], folder)
    with pytest.raises(InputError, match="cannot be read"):
        put_together(two[0], str(tmp_path / "none"))


@pytest.mark.parametrize("key", ["ground_truth_sha256", "answers_sha256", "solution_file_sha256"])
def test_reports_of_different_right_answers_are_refused_or_told(tmp_path, key):
    values = {"global": [float(value) for value in range(10)]}
    one, same = (made(tmp_path / name, values, **{key: "aaa111"}) for name in ("a", "same"))
    other, silent = made(tmp_path / "b", values, **{key: "bbb222"}), made(tmp_path / "silent", values)
    with pytest.raises(InputError, match=rf"right answers \({key} aaa111\.\.\. and bbb222.*; --allow_different_truths"):
        put_together(one, other)
    found = put_together(one, other, allow_different_truths=True)
    assert len(found.warnings) == 1 and "DIFFERENT RIGHT ANSWERS" in compared.render(found)
    assert put_together(one, same).warnings == [] == put_together(one, silent).warnings
    done = processes.run("compare", one, other)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    landmarks = [made(tmp_path / f"{flag}", values, ignore_non_landmarks=flag) for flag in (False, True)]
    with pytest.raises(InputError, match=r"right answers \(ignore_non_landmarks False and True\)"):
        put_together(*landmarks)
    forms = [made(tmp_path / form, values, answers_sha256="ccc", ground_truth_sha256=form) for form in ("pkl", "mat")]
    assert put_together(*forms).warnings == [], "the same right answers in files of two forms"
    done = processes.run("compare", one, other, "--allow_different_truths")
    assert done.returncode == 0 and "DIFFERENT RIGHT ANSWERS: A and B" in done.stdout, done.stderr


def test_what_either_report_warns_of_is_told_first(tmp_path):
    values = {"global": [float(value) for value in range(10)]}
    one = made(tmp_path / "a", values, ground_truth="gnd.pkl is not the released one.")
    other = made(tmp_path / "b", values, protocol_mismatch=["b crops no <query>."], version_differences=["keras 3, 4."])
    expected = ["A: GROUND TRUTH: gnd.pkl is not the released one.", "B: PROTOCOL MISMATCH: b crops no <query>."]
    found = put_together(one, other)
    assert found.warnings == [*expected, "B: keras 3, 4."]
    assert compared.plain(found).split("\n")[2:5] == found.warnings
    page = compared.render(found)
    assert page.index('role="alert">A: GROUND TRUTH') < page.index(
        'role="alert">B: PROTOCOL MISMATCH: b crops no &lt;query'
    )


def test_the_command_prints_and_writes_a_page(two, tmp_path):
    done = processes.run("compare", *two, "--output=c.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "roxford5k: A = a, B = b" in done.stdout and "junk: keep | remove_before_rerank" in done.stdout
    page = (tmp_path / "c.html").read_text()
    assert page.count('<table class="sortable">') == 2 and "q17</th>" in page and "http" not in page
    for wrong, message in ((["--rows=global"], "a row of each"), (["--output=x.txt"], "ending in .html")):
        done = processes.run("compare", *two, *wrong, cwd=tmp_path)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_reports_without_queries_cannot_be_paired(two, tmp_path):
    made(tmp_path / "z", {"global": [1.0]})
    document = replace(put_together(*two).reports[0], queries={"names": [], "ap": {}}).to_json()
    write_json(tmp_path / "z" / "report.json", document)
    with pytest.raises(InputError, match="a report of roxford5k, holds no average precision per query"):
        put_together(two[0], str(tmp_path / "z"))
    write_json(tmp_path / "z" / "report.json", {"benchmark": "gldv2_retrieval", "rows": [{"method": "mine"}]})
    with pytest.raises(InputError, match="a report of gldv2_retrieval, holds no average precision per query"):
        put_together(str(tmp_path / "z"), two[0])


def test_recall_is_compared_where_both_hold_it(two, tmp_path):
    hits = {"a": [0.0] * 20 + [100.0] * 10, "b": [100.0] * 30}
    for name, values in hits.items():
        folder = tmp_path / "runs" / name
        report = Report.from_json(read_json(folder / "report.json"))
        recall = {"R@1": float(np.mean(values))}
        rows = [replace(row, metrics={"all": row.metrics["all"] | recall}) for row in report.rows]
        of_rows = {"R@1": {row.method: {"all": values} for row in rows}}
        made_again = replace(report, rows=rows, queries=report.queries | {"hits": of_rows})
        write_json(folder / "report.json", made_again.to_json())
    found = put_together(*two)
    change = found.changes[0]["R@1"]["all"]
    assert change["difference"] == pytest.approx(200 / 3) and change["p"] < 0.001
    assert ["global", "all", "R@1", "33.33", "100.00", "+66.67"] in [line[:6] for line in compared.lines(found)]

"""Answers to the landmark challenges, from CSV files to numbers, report and sentences for mistakes."""

import json
from dataclasses import replace

import pytest

from delg.common import text_files
from delg.common.errors import InputError
from evaluation.options import BenchmarkOptions
from evaluation.run.scoring import score
from tests import processes

RECOGNITION = "id,landmarks,Usage\na,1,Public\nb,2 3,Public\nn,,Public\nc,4,Private\nd,5,Private\ni,6,Ignored\n"
ANSWERS = "id,landmarks\na,1 0.9\nn,7 0.8\nb,3 0.7\nc,9 0.5\ni,6 0.1\n"
RETRIEVAL = "id,images,Usage\np,x y,Private\nq,z,Private\nr,None,Ignored\n"
LISTS = "id,images\np,a x x y\nr,z\n"


@pytest.fixture
def files(tmp_path):
    def write(solution, predictions):
        (tmp_path / "S.csv").write_text(solution)
        (tmp_path / "P.csv").write_text(predictions)
        paths = {"solution_file": "S.csv", "predictions_file": "P.csv", "output_dir": "out"}
        return BenchmarkOptions(**{name: str(tmp_path / path) for name, path in paths.items()})

    return write


def delg(*arguments, cwd):
    return processes.run("benchmark", *arguments, cwd=cwd)


def test_recognition_by_command(files, tmp_path):
    files(RECOGNITION, ANSWERS)
    done = delg("--solution_file=S.csv", "--predictions_file=P.csv", "--output_dir=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["benchmark"] == "gldv2_recognition" and [row["method"] for row in report["rows"]] == ["P"]
    metrics = report["rows"][0]["metrics"]
    # public: right at 1 of 1, wrong, right at 2 of 3; two images show a landmark
    assert metrics["public"] == {"GAP": pytest.approx(100 * (1 + 2 / 3) / 2), "top-1": 100.0}
    assert metrics["private"] == {"GAP": 0.0, "top-1": 0.0}
    assert report["settings"]["ignore_non_landmarks"] is False
    assert report["settings"]["images"]["P"]["private"] == {"images": 2, "answered": 1}
    assert report["queries"]["names"] == ["a", "b", "n", "c", "d"]
    assert report["queries"]["ap"]["P"]["public"] == [100.0, pytest.approx(200 / 3), None, None, None]
    assert report["queries"]["places"]["P"]["public"] == [1.0, 3.0, 2.0, None, None]
    text = "private\n  GAP=0.00\n  top-1=0.00\npublic\n  GAP=83.33\n  top-1=100.00\n"
    assert (tmp_path / "out" / "metrics.txt").read_text() == text
    assert "P, private: 1 of 2 images have a prediction" in done.stdout and "83.33" in done.stdout
    assert str(tmp_path / "out" / "report.html") in done.stdout and "search ms" not in done.stdout
    assert "| P | 83.33 | 100.00 | 0.00 | 0.00 |" in (tmp_path / "out" / "report.md").read_text()
    arguments = ("--solution_file=S.csv", "--predictions_file=P.csv", "--output_dir=out", "--ignore_non_landmarks")
    done = delg(*arguments, cwd=tmp_path)
    assert "public\n  GAP=100.00\n" in (tmp_path / "out" / "metrics.txt").read_text(), done.stderr
    assert json.loads((tmp_path / "out" / "report.json").read_text())["settings"]["ignore_non_landmarks"] is True


def test_retrieval(files, tmp_path):
    said = []
    report = score(files(RETRIEVAL, LISTS), said.append)
    assert report.to_json() == json.loads((tmp_path / "out" / "report.json").read_text())
    assert report.benchmark == "gldv2_retrieval" and report.protocols == ["private"]
    assert report.rows[0].metrics["private"] == {
        "mAP@100": pytest.approx(100 * (1 / 2 + 2 / 4) / 2 / 2),
        "mP@1": 0.0,
        "mP@5": pytest.approx(20.0),
        "mP@10": pytest.approx(10.0),
        "mP@100": pytest.approx(1.0),
        "mean position": 51.5,  # 2, and 101 where nothing was found
        "median position": 51.5,
    }
    assert "P, private: 1 of 2 images have a prediction" in said and not any(
        "without a relevant" in line for line in said
    )
    assert (tmp_path / "out" / "metrics.txt").read_text().startswith("private\n  mAP@100=25.00\n  mP@1=0.00\n")


def test_the_answers_of_a_reranker_alone_make_a_page(files, tmp_path):
    config = files(RETRIEVAL, LISTS)
    (tmp_path / "P.csv").rename(tmp_path / "global+ransac.csv")
    score(replace(config, predictions_file=str(tmp_path / "global+ransac.csv")), lambda _: None)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Average precision per query" in page and "<figure>" not in page
    assert "change</th>" not in page and "best value" not in page, "of one row, nothing is compared"
    assert "milliseconds" not in page + (tmp_path / "out" / "report.md").read_text(), "of answers, no time is known"


def test_queries_without_a_relevant_image_are_counted(files):
    said = []
    report = score(files(RETRIEVAL + "s,,Private\n", LISTS), said.append)
    assert report.rows[0].metrics["private"]["mAP@100"] == pytest.approx(100 * (1 / 2 + 2 / 4) / 2 / 3)
    assert "private: queries without a relevant image, which count as not found: 1" in said
    assert report.settings["queries_without_relevant_images"] == {"public": 0, "private": 1}


def test_a_query_with_very_many_relevant_images(files):
    names = " ".join(f"{i:016x}" for i in range(9000))  # 153,000 characters
    config = files(f"id,images,Usage\nq,{names},Public\n", f"id,images\nq,{names[:169]}\n")
    assert score(config, lambda _: None).rows[0].metrics["public"]["mP@10"] == 100.0


@pytest.mark.parametrize(
    ("solution", "predictions", "message"),
    [
        ("id,Usage\na,Public\n", ANSWERS, r"columns id,landmarks,Usage or id,images,Usage\. Received: id,Usage$"),
        ("id,images,landmarks,Usage\n", ANSWERS, "columns id,landmarks,Usage or id,images,Usage"),
        ("", ANSWERS, r"Received: $"),
        (RECOGNITION, LISTS, r"P\.csv expects the columns id,landmarks\. Received: id,images"),
        (RECOGNITION, ANSWERS + "z,1 1\n", "line 7: the solution has no image 'z'"),
        ("id,landmarks,Usage\na,1,Ignored\n", "id,landmarks\n", r"no image of the Usage Public or Private\.$"),
    ],
)
def test_wrong_files_are_answered_in_one_sentence(files, tmp_path, solution, predictions, message):
    with pytest.raises(InputError, match=message):
        score(files(solution, predictions), lambda _: None)
    assert not (tmp_path / "out").exists()


def test_the_switch_is_of_recognition(files):
    config = files(RETRIEVAL, LISTS)
    with pytest.raises(InputError, match="--ignore_non_landmarks"):
        score(replace(config, predictions_file="not read", ignore_non_landmarks=True))


def test_columns_of_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        text_files.columns(tmp_path / "none.csv")


SCORES = ["--solution_file=S.csv", "--predictions_file=P.csv", "--output_dir=out"]
GLDV2 = ["--benchmark=gldv2_retrieval", "--output_dir=out", "--data_dir=x", "--model=rootsift"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--solution_file=S.csv", "--output_dir=out"], ["--predictions_file"]),
        ([*SCORES, "--model=rootsift"], ["--model"]),
        ([*SCORES, "--check", "--neighbours=5"], ["--predictions_file", "--check"]),
        (["--benchmark=folders", "--data_dir=x", "--output_dir=out", "--neighbours=5"], ["--neighbours"]),
        ([*GLDV2, "--labels_file=x", "--neighbours=5"], ["--labels_file", "--neighbours"]),
        ([*GLDV2, "--check"], ["--model", "--output_dir", "--check"]),
        (["--benchmark=gldv2_retrieval", "--check", "--data_dir=x", "--ignore_non_landmarks"], ["--ignore_non_landm"]),
        (["--check", "--benchmark=folders", "--data_dir=x", "--model=rootsift"], ["--model", "--check"]),
        (["--write_sums", "--benchmark=folders", "--junk=keep"], ["--junk", "--write_sums"]),
        (["--check", "--dataset_file_path=gnd.pkl"], ["--dataset_file_path"]),
        (["--check", "--benchmark=roxford5k", "--data_dir=x", "--distractors_dir=y"], ["--distractors_dir"]),
    ],
)
def test_flags_that_cannot_be_combined(tmp_path, arguments, named):
    done = delg(*arguments, cwd=tmp_path)
    assert done.returncode != 0 and all(flag in done.stderr for flag in named) and "Traceback" not in done.stderr

"""GLDv2 files with faults, and rankings that are cut, against the values that the released functions give.

The tables were made by running ``dataset_file_io.py`` and ``metrics.py`` of DELG's google_landmarks_dataset,
``dataset.py`` of its detect_to_retrieve, and ``compute_map`` of revisitop.
"""

import json

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.metrics import ranking
from evaluation.metrics.truth import Truth
from evaluation.options import BenchmarkOptions
from evaluation.run.scoring import score
from tests import processes

RETRIEVAL, TRUTH = "id,images,Usage\n", "id,images,Usage\nq,a b,Public\n"
# solution, answers; released AP@100, P@1, P@5; the same by default, None where it is refused
LISTS = {
    "an id twice among the relevant": (RETRIEVAL + "q,a a b,Public\n", "q,a b", (2 / 3, 1, 0.4), (2 / 3, 1, 0.4)),
    "two blanks in an answer": (TRUTH, "q,a  b", (5 / 6, 1, 0.4), (1, 1, 0.4)),
    "two blanks in a solution": (RETRIEVAL + "q,a  b,Public\n", "q,a b", (2 / 3, 1, 0.4), (1, 1, 0.4)),
    "a blank ends a solution": (RETRIEVAL + "q,a b ,Public\n", "q,a b ", (2 / 3, 1, 0.4), (1, 1, 0.4)),
    "a blank begins an answer": (TRUTH, "q, a b", (7 / 12, 0, 0.4), (1, 1, 0.4)),
    "empty ids are found": (RETRIEVAL + "q,a  b,Public\n", "q,x  b", (7 / 18, 0, 0.4), (0.25, 0, 0.2)),
    "other header names": ("query,truth,part\nq,a b,Public\n", "q,a b", (1, 1, 0.4), None),
    "an ignored id twice": (TRUTH + "r,a,Ignored\n", "r,a\nr,b\nq,x b", (0.25, 0, 0.2), (0.25, 0, 0.2)),
    "it twice in the solution": (TRUTH + "r,a,Ignored\nr,a,Ignored\n", "q,x b", (0.25, 0, 0.2), (0.25, 0, 0.2)),
    "a query twice in the solution": (RETRIEVAL + "q,a,Public\nq,a b,Public\n", "q,b", (0.5, 1, 0.2), None),
    "twice, once without answer": (TRUTH, "q,\nq,b", (0.5, 1, 0.2), None),
    "a query twice": (TRUTH, "q,a\nq,b", None, None),
    "an unknown query without answer": (TRUTH, "z,\nq,b", (0.5, 1, 0.2), None),
    "an unknown query": (TRUTH, "z,a\nq,b", None, None),
    "a tab": (TRUTH, "q,a\tb", (0, 0, 0), (1, 1, 0.4)),
}
CLASSES = "id,landmarks,Usage\n"
# solution, answers; released GAP, top-1; the same by default
ANSWERS = {
    "a class twice": (CLASSES + "q,1 1 2,Public\nr,3,Public\n", "q,1 0.5\nr,4 0.9", (0.25, 0.5), (0.25, 0.5)),
    "two blanks between classes": (CLASSES + "q,1  2,Public\n", "q,1 0.5", None, (1, 1)),
    "two blanks before a score": (CLASSES + "q,1,Public\n", "q,1  0.5", None, (1, 1)),
    "a blank after it": (CLASSES + "q,1,Public\nr,2,Public\n", "q,1 0.5 \nr,3 0.9", (0.25, 0.5), (0.25, 0.5)),
    "other header names": ("image,truth,part\nq,1,Public\nr,2,Public\n", "q,1 0.5\nr,3 0.9", (0.25, 0.5), None),
}
CASES = [("retrieval", "id,images\n", name, *case) for name, case in LISTS.items()]
CASES += [("recognition", "id,landmarks\n", name, *case) for name, case in ANSWERS.items()]


def scored(folder, solution, answers, reading):
    (folder / "s.csv").write_text(solution)
    (folder / "p.csv").write_text(answers)
    paths = {"solution_file": "s.csv", "predictions_file": "p.csv", "output_dir": "out"}
    options = BenchmarkOptions(**{name: str(folder / path) for name, path in paths.items()}, released_reading=reading)
    report = score(options, lambda _: None)
    assert report.settings.get("released_reading") == reading
    return list(report.rows[0].metrics["public"].values())


@pytest.mark.parametrize(("task", "header", "name", "solution", "answers", "released", "default"), CASES)
def test_files_with_faults(tmp_path, task, header, name, solution, answers, released, default):
    for reading, expected in ((task, released), (None, default)):
        if expected is None:
            with pytest.raises(InputError):
                scored(tmp_path, solution, header + answers + "\n", reading)
        else:
            found = scored(tmp_path, solution, header + answers + "\n", reading)
            assert found[: len(expected)] == pytest.approx([100 * value for value in expected], abs=1e-9)


def test_files_without_a_header_lose_no_row_in_silence(tmp_path):
    for solution, answers in ((TRUTH, "q,a b\n"), ("q,a b,Public\nr,a,Public\n", "id,images\nq,a b\n")):
        with pytest.raises(InputError, match="expects a header"):
            scored(tmp_path, solution, answers, "retrieval")
    with pytest.raises(InputError, match="--released_reading"):
        scored(tmp_path, TRUTH, "id,images\n", "matching")


def test_the_flag(tmp_path):
    (tmp_path / "s.csv").write_text("query,truth,part\nq,a b,Public\n")
    (tmp_path / "p.csv").write_text("query,answer\nq,a  b\n")
    files = ["--solution_file=s.csv", "--predictions_file=p.csv", "--output_dir=out"]

    def delg(*more):
        return processes.run("benchmark", *files, *more, cwd=tmp_path)

    assert delg().returncode == 1 and not (tmp_path / "out").exists()
    done = delg("--released_reading=retrieval")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["rows"][0]["metrics"]["public"]["mAP@100"] == pytest.approx(500 / 6)


# ranks of the positives in a list of 9, and how many there are; P@1, 5, 10 of both released evaluators;
# AP of revisitop, AP and R@1, 5, 10 of DELG; and P@1, 5, 10 by default, those of the whole ranking
CUT = [
    ([0, 1], 30, (1, 1, 1), 2 / 30, 1, (0.5, 1, 1), (1, 0.4, 0.2)),
    ([0], 2, (1, 1, 1), 0.5, 1, (1, 1, 1), (1, 0.2, 0.1)),
    ([0, 2], 3, (1, 2 / 3, 2 / 3), 0.527777777778, 0.791666666667, (0.5, 1, 1), (1, 0.4, 0.2)),
    ([3, 8], 9, (0, 0.2, 2 / 9), 0.033179012346, 0.149305555556, (0, 0.5, 1), (0, 0.2, 0.2)),
    ([], 4, (0, 0, 0), 0, 0, (0, 0, 0), (0, 0, 0)),
    ([2, 5], 2, (0, 0.2, 1 / 3), 0.216666666667, 0.216666666667, (0, 0.5, 1), (0, 0.2, 1 / 3)),  # nothing is cut off
]


@pytest.mark.parametrize(("ranks", "count", "precisions", "revisited", "delg", "recalls", "whole"), CUT)
def test_rankings_that_are_cut(ranks, count, precisions, revisited, delg, recalls, whole):
    order = np.full(9, 999) + np.arange(9)
    order[ranks] = np.arange(len(ranks))
    truth, nothing = np.arange(count), np.zeros(0, np.int64)

    def found(cut):
        scores = ranking.evaluate([order], [Truth(truth, nothing)], cut=cut)
        return [scores.ap[0], *scores.precisions[0], *scores.recalls[0]]

    behind = [sum(rank < k for rank in ranks) / count for k in (1, 5, 10)]
    assert found("whole") == pytest.approx([revisited, *whole, *behind], abs=1e-11)
    assert found("revisited") == pytest.approx([revisited, *precisions, *behind], abs=1e-11)
    assert found("delg") == pytest.approx([delg, *precisions, *recalls], abs=1e-11)
    rest = np.concatenate([order, 5000 + np.arange(3), np.arange(len(ranks), count)])  # the others come behind
    uncut = ranking.evaluate([rest], [Truth(truth, nothing)])
    assert uncut.precisions[0].tolist() == pytest.approx(whole)


def test_an_unknown_way_to_score_a_cut_ranking_is_refused():
    with pytest.raises(InputError, match="whole, revisited, delg"):
        ranking.evaluate([[0]], [Truth(np.array([0]), np.array([], int))], cut="released")

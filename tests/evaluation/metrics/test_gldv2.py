"""Landmark metrics against hand-worked numbers, and the files of the landmark challenges."""

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.benchmarks import gldv2_files
from evaluation.metrics import gldv2, ranking
from evaluation.metrics.gldv2 import Prediction, recognition, retrieval
from evaluation.metrics.truth import Truth


def values(metrics):
    """Name to value."""
    return {name: metric.value for name, metric in metrics.items()}


def any_recalls(scores):
    """The values R@k."""
    return {name: value for name, value in values(scores.metrics(any_recall=True)).items() if name.startswith("R@")}


def test_gap_by_hand():
    solution = {"a": (1,), "b": (2, 3), "c": (), "d": (4,)}
    answers = {"a": Prediction(1, 0.9), "c": Prediction(7, 0.8), "b": Prediction(3, 0.7)}
    # right at 1 of 1, wrong, right at 2 of 3; three images show a landmark
    found = values(recognition(answers, solution, ignore_non_landmarks=False))
    assert found == pytest.approx({"GAP": 100 * (1 + 2 / 3) / 3, "top-1": 200 / 3}, abs=1e-12)
    found = values(recognition(answers, solution, ignore_non_landmarks=True))
    assert found == pytest.approx({"GAP": 200 / 3, "top-1": 200 / 3}, abs=1e-12)
    assert values(recognition(answers, {"c": ()}, ignore_non_landmarks=False)) == {"GAP": 0.0, "top-1": 0.0}


def test_equal_scores_are_ordered_by_image():
    solution = {"a": (1,), "b": (1,)}
    first, second = Prediction(1, 0.5), Prediction(2, 0.5)
    assert recognition({"b": second, "a": first}, solution, ignore_non_landmarks=False)["GAP"].value == 50
    assert recognition({"b": first, "a": second}, solution, ignore_non_landmarks=False)["GAP"].value == 25


def test_retrieval_by_hand():
    solution = {"p": ("x", "y"), "q": ("z",)}
    answers = {"p": ("x", "x", "y")}  # the repeated image takes a place; nothing was answered to q
    assert retrieval(answers, solution)["mAP@100"].value == pytest.approx(100 * (1 + 2 / 3) / 2 / 2, abs=1e-12)
    assert gldv2.average_precisions(answers, solution, 2).tolist() == [0.5, 0.0]
    expected = [0.5, 0.25, 1 / 3, 0.25]
    np.testing.assert_allclose(gldv2.mean_precisions(answers, solution, 4), expected, atol=1e-15)
    assert gldv2.first_positions(answers, solution, 4) == (3.0, 3.0)
    answers |= {"q": ("a", "b", "z")}
    assert gldv2.first_positions(answers, solution | {"r": ()}, 9) == (14 / 3, 3.0)


def test_more_relevant_images_than_places():
    relevant = tuple(f"i{i}" for i in range(150))
    assert retrieval({"q": relevant}, {"q": relevant})["mAP@100"].value == 100


def test_recall_of_any_positive():
    rows = [[5, 7, 1, 9], [7, 5, 1, -1], [0, 1, 2, 3]]
    truths = [Truth(np.array([1, 9]), np.array([5])), Truth(np.array([7]), np.array([], int))]
    truths.append(Truth(np.array([], int), np.array([], int)))  # has no part
    assert any_recalls(ranking.evaluate(rows, truths, (1, 2, 3))) == {"R@1": 50, "R@2": 100, "R@3": 100}
    missed = ranking.evaluate(rows[1:2], [Truth(np.array([8]), np.array([0]))], (99,))
    assert any_recalls(missed) == {"R@99": 0}
    assert np.isnan(ranking.evaluate(rows[2:], truths[2:], (1, 5)).any_recalls()).all()


def test_files(tmp_path):
    def write(name: str, text: str):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    solution = gldv2_files.read_recognition_solution(
        write("s.csv", "\ufeffid,landmarks,Usage\na,1 22,Public\nb,,Private\nc,5,Ignored\nd,7,Private\n")
    )
    assert solution == gldv2_files.RecognitionSolution({"a": (1, 22)}, {"b": (), "d": (7,)}, frozenset("c"))
    public, private = gldv2_files.read_recognition_predictions(
        write("p.csv", "id,landmarks\na,22 0.5\nb,\nc,5 0.1\nd,7 1e-3\n"), solution
    )
    assert public == {"a": Prediction(22, 0.5)} and private == {"d": Prediction(7, 0.001)}
    solution = gldv2_files.read_retrieval_solution(
        write("r.csv", "id,images,Usage\nq,x y,Public\nr,None,Ignored\ns,z,Private\n")
    )
    assert solution == gldv2_files.RetrievalSolution({"q": ("x", "y")}, {"s": ("z",)}, frozenset("r"))
    public, private = gldv2_files.read_retrieval_predictions(write("l.csv", "id,images\nq,y a x\nr,b\ns,\n"), solution)
    assert (public, private) == ({"q": ("y", "a", "x")}, {})
    assert retrieval(public, solution.public)["mAP@100"].value == pytest.approx(100 * (1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,landmarks\na,1\n", r"expects the columns id,landmarks,Usage\. Received: id,landmarks"),
        (
            "id,landmarks,Usage\na,1,public\n",
            r"line 2: expected a Usage among Public, Private, Ignored\. Received: 'pub",
        ),
        ("id,landmarks,Usage\na,1,Public\na,2,Public\n", "line 3: the id 'a' appears twice"),
        ("id,landmarks,Usage\na,one,Public\n", "line 2: expected whole numbers separated by spaces"),
        ("id,landmarks,Usage\na,1\n", "line 2: expected 3 values"),
    ],
)
def test_broken_solutions(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        gldv2_files.read_recognition_solution(tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("z,1 0.5", "line 2: the solution has no image 'z'"),
        ("a,1", "line 2: expected a class and a score"),
        ("a,1 high", "line 2: expected a class and a score"),
        ("a,1 0.5 2 0.4", "line 2: expected a class and a score"),
        ("a,1 nan", "line 2: the score is not a number"),
    ],
)
def test_broken_predictions(tmp_path, row, message):
    (tmp_path / "p.csv").write_text(f"id,landmarks\n{row}\n")
    solution = gldv2_files.RecognitionSolution({"a": (1,)})
    with pytest.raises(InputError, match=message):
        gldv2_files.read_recognition_predictions(tmp_path / "p.csv", solution)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        gldv2_files.read_retrieval_solution(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"id,images,Usage\n\xff\xfe,a,Public\n")
    with pytest.raises(InputError, match=r"b\.csv, line 2"):
        gldv2_files.read_retrieval_solution(tmp_path / "b.csv")

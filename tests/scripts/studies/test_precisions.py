"""The table of the cost of a lower precision, and the inliers in it."""

from scripts.studies.precisions import inliers, table
from tests.extraction.pictures import write_picture


def test_a_precision_is_a_line():
    entries = [{"metrics": {"all": {"mAP": value}}} for value in (40.004, 56.19)]
    rows = [
        {"precision": "float32", "rows": entries, "inliers": [48, 0]},
        {"precision": "int8", "rows": entries[::-1], "inliers": []},
    ]
    lines = table(rows).splitlines()
    assert lines[2:] == ["| float32 | 40.00 | 56.19 | 48, 0 |", "| int8 | 56.19 | 40.00 | - |"]


def test_the_first_image_is_matched_with_the_others(tmp_path):
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        write_picture(tmp_path / f"{name}.png", 120, 160, seed=seed)
    other, same = inliers("rootsift", str(tmp_path))
    assert same > 20 > other
    assert inliers("rootsift", "") == []

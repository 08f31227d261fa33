"""What cannot be right of a GLDv2 run is refused before anything is extracted or searched."""

import shutil
from dataclasses import replace

import pytest

from delg.common.errors import InputError
from tests.evaluation.benchmarks.test_gldv2 import config, photos, run, world  # noqa: F401
from tests.evaluation.options import Config


def test_an_index_image_that_no_answer_can_name_is_refused_before_any_work(photos, tmp_path):  # noqa: F811
    shutil.copytree(photos, tmp_path / "gldv2")
    shutil.copy(photos / "index/0/0/a/00a00.jpg", tmp_path / "gldv2/index/0/0/a/00a 0.jpg")
    given = Config("gldv2_retrieval", str(tmp_path / "gldv2"), output_dir=str(tmp_path / "out"), model="rootsift")
    with pytest.raises(InputError, match="gldv2_retrieval cannot write the image '0/0/a/00a 0'"):
        run(given)
    assert not (tmp_path / "out" / "features").exists()


@pytest.mark.parametrize("task", ["retrieval", "recognition"])
def test_a_solution_of_ignored_images_alone(photos, tmp_path, task):  # noqa: F811
    text = (photos / f"{task}_solution_v2.1.csv").read_text()
    (tmp_path / "ignored.csv").write_text(text.replace("Public", "Ignored").replace("Private", "Ignored"))
    given = Config(f"gldv2_{task}", str(photos), output_dir=str(tmp_path / "out"), model="rootsift")
    with pytest.raises(InputError, match=r"ignored\.csv has no image of the Usage Public or Private\.$"):
        run(replace(given, solution_file=str(tmp_path / "ignored.csv")))
    assert not (tmp_path / "out").exists()


def test_what_nothing_would_read(world, tmp_path):  # noqa: F811
    folder, given = world[0], config(world[0], tmp_path / "out", "retrieval")
    for changed, message in (
        (replace(given, benchmark="gldv2_retrieval+r1m", distractors_dir=str(folder / "i")), "no distractors"),
        (replace(given, ignore_non_landmarks=True), "--ignore_non_landmarks"),
        (replace(given, features_dir=str(folder / "kept")), "Expected no --features_dir: all features exist already"),
        (replace(given, local_dtype="binary"), "Expected no --local_dtype: all features exist already"),
    ):
        with pytest.raises(InputError, match=message):
            run(changed)
    assert not (tmp_path / "out").exists() and not (folder / "kept").exists()

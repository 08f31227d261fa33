"""What cannot be right of a GLDv2 run is refused before anything is extracted or searched."""

import shutil

import pytest

from evaluation.landmark_run import Config, run
from protos.errors import InputError
from tests.evaluation.test_landmark_run import photos  # noqa: F401


def test_an_index_image_that_no_answer_can_name_is_refused_before_any_work(photos, tmp_path):  # noqa: F811
    shutil.copytree(photos, tmp_path / "gldv2")
    shutil.copy(photos / "index/0/0/a/00a00.jpg", tmp_path / "gldv2/index/0/0/a/00a 0.jpg")
    given = Config("gldv2_retrieval", str(tmp_path / "out"), data_dir=str(tmp_path / "gldv2"), model="rootsift")
    with pytest.raises(InputError, match="gldv2_retrieval cannot write the image '0/0/a/00a 0'"):
        run(given)
    assert not (tmp_path / "out" / "features").exists()

import cv2
import numpy as np
import pytest

from delg.common.errors import InputError
from matching.draw import GAP, draw_matches, write_picture

LEFT = np.full((40, 60, 3), 20, np.uint8)
RIGHT = np.full((90, 50, 3), [10, 60, 90], np.uint8)
NONE = np.zeros((0, 2), np.float32)


def test_images_lie_side_by_side_on_white():
    picture = draw_matches(LEFT, RIGHT, NONE, NONE)
    assert picture.shape == (90, 60 + GAP + 50, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:40, :60], LEFT)
    np.testing.assert_array_equal(picture[:, 60 + GAP :], RIGHT)
    assert (picture[40:, : 60 + GAP] == 255).all()
    assert (picture[:, 60 : 60 + GAP] == 255).all()


def test_a_line_runs_from_point_to_point():
    points_a, points_b = np.array([[10.0, 20.0]]), np.array([[30.0, 20.0]])
    plain = draw_matches(LEFT, RIGHT, NONE, NONE)
    changed = (draw_matches(LEFT, RIGHT, points_a, points_b) != plain).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed[20, 10 : 60 + GAP + 31].all()
    assert (rows.min(), rows.max()) >= (16, 20)
    assert rows.max() <= 24
    assert 6 <= columns.min() <= 10
    assert 60 + GAP + 30 <= columns.max() <= 60 + GAP + 34


def test_points_are_x_then_y_and_lines_differ_in_colour():
    picture = draw_matches(LEFT, RIGHT, np.array([[5.0, 30.0], [5.0, 5.0]]), np.array([[5.0, 80.0], [40.0, 5.0]]))
    plain = draw_matches(LEFT, RIGHT, NONE, NONE)
    changed = (picture != plain).any(axis=2)
    assert changed[80, 60 + GAP + 5]
    assert not changed[5:30, 60 + GAP + 47 :].any()
    assert (picture[5, 30].astype(int) != picture[30, 5].astype(int)).any()
    np.testing.assert_array_equal(LEFT, 20)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="uint8"):
        draw_matches(LEFT.astype(np.float32), RIGHT, NONE, NONE)
    with pytest.raises(InputError, match=r"\(H, W, 3\)"):
        draw_matches(LEFT, RIGHT[..., 0], NONE, NONE)
    with pytest.raises(InputError, match=r"points \(M, 2\)"):
        draw_matches(LEFT, RIGHT, np.zeros((2, 2)), np.zeros((3, 2)))


def test_the_picture_is_written_in_its_colours(tmp_path):
    write_picture(tmp_path / "made" / "picture.png", RIGHT)
    read = cv2.imread(str(tmp_path / "made" / "picture.png"))
    assert read[0, 0].tolist() == [90, 60, 10], "OpenCV reads BGR"
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["picture.png"]
    with pytest.raises(InputError, match="cannot be written"):
        write_picture(tmp_path / "picture.unknown", RIGHT)
    assert not (tmp_path / "picture.unknown").exists()

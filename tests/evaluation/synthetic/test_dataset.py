"""Which landmarks a set holds, their streams, and the ground truth."""

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.synthetic.dataset import LandmarkSetOptions, draw_landmark, ground_truth, landmarks, look, stream
from evaluation.synthetic.ornaments import ORNAMENTS
from evaluation.synthetic.roofs import ROOFS
from evaluation.synthetic.style import ROOF_KINDS, WALL_KINDS, shade
from evaluation.synthetic.walls import WALLS

SMALL = LandmarkSetOptions(
    seed=3, num_classes=6, views_per_class=3, num_queries=4, easy_per_query=2, hard_per_query=3, junk_per_query=1,
    num_distractors=10, image_size=96,
)  # fmt: skip


def test_defaults():
    marks = list(landmarks(LandmarkSetOptions()))
    counts = {split: sum(m.split == split for m in marks) for split in ("train", "query", "distractor")}
    assert counts == {"train": 500, "query": 60, "distractor": 300}
    assert sum(len(m.shots) for m in marks) == 500 * 14 + 60 * (1 + 4 + 6 + 2) + 300


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_classes", 0), ("views_per_class", -1), ("num_queries", 0), ("easy_per_query", 0), ("hard_per_query", 0),
     ("junk_per_query", -1), ("num_distractors", -2), ("image_size", 63), ("image_size", 2049), ("seed", -1)],
)  # fmt: skip
def test_counts_out_of_range_are_input_errors(field, value):
    with pytest.raises(InputError, match=f"--{field} .*{value}"):
        LandmarkSetOptions(**{field: value})


def test_names_files_and_streams_are_unique():
    marks = list(landmarks(SMALL))
    shots = [shot for mark in marks for shot in mark.shots]
    assert len({s.name for s in shots}) == len({s.file for s in shots}) == len(shots)
    places = {(m.split, m.number, s.number) for m in marks for s in m.shots}
    assert len(places) == len(shots)
    draws = {tuple(stream(3, *place[:2], purpose, place[2]).integers(2**62, size=2)) for place in places
             for purpose in ("geometry", "appearance")}  # fmt: skip
    assert len(draws) == 2 * len(shots)


def test_training_and_evaluation_share_no_family():
    marks = list(landmarks(LandmarkSetOptions()))
    training = {m.family for m in marks if m.split == "train"}
    assert training.isdisjoint({m.family for m in marks if m.split != "train"})
    styles = {split: {look(0, m)[0] for m in marks[:: 60 if split == "train" else 1] if m.split == split}
              for split in ("train", "query")}  # fmt: skip
    assert styles["train"].isdisjoint(styles["query"])


def test_look_alikes_share_the_style_but_not_the_drawing():
    marks = list(landmarks(SMALL))
    query = next(m for m in marks if m.split == "query")
    alike = [m for m in marks if m.split == "distractor" and m.family == query.family]
    assert [m.number for m in alike] == [0]
    assert sum(m.family[0] == "query" for m in marks if m.split == "distractor") == 2
    first, second = look(3, query)[0], look(3, alike[0])[0]
    kinds = ("wall_kind", "roof_kind", "window_kinds", "width", "height", "floors", "bays")
    assert [getattr(first, k) for k in kinds] == [getattr(second, k) for k in kinds]
    assert np.abs(np.subtract(first.wall, second.wall)).max() <= 10
    difference = np.abs(draw_landmark(3, query).texture.astype(int) - draw_landmark(3, alike[0]).texture)
    assert (difference.max(2) > 30).mean() > 0.15


def test_no_two_landmarks_are_identical_and_all_are_rich_in_corners():
    import cv2

    seen = set()
    for mark in list(landmarks(LandmarkSetOptions(num_classes=24, num_queries=6, num_distractors=10))):
        facade = draw_landmark(0, mark)
        seen.add(facade.texture.tobytes())
        grey = cv2.cvtColor(facade.texture, cv2.COLOR_RGB2GRAY)
        corners = cv2.goodFeaturesToTrack(grey, 1000, 0.02, 5)
        assert len(corners) > 120
    assert len(seen) == 40


def test_a_landmark_does_not_depend_on_the_counts():
    other = LandmarkSetOptions(seed=3, num_classes=2, num_queries=4, num_distractors=1, hard_per_query=9)
    for name in ("train_0001", "query_0002", "distractor_0000"):
        first, second = (next(m for m in landmarks(c) if m.name == name) for c in (SMALL, other))
        assert first.family == second.family
        kept = {s.name: s for s in second.shots}
        assert all(kept[s.name] == s for s in first.shots if s.name in kept)
    assert (draw_landmark(3, first).texture == draw_landmark(3, second).texture).all()
    assert (draw_landmark(3, first).texture.shape != draw_landmark(4, first).texture.shape) or (
        draw_landmark(3, first).texture != draw_landmark(4, first).texture
    ).any()


def test_ground_truth_is_the_revisited_form():
    marks = [m for m in landmarks(SMALL) if m.split == "query"]
    boxes = {m.shots[0].name: [1.0, 2.0, 30.0, 40.0 + m.number] for m in marks}
    truth = ground_truth(SMALL, boxes)
    assert truth["qimlist"] == ["0000_query", "0001_query", "0002_query", "0003_query"]
    assert len(truth["imlist"]) == 4 * 6 + 10 == len(set(truth["imlist"]))
    assert not set(truth["qimlist"]) & set(truth["imlist"])
    assert truth["imlist"] != sorted(truth["imlist"])
    used = []
    for number, record in enumerate(truth["gnd"]):
        assert record["bbx"] == [1.0, 2.0, 30.0, 40.0 + number]
        assert [len(record[k]) for k in ("easy", "hard", "junk")] == [2, 3, 1]
        for kind in ("easy", "hard", "junk"):
            assert {truth["imlist"][i].rsplit("_", 1)[0] for i in record[kind]} == {f"{number:04d}_{kind}"}
            used += record[kind]
    assert len(used) == len(set(used)) and all(type(i) is int for i in used)
    assert {truth["imlist"][i].split("_")[0] for i in range(len(truth["imlist"])) if i not in used} == {"distractor"}


def test_tables_hold_every_kind():
    assert set(WALLS) == set(WALL_KINDS)
    assert set(ROOFS) == set(ROOF_KINDS)
    assert len(ORNAMENTS) == 7


def test_shade_rounds_and_clips():
    assert shade((100, 200, 33), 1.5) == (150, 255, 50)
    assert shade((100, 200, 33), 0.5) == (50, 100, 17)

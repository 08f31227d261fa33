"""Calibrations that are learned from a small collection, with labels and from changed copies."""

import cv2
import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.extractors.rootsift import RootSift
from matching.source import MemorySource
from matching.verdict import ABSENT, SAME, Calibration, Verifier
from matching.verdict.learning import changed, with_labels, without_labels

SIDE, THINGS = 200, 20
START = Calibration.of({"extractor": "rootsift", "matching": dict(RootSift.matching)})


def picture(seed):
    """Triangles of one thing."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(60):
        corners = rng.integers(0, SIDE, 2) + rng.integers(-20, 21, (3, 2))
        cv2.fillPoly(image, [corners.astype(np.int32)], [int(value) for value in rng.integers(0, 256, 3)])
    return image


@pytest.fixture(scope="module")
def pictures():
    return [picture(seed) for seed in range(THINGS)]


@pytest.fixture(scope="module")
def describe():
    return RootSift(max_feature_num=200)


@pytest.fixture(scope="module")
def collection(pictures, describe):
    """Two views of each thing, one after the other, and the label of each."""
    images = []
    for i, image in enumerate(pictures):
        turned = cv2.warpAffine(image, np.float32([[0.9, -0.2, 25], [0.2, 0.9, -10]]), (SIDE, SIDE), borderMode=4)
        images += [describe(image, f"{i} a"), describe(turned, f"{i} b")]
    return MemorySource(images), [i // 2 for i in range(2 * THINGS)]


def learn(judged):
    return Calibration.learn(judged, extractor="rootsift", images=2 * THINGS, source="", matching=START.matching)


def check(calibration, database, labels, rows):
    """Of these photos most are found among the others, and nothing without their label."""
    verifier = Verifier(database, calibration, top_k=10)
    found = {True: [], False: []}
    for row in rows:
        order = np.argsort(-(database.global_descriptors @ database.global_descriptors[row]), kind="stable")
        for present in (True, False):
            left = np.array([i for i in order if i != row and (present or labels[i] != labels[row])])
            found[present].append(verifier(database.features(row), left, false_match_rate=0.05).verdict.label)
    assert found[True].count(SAME) >= 0.7 * len(rows), found
    assert found[False].count(SAME) == 0 and found[False].count(ABSENT) >= 0.7 * len(rows), found


def test_with_labels(collection):
    database, labels = collection
    judged = list(with_labels(database, labels, START, rows=range(THINGS), top_k=10))
    assert len(judged) == 2 * THINGS
    assert all(sum(one.same) == 1 for one in judged[::2]) and not any(any(one.same) for one in judged[1::2])
    calibration = learn(judged)
    assert calibration.matching == START.matching and calibration.images == 2 * THINGS and calibration.verified == 10
    check(calibration, database, labels, range(THINGS, 2 * THINGS))
    with pytest.raises(InputError, match="label for each of 40 photos"):
        next(with_labels(database, labels[:5], START))


def test_without_labels(collection, pictures, describe):
    """The other view of each thing is set aside: no label says that it is the same."""
    database, labels = collection
    photos = [(2 * i, image) for i, image in enumerate(pictures)]
    judged = list(without_labels(photos, describe, database, START, top_k=10))
    assert len(judged) >= 1.5 * THINGS
    assert max(sum(one.same) for one in judged) == 1
    others = [evidence for one in judged for evidence, same in zip(one.evidence, one.same) if not same]
    assert max(evidence.surprise for evidence in others) < 20
    calibration = learn(judged)
    check(calibration, database, labels, range(0, 2 * THINGS, 2))
    first, again = (list(without_labels(photos[:2], describe, database, START, top_k=3)) for _ in range(2))
    assert first == again


def test_a_changed_copy_is_another_picture_of_the_same_thing(pictures):
    copies = [changed(pictures[0], np.random.default_rng(seed)) for seed in range(5)]
    assert len({copy.shape for copy in copies}) > 1
    for copy in copies:
        assert copy.dtype == np.uint8 and copy.shape[2] == 3 and min(copy.shape[:2]) >= 32
        assert copy.shape != pictures[0].shape or not np.array_equal(copy, pictures[0])
    np.testing.assert_array_equal(copies[1], changed(pictures[0], np.random.default_rng(1)))

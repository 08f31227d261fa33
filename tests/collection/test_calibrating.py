"""Verdicts, and calibrations that a collection learns from its own photos."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import delg
from delg.common.errors import InputError
from tests.collection.conftest import MODEL
from tests.extraction.pictures import picture, write_picture


@pytest.fixture
def collection(photos):
    for seed in range(20, 50):
        write_picture(photos / f"{seed}.png", 120, 160, seed)
    collection = delg.Collection.open(photos, MODEL)
    collection.sync()
    return collection


def test_a_calibration_without_labels_tells_copies_from_other_photos(collection):
    learned = collection.calibrate()
    assert "copies" in learned.source
    chart = (collection.state_folder / "verdict.svg").read_text()
    assert ElementTree.fromstring(chart).tag.endswith("svg") and "right, predicted" in chart
    reopened = delg.Collection.open(collection.folder)
    found = reopened.search(picture(120, 160, 25)[8:-8, 8:-8])
    absent = reopened.search(picture(120, 160, 1000))
    assert (found.verdict, found[0].path, found[0].verdict) == ("same", "25.png", "same")
    assert absent.verdict != "same"
    assert found.probability > 0.99 > absent.probability


def test_a_smaller_rate_of_false_matches_accepts_no_more(collection):
    query = picture(120, 160, 25)[20:-20, 30:-30]
    answers = [collection.search(query, false_match_rate=rate) for rate in (0.5, 0.05, 0.001)]
    accepted = [sum(one.verdict == "same" for one in answer) for answer in answers]
    assert accepted == sorted(accepted, reverse=True)
    assert len({answer.probability for answer in answers}) == 1


def test_folders_are_labels(photos):
    for thing in range(12):
        whole = picture(160, 200, 300 + thing)
        for view, (y, x) in enumerate(((0, 0), (20, 30), (40, 10))):
            place = photos / f"thing{thing}" / f"{view}.png"
            place.parent.mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(whole[y : y + 110, x : x + 150])).save(place)
    collection = delg.Collection.open(photos, MODEL)
    collection.sync()
    assert "labels" in collection.calibrate("folders").source
    assert collection.search("thing3/0.png", k=3)[1].path.startswith("thing3/")


def test_few_photos_and_unknown_labels_are_refused(photos):
    collection = delg.Collection.open(photos, MODEL)
    collection.sync()
    with pytest.raises(InputError, match="20"):
        collection.calibrate()
    with pytest.raises(InputError, match="folders"):
        collection.calibrate("names")
    assert collection.search("1.png", k=1)[0].path == "1.png"

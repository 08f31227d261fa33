"""Place recognition: positions in names, and recall on a procedural walk against a script of its own."""

import json
import math

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.benchmarks.table import build_benchmark
from evaluation.benchmarks.vpr import image_key
from evaluation.run import pipeline
from evaluation.run.plan import Config
from tests.evaluation.tiny import paint

EAST, NORTH = 584_200.0, 4_477_400.0


def colour(metres):
    """What is seen at a place: hues that come back after 180 m, so that far places look alike."""
    angle = 2 * math.pi * metres / 180
    return tuple(int(128 + 100 * math.cos(angle + shift)) for shift in (0, 2.1, 4.2))


def name(metres, key):
    return f"@{EAST + metres:.2f}@{NORTH + 3 * math.sin(metres):.2f}@17@T@040.44@-080.00@{key}@@@@@@@@"


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """400 m, a photo every 8 m; the queries were taken at odd places, two of them far from every photo."""
    folder, random = tmp_path_factory.mktemp("walk"), np.random.default_rng(0)
    for i, metres in enumerate(np.arange(0, 400, 8.0)):
        paint(folder / "database" / "east" / f"{name(metres, f'd{i:02}')}.jpg", colour(metres))
    for i, metres in enumerate([*random.uniform(0, 400, 12), 700.0, 900.0]):
        paint(folder / "queries" / f"{name(metres, f'q{i:02}')}.jpg", colour(metres + random.normal(0, 9)))
    return folder


def metres_of(path):
    """East and north: what stands between the first three signs of a name."""
    _, east, north, _ = path.split("/")[-1].split("@", 3)
    return float(east), float(north)


def brute_force(walk, features, ks=(1, 5, 10, 20)):
    """R@k from file names and descriptors alone, by loops over all pairs."""
    (names, found), (asked, queries) = features
    hits, counted = np.zeros(len(ks)), 0
    for query, descriptor in zip(asked, queries):
        order = sorted(range(len(names)), key=lambda d: -float(np.dot(descriptor, found[d])))
        right = [math.dist(metres_of(query), metres_of(names[d])) <= 25 for d in order]
        if any(right):
            counted += 1
            hits += [any(right[:k]) for k in ks]
    return {f"R@{k}": 100 * hit / counted for k, hit in zip(ks, hits)}, counted


def test_recall_is_that_of_a_brute_force_script(walk, tmp_path):
    report = pipeline.benchmark(Config("vpr", str(walk), str(tmp_path), "histogram", rerank=()), lambda line: None)
    stores = [tmp_path / "features" / "global" / part for part in ("database", "queries")]
    features = [
        (json.loads((store / "manifest.json").read_text())["names"], np.load(store / "global.npy")) for store in stores
    ]
    expected, counted = brute_force(walk, features)
    metrics = report.rows[0].metrics["all"]
    assert {key: value for key, value in metrics.items() if key.startswith("R@")} == pytest.approx(expected, abs=1e-9)
    assert counted == 12 and report.settings["queries_without_positives"] == {"all": 2}
    assert 0 < expected["R@1"] < expected["R@20"], "the walk tells nothing"
    found = report.statistics["hits"]["R@1"]["intervals"]["global"]["all"]
    assert found["mean"] == pytest.approx(expected["R@1"]) and found["low"] < found["mean"] < found["high"]
    table = (tmp_path / "report.md").read_text()
    squares = [[math.floor(metres / 100) for metres in metres_of(query)] for query in features[1][0]]
    groups = report.queries["groups"]
    assert [[a == b for b in groups] for a in groups] == [[a == b for b in squares] for a in squares]
    number = len({tuple(square) for square in squares[:12]})
    assert f"bootstrap over {number} squares of 100 m." in table and 3 <= number < 8
    assert "| method | mAP | R@1 | R@5 | R@10 | R@20 |" in table
    assert f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]" in table


def test_the_radius_is_an_argument(walk):
    def positives(text):
        return [len(truth.positives) for truth in build_benchmark(text, str(walk)).protocols["all"]]

    near, far = positives("vpr(radius=10)"), positives("vpr(radius=25)")
    assert all(a < b for a, b in zip(near[:12], far)) and far[12:] == [0, 0]
    assert build_benchmark("vpr(name='pitts30k')", str(walk)).name == "pitts30k"
    for text, message in (
        ("vpr(radius=0)", "radius above 0"),
        ("vpr(radius=True)", "radius above 0"),
        ("vpr(name=5)", "name in quotes. Received: 5"),
        ("vpr(radius=1e-9)", "within 1e-09 m"),
    ):
        with pytest.raises(InputError, match=message):
            build_benchmark(text, str(walk))


def test_names_without_coordinates(walk, tmp_path):
    paint(tmp_path / "mNIAGz.jpg", (9, 9, 9))
    with pytest.raises(InputError, match=r"names such as @UTM_EAST.*mNIAGz\.jpg"):
        build_benchmark("vpr", str(walk / "database"), str(tmp_path))
    benchmark = build_benchmark("vpr(labelled=False)", str(walk / "database"), str(tmp_path))
    assert len(benchmark.database) == 50 and len(benchmark.protocols["all"][0].positives) == 0
    assert image_key(benchmark.queries[0].name) == "mNIAGz" and image_key(benchmark.database[3].name) == "d03"


def test_a_photo_is_not_an_answer_to_itself(walk):
    photos = str(walk / "database")
    for row, truth in enumerate(build_benchmark("vpr(radius=10)", photos, photos).protocols["all"]):
        assert truth.junk.tolist() == [row] and row not in truth.positives
        assert len(truth.positives) in (1, 2)

"""Place recognition: positions in names, and recall on a procedural walk against a script of its own."""

import csv
import json
import math
import re
import shutil

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.benchmarks.table import build_benchmark
from evaluation.benchmarks.vpr import image_key
from evaluation.run import pipeline
from tests.evaluation.options import Config
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


def printed(folder, measure):
    """Values of a line of metrics.txt."""
    found = re.search(rf"^  {measure}\[ 1  5 10 20\] \[(.*)\]$", (folder / "metrics.txt").read_text(), re.MULTILINE)
    return [float(value) for value in found[1].split()]


def test_recall_is_that_of_a_brute_force_script(walk, tmp_path):
    report = pipeline.benchmark(
        Config("vpr", str(walk), output_dir=str(tmp_path), model="histogram", rerank=()), lambda line: None
    )
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
    assert printed(tmp_path, "R@k") == pytest.approx(list(expected.values()), abs=0.006)
    assert printed(tmp_path, "mAP@k") == pytest.approx([metrics[f"mAP@{k}"] for k in (1, 5, 10, 20)], abs=0.006)
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


def test_queries_without_positives_count_where_that_is_asked_for(walk, tmp_path):
    def run(text):
        report = pipeline.benchmark(
            Config(text, str(walk), output_dir=str(tmp_path), model="histogram", rerank=()), lambda line: None
        )
        return report, report.rows[0].metrics["all"]

    _, left_out = run("vpr")
    report, counted = run("vpr(count_queries_without_positives=True)")
    for k in (1, 5, 10, 20):
        assert counted[f"R@{k}"] == pytest.approx(left_out[f"R@{k}"] * 12 / 14)
    assert printed(tmp_path, "R@k") == pytest.approx([counted[f"R@{k}"] for k in (1, 5, 10, 20)], abs=0.006)
    assert {name: value for name, value in counted.items() if not name.startswith("R@")} == {
        name: value for name, value in left_out.items() if not name.startswith("R@")
    }
    assert report.statistics["hits"]["R@1"]["intervals"]["global"]["all"]["mean"] == pytest.approx(counted["R@1"])
    assert report.settings["queries_without_positives_count"] is True
    with pytest.raises(InputError, match="True or False"):
        build_benchmark("vpr(count_queries_without_positives=1)", str(walk))


CITIES = {"cph": 0.0, "sf": 40.0}  # metres of the walk at which each begins; coordinates of the two overlap


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Two cities in MSLS' layout: 200 m each, with panoramas, images of other subtasks, and a query far away."""
    folder, random = tmp_path_factory.mktemp("msls"), np.random.default_rng(0)
    for city, start in CITIES.items():
        for role, places in (("database", np.arange(0, 200, 9.0)), ("query", [*random.uniform(0, 200, 8), 900.0])):
            files = {"postprocessed": ["key", "easting", "northing", "night"], "raw": ["key", "lon", "lat", "pano"]}
            lines = {"subtask_index": [",key,all,d2n"]} | {
                file: [f",{','.join(names)}"] for file, names in files.items()
            }
            for i, metres in enumerate(places):
                key = f"{city}-{role[0]}{i:02}"
                colours = colour(start + metres + (random.normal(0, 9) if role == "query" else 0))
                paint(folder / "train_val" / city / role / "images" / f"{key}.jpg", colours)
                lines["postprocessed"].append(f"{i},{key},{EAST + metres},{NORTH + 3 * math.sin(metres)},{i % 2 == 0}")
                lines["raw"].append(f"{i},{key},0,0,{i % 6 == 5}")
                lines["subtask_index"].append(f"{i},{key},{i % 7 != 6},{i % 2 == 0}")
            for file, text in lines.items():
                (folder / "train_val" / city / role / f"{file}.csv").write_text("\n".join(text) + "\n")
    return folder


def msls_tables(root, subtask):
    """What counts, read by loops: of each role ``(city, key, east, north)``."""
    found = {}
    for role in ("query", "database"):
        found[role] = []
        for city in CITIES:
            rows = {}
            for file in ("postprocessed", "raw", "subtask_index"):
                with (root / "train_val" / city / role / f"{file}.csv").open() as lines:
                    for row in csv.DictReader(lines):
                        rows.setdefault(row["key"], {}).update(row)
            found[role] += [
                (city, key, float(row["easting"]), float(row["northing"]))
                for key, row in rows.items()
                if row["pano"] == "False" and row[subtask] == "True"
            ]
    return found


@pytest.mark.parametrize("subtask", ["all", "d2n"])
def test_msls_is_that_of_loops_over_its_files(streets, tmp_path, subtask):
    text = f"msls(subtask='{subtask}')"
    report = pipeline.benchmark(
        Config(text, str(streets), output_dir=str(tmp_path), model="histogram", rerank=()), lambda line: None
    )
    stores = {"query": "queries", "database": "database"}
    described = {}
    for role, part in stores.items():
        place = tmp_path / "features" / "global" / part
        names = json.loads((place / "manifest.json").read_text())["names"]
        described[role] = dict(zip((name.split("/")[-1] for name in names), np.load(place / "global.npy"), strict=True))
    tables = msls_tables(streets, subtask)
    for role in stores:
        assert list(described[role]) == [key for _, key, _, _ in tables[role]]
    recalls, precisions, counted = np.zeros(4), np.zeros(4), 0
    for city, key, *place in tables["query"]:
        similar = {d: float(described["query"][key] @ v) for d, v in described["database"].items()}
        order = sorted(tables["database"], key=lambda row: -similar[row[1]])
        right = [row[0] == city and math.dist(row[2:], place) <= 25 for row in order]
        if any(right):
            counted += 1
            recalls += [any(right[:k]) for k in (1, 5, 10, 20)]
            for column, k in enumerate((1, 5, 10, 20)):
                hits = [sum(right[: i + 1]) / (i + 1) for i in range(min(k, len(right))) if right[i]]
                precisions[column] += sum(hits) / min(sum(right), k)
    assert 0 < counted < len(tables["query"]) and 0 < recalls[0] < counted
    values = report.rows[0].metrics["all"]
    for column, k in enumerate((1, 5, 10, 20)):
        assert values[f"R@{k}"] == pytest.approx(100 * recalls[column] / counted, abs=1e-9)
        assert values[f"mAP@{k}"] == pytest.approx(100 * precisions[column] / counted, abs=1e-9)
    assert report.settings["queries_without_positives"] == {"all": len(tables["query"]) - counted}
    assert printed(tmp_path, "mAP@k") == pytest.approx((100 * precisions / counted).tolist(), abs=0.006)


def test_msls_of_one_city_and_without_positions(streets, tmp_path):
    whole, one = (build_benchmark(text, str(streets)) for text in ("msls", "msls(cities='sf')"))
    assert len(one.database) * 2 == len(whole.database) and one.database[0].name.startswith("sf/database/images/")
    assert image_key(one.queries[0].name) == "sf-q00"
    shutil.copytree(streets / "train_val" / "sf", tmp_path / "test" / "miami")
    for role in ("query", "database"):
        for file in ("raw", "postprocessed"):
            (tmp_path / "test" / "miami" / role / f"{file}.csv").unlink()
    hidden = build_benchmark("msls(cities='miami', labelled=False)", str(tmp_path))
    assert len(hidden.database) > len(one.database), "nothing marks panoramas"
    assert not any(len(truth.positives) for truth in hidden.protocols["all"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("msls(cities='paris')", "no folder paris"),
        ("msls(cities='')", "cities in quotes"),
        ("msls(subtask='night')", "choices are all, s2w"),
        ("msls(subtask='s2w')", "expects the columns key,s2w"),
        ("msls(radius=-1)", "radius above 0"),
        ("msls(name=1)", "name in quotes"),
    ],
)
def test_msls_ends_in_one_sentence(streets, text, message):
    with pytest.raises(InputError, match=message):
        build_benchmark(text, str(streets))


def test_msls_with_broken_files(streets, tmp_path):
    for file, column, value in (("raw", 4, "maybe"), ("postprocessed", 2, "nan"), ("postprocessed", 3, "north")):
        place = tmp_path / f"{file}{column}"
        shutil.copytree(streets, place)
        path = place / "train_val" / "sf" / "query" / f"{file}.csv"
        lines = path.read_text().splitlines()
        fields = lines[2].split(",")
        path.write_text("\n".join([*lines[:2], ",".join([*fields[:column], value, *fields[column + 1 :]]), *lines[3:]]))
        with pytest.raises(InputError, match=rf"{file}\.csv, line 3"):
            build_benchmark("msls", str(place))
    with pytest.raises(InputError, match="queries_dir"):
        build_benchmark("msls", str(streets), str(streets))

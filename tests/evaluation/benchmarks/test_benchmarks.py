"""Benchmarks: which images, which crops, which truths; and what a wrong layout is answered with."""

import numpy as np
import pytest
from scipy.io import savemat

from delg.common.errors import InputError
from evaluation.benchmarks.table import BENCHMARKS, build_benchmark
from tests.evaluation.tiny import BLUE, GREEN, RED, paint, revisited_set


def found(benchmark, protocol="all"):
    names = [image.name for image in benchmark.database]
    return {
        query.name: ([names[i] for i in truth.positives], [names[i] for i in truth.junk])
        for query, truth in zip(benchmark.queries, benchmark.protocols[protocol])
    }


@pytest.fixture
def photos(tmp_path):
    for instance, colour, count in (("bottle", GREEN, 2), ("can", RED, 3), ("jar", BLUE, 1)):
        for i in range(count):
            paint(tmp_path / "photos" / instance / f"{i}.jpg", colour)
    return tmp_path / "photos"


@pytest.mark.parametrize("name", ["roxford5k", "rparis6k", "landmarks"])
def test_revisited_layout(tmp_path, name):
    benchmark = build_benchmark(name, str(revisited_set(tmp_path, name)))
    benchmark.check_images()
    assert benchmark.name == name and list(benchmark.protocols) == ["easy", "medium", "hard"]
    assert [query.crop for query in benchmark.queries] == [(13.0, 0.0, 24.0, 16.0), (0.0, 0.0, 24.0, 16.0)]
    assert all(image.crop is None for image in benchmark.database)
    assert found(benchmark, "medium") == {"q0": (["a", "b"], ["c"]), "q1": (["d"], [])}
    assert found(benchmark, "hard")["q0"] == (["b"], ["c", "a"])
    assert benchmark.main_protocol == "medium" and not benchmark.leave_one_out
    with pytest.raises(InputError, match="--queries_dir"):
        build_benchmark(name, str(tmp_path), str(tmp_path))


def test_homographies_belong_to_the_landmarks(tmp_path):
    folder = revisited_set(tmp_path)
    assert build_benchmark("landmarks", str(folder)).homographies is None
    np.savez(folder / "homographies.npz", a=np.eye(3))
    assert build_benchmark("landmarks", str(folder)).homographies == folder / "homographies.npz"


def test_missing_images_are_counted_before_work(tmp_path):
    benchmark = build_benchmark("landmarks", str(revisited_set(tmp_path)))
    (tmp_path / "jpg" / "b.jpg").unlink()
    (tmp_path / "jpg" / "e.jpg").unlink()
    with pytest.raises(InputError, match=r"misses 2 of its 7 images; the first is .*b\.jpg"):
        benchmark.check_images()


def test_folders_leave_the_query_out(photos):
    benchmark = build_benchmark("folders", str(photos))
    assert benchmark.leave_one_out and benchmark.main_protocol == "all"
    assert found(benchmark) == {
        "bottle/0": (["bottle/1"], ["bottle/0"]),
        "bottle/1": (["bottle/0"], ["bottle/1"]),
        "can/0": (["can/1", "can/2"], ["can/0"]),
        "can/1": (["can/0", "can/2"], ["can/1"]),
        "can/2": (["can/0", "can/1"], ["can/2"]),
        "jar/0": ([], ["jar/0"]),
    }


def test_folders_with_a_query_folder(photos, tmp_path):
    paint(tmp_path / "asked" / "can.jpg", RED)
    paint(tmp_path / "asked" / "bottle" / "deep" / "9.jpg", GREEN)
    benchmark = build_benchmark("folders", str(photos), str(tmp_path / "asked"))
    assert not benchmark.leave_one_out
    assert found(benchmark) == {
        "bottle/deep/9": (["bottle/0", "bottle/1"], []),
        "can": (["can/0", "can/1", "can/2"], []),
    }


def test_a_query_file_that_is_a_database_file_is_left_out(photos, tmp_path):
    (tmp_path / "asked" / "can").mkdir(parents=True)
    (tmp_path / "asked" / "can" / "x.jpg").symlink_to(photos / "can" / "1.jpg")
    benchmark = build_benchmark("folders", str(photos), str(tmp_path / "asked"))
    assert found(benchmark) == {"can/x": (["can/0", "can/2"], ["can/1"])}


def test_wrong_folders_end_in_a_sentence(photos, tmp_path):
    paint(tmp_path / "asked" / "vase.jpg", RED)
    with pytest.raises(InputError, match=r"named like bottle, can, jar.*vase"):
        build_benchmark("folders", str(photos), str(tmp_path / "asked"))
    paint(photos / "loose.jpg", RED)
    with pytest.raises(InputError, match=r"folder for each instance.*loose\.jpg"):
        build_benchmark("folders", str(photos))
    with pytest.raises(InputError, match="does not exist"):
        build_benchmark("folders", str(tmp_path / "none"))


def test_a_function_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--data_dir.*--benchmark=json:loads, which is no Benchmark"):
        build_benchmark("json:loads", str(tmp_path))
    with pytest.raises(InputError, match=r"expected an object of evaluation\.benchmarks\.base\.Benchmark"):
        build_benchmark('json:loads(s="{}")')


def test_an_unknown_name_is_answered_with_the_choices(tmp_path):
    with pytest.raises(InputError) as error:
        build_benchmark("oxford", str(tmp_path))
    assert all(name in str(error.value) for name in ("oxford", *BENCHMARKS))
    with pytest.raises(InputError, match="junk"):
        build_benchmark("roxford5k(junk='keep')", str(tmp_path))


def write_lists(folder, database, queries=None):
    for name, lines in (("database.csv", database), ("queries.csv", queries)):
        if lines is not None:
            (folder / name).write_text("\n".join(lines) + "\n")
    return str(folder)


def test_lists_with_labels_and_boxes(photos):
    database = ["path,label", "bottle/0.jpg,b", "bottle/1.jpg,b", "can/0.jpg,c"]
    queries = ["path,label,x1,y1,x2,y2", "bottle/0.jpg,b,,,,", "bottle/0.jpg,b,1,2,9,9.5", "can/0.jpg,c,,,,"]
    benchmark = build_benchmark("csv", write_lists(photos, database, queries))
    benchmark.check_images()
    assert found(benchmark) == {
        "bottle/0": (["bottle/1"], ["bottle/0"]),
        "bottle/0.jpg@1.0,2.0,9.0,9.5": (["bottle/1"], ["bottle/0"]),
        "can/0": ([], ["can/0"]),
    }
    assert [query.crop for query in benchmark.queries] == [None, (1.0, 2.0, 9.0, 9.5), None]
    (photos / "queries.csv").unlink()
    assert build_benchmark("csv", str(photos)).leave_one_out


@pytest.mark.parametrize(
    ("database", "queries", "message"),
    [
        (["path,name", "a,b"], None, "expects the columns path,label"),
        (["path,label", "a.jpg"], None, "line 2: expected 2 values"),
        (["path,label", "a.jpg,"], None, "line 2: no value for label"),
        (["path,label", "a.jpg,x", "a.jpg,y"], None, "line 3: a.jpg has the label 'y' here and 'x' before"),
        (["path,label", "../a.jpg,x"], None, "without '..'"),
        (["path,label"], None, "names no image"),
        (["path,label", "a.jpg,x"], ["path,label,x1", "q.jpg,x,1"], "all of the columns x1,y1,x2,y2"),
        (["path,label", "a.jpg,x"], ["path,label,x1,y1,x2,y2", "q.jpg,x,5,5,2,9"], "x1 < x2"),
        (["path,label", "a.jpg,x"], ["path,label,x1,y1,x2,y2", "q.jpg,x,5,5,2,"], "expected numbers"),
        (["path,label", "a.jpg,x"], ["path,label", "q.jpg,y"], "No query has another image of its label.*such as x"),
    ],
)
def test_wrong_lists_end_in_a_sentence(tmp_path, database, queries, message):
    with pytest.raises(InputError, match=message):
        build_benchmark("csv", write_lists(tmp_path, database, queries))


def instre_set(folder, **changes):
    gnd = [{"ok": [1.0, 3.0], "bbx": [2, 3, 20, 15]}, {"ok": [2.0], "bbx": [0, 0, 24, 16]}]
    names = {"imlist": ["INSTRE-S1/01a/001.jpg", "INSTRE-S2/02/001.jpg", "INSTRE-M/01/001.jpg"]}
    names["qimlist"] = ["INSTRE-S1/01a/002.jpg", "INSTRE-S2/02/002.jpg"]
    document = {key: np.array(value, object) for key, value in names.items()} | {"gnd": gnd} | changes
    savemat(folder / "gnd_instre.mat", document)
    return str(folder)


def test_instre_counts_from_one_and_crops_to_corners(tmp_path):
    benchmark = build_benchmark("instre", instre_set(tmp_path))
    assert found(benchmark) == {
        "INSTRE-S1/01a/002": (["INSTRE-S1/01a/001", "INSTRE-M/01/001"], []),
        "INSTRE-S2/02/002": (["INSTRE-S2/02/001"], []),
    }
    assert benchmark.queries[0].crop == (2.0, 3.0, 20.0, 15.0)
    assert benchmark.queries[0].path == str(tmp_path / "INSTRE-S1" / "01a" / "002.jpg")
    assert build_benchmark("instre(crop=False)", str(tmp_path)).queries[0].crop is None
    with pytest.raises(InputError, match="misses 5 of its 5 images"):
        benchmark.check_images()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gnd": [{"ok": [4.0], "bbx": [0, 0, 1, 1]}, {"ok": [1.0], "bbx": [0, 0, 1, 1]}]}, "rows below 3"),
        ({"gnd": [{"ok": [1.0], "bbx": [9, 9, 5, 5]}, {"ok": [1.0], "bbx": [0, 0, 1, 1]}]}, "x1 < x2"),
        ({"gnd": [{"easy": [1.0]}, {"easy": [1.0]}]}, "expects the set ok"),
        ({"gnd": [{"ok": [1.0]}]}, "one entry of gnd per query: 2 and 1"),
        ({"imlist": np.array(["a.jpg", "a.jpg"], object)}, "each once"),
    ],
)
def test_a_wrong_instre_ends_in_a_sentence(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        build_benchmark("instre", instre_set(tmp_path, **changes))

"""Benchmarks: which images, which crops, which truths; and what a wrong layout is answered with."""

import numpy as np
import pytest

from evaluation.benchmarks.table import BENCHMARKS, build_benchmark
from protos.errors import InputError
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
    with pytest.raises(InputError, match="query folder"):
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


def test_an_unknown_name_is_answered_with_the_choices(tmp_path):
    with pytest.raises(InputError, match="choices are folders, landmarks, roxford5k, rparis6k"):
        build_benchmark("oxford", str(tmp_path))
    with pytest.raises(InputError, match="its arguments are"):
        build_benchmark("roxford5k(junk='keep')", str(tmp_path))
    assert len(BENCHMARKS) == 4

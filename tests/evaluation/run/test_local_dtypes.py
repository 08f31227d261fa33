"""Compact local features from the photo to the report: the commands by which a user meets them."""

import numpy as np
import pytest
from PIL import Image

import delg
from delg.common.errors import InputError
from evaluation.run import pipeline
from extraction.store.reader import FeatureStore
from tests import processes
from tests.evaluation.options import Config
from tests.extraction.pictures import picture
from tests.tiny import BACKBONE

COMPACT = ("float16", "uint8", "binary")
VIEWS = {name: i for i, name in enumerate(("first", "second"))}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A small untrained model, and photos: two views of three scenes, the second shifted and noisy."""
    folder = tmp_path_factory.mktemp("dtypes")
    delg.save(
        delg.create("delg_small", backbone=BACKBONE, embedding_dim=16, local_dim=32, attention_channels=8),
        folder / "model",
    )
    for scene in range(3):
        for view, number in VIEWS.items():
            noise = np.random.default_rng(scene).normal(0, 6 * number, (96, 112, 3))
            seen = picture(112, 128, seed=scene)[16 * number :, 16 * number :][:96, :112]
            (folder / "jpg" / f"scene{scene}").mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(np.clip(seen + noise, 0, 255).astype(np.uint8))
            image.save(folder / "jpg" / f"scene{scene}" / f"{view}.png")
    return folder


def untrained(place):
    return f'untrained(model="{place / "model"}", image_scales=(1.0, 1.5), global_scales_ind=(0,))'


def run(place, command, *positional, **given):
    arguments = [*map(str, positional), *(f"--{name}={value}" for name, value in given.items())]
    return processes.run(command, *arguments, cwd=place)


def best(done):
    assert done.returncode == 0, done.stderr
    _, score, name = done.stdout.splitlines()[1].split()
    return name, float(score)


def folders(place):
    return {"benchmark": "folders", "data_dir": str(place / "jpg"), "rerank": ("ransac",)}


@pytest.fixture(scope="module")
def reports(place):
    """Benchmarks of the untrained model, one for each way to store its local features."""
    given = {
        dtype: Config(
            output_dir=str(place / "reports" / dtype), model=untrained(place), local_dtype=dtype, **folders(place)
        )
        for dtype in ("float32", *COMPACT)
    }
    return {dtype: pipeline.benchmark(config, lambda _: None) for dtype, config in given.items()}


def stored(place, dtype):
    return FeatureStore.open(place / "reports" / dtype / "features" / "global" / "database")


@pytest.mark.parametrize("dtype", COMPACT)
def test_a_benchmark_stores_less_and_finds_the_same(place, reports, dtype):
    row, full = reports[dtype].rows[1], reports["float32"].rows[1]
    assert full.metrics["all"]["R@1"] == 100.0 == row.metrics["all"]["R@1"]
    values = {"float16": 2 * 32, "uint8": 32, "binary": 32 // 8}[dtype]
    others = 4 + 1 if dtype == "binary" else 4 * 4
    counts = [len(stored(place, dtype).features(i)) for i in range(6)]
    assert min(counts) > 20
    size = np.mean(counts) * (values + others) + (4 * 38 if dtype == "binary" else 0)
    assert row.bytes_per_image["local"] == pytest.approx(size)
    assert row.bytes_per_image["local"] < full.bytes_per_image["local"]
    assert reports[dtype].rows[0].metrics == reports["float32"].rows[0].metrics


def test_binary_features_from_the_command_line(place, reports):
    """A store made by one command is searched by another, and is that of the benchmark."""
    given = {"images_dir": "jpg", "model": untrained(place), "local_dtype": "binary", "output_dir": "bits"}
    assert "6 images" in run(place, "extract", **given).stdout
    for i in range(6):
        made, known = FeatureStore.open(place / "bits").features(i), stored(place, "binary").features(i)
        assert made.binary
        np.testing.assert_array_equal(made.descriptors, known.descriptors)
        np.testing.assert_array_equal(made.keypoints, known.keypoints)
    query = place / "jpg" / "scene1" / "second.png"
    asked = {
        "query": query,
        "model": untrained(place),
        "features_dir": "bits",
        "top_k": 2,
        "rerank": "ransac(one_per_place=False)",
    }
    done = run(place, "search", **asked)
    name, score = best(done)
    assert name == "scene1/second.png"
    own = FeatureStore.open(place / "bits").features(3)
    assert len(np.unique(own.descriptors, axis=0)) <= score <= len(own), "of equal descriptors the first is matched"
    assert done.stdout.splitlines()[2].split()[2] == "scene1/first.png"
    matched = run(place, "match", query, query, model=untrained(place), binary=True, one_per_place=False)
    assert matched.stdout.splitlines()[-1] == f"inliers: {score:.0f}", matched.stderr


def test_compact_rootsift_from_the_command_line(place):
    found = {}
    for dtype in ("float32", "float16", "uint8"):
        given = {"images_dir": "jpg", "model": "rootsift", "local_dtype": dtype, "output_dir": dtype}
        assert run(place, "extract", **given).returncode == 0
        query = place / "jpg" / "scene2" / "second.png"
        asked = {"query": query, "model": "rootsift", "features_dir": dtype, "rerank": "ransac(ratio=0.9)"}
        found[dtype] = best(run(place, "search", **asked))
    assert {name for name, _ in found.values()} == {"scene2/second.png"}
    assert found["float16"][1] == pytest.approx(found["float32"][1], rel=0.05)
    assert found["uint8"][1] == pytest.approx(found["float32"][1], rel=0.05)


def test_the_flag_of_the_benchmark(place):
    given = {"benchmark": "folders", "data_dir": "jpg", "model": "rootsift", "rerank": "ransac", "output_dir": "flag"}
    refused = run(place, "benchmark", **given, local_dtype="binary")
    assert refused.returncode == 1 and "those of rootsift are never negative" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = run(place, "benchmark", **given, local_dtype="uint8")
    assert done.returncode == 0, done.stderr
    store = FeatureStore.open(place / "flag" / "features" / "global" / "database")
    assert store.local_dtype == "uint8"
    assert store.bytes_per_image()["local"] == np.mean([len(store.features(i)) for i in range(6)]) * (128 + 16)


def test_what_cannot_be_stored_so_is_refused(place):
    done = run(place, "extract", images_dir="jpg", model="rootsift", local_dtype="binary", output_dir="refused")
    assert done.returncode == 1
    assert done.stderr.endswith("those of rootsift are never negative.\n") and "Traceback" not in done.stderr
    assert not list((place / "refused").iterdir())
    photos = [place / "jpg" / "scene0" / f"{view}.png" for view in VIEWS]
    done = run(place, "match", *photos, model="rootsift", binary=True)
    assert done.returncode == 1 and done.stderr.endswith("those of rootsift are never negative.\n")
    done = run(place, "extract", images_dir="jpg", model="rootsift", local_dtype="int4", output_dir="refused")
    assert done.returncode == 1 and "<float32|float16|uint8|binary>" in done.stderr


def test_what_was_stored_otherwise_is_refused(place, reports):
    stores = {dtype: str(stored(place, dtype).folder) for dtype in ("float32", *COMPACT)}
    settings = folders(place)
    for query, index in (("float32", "binary"), ("binary", "uint8")):
        given = {"query_features_dir": stores[query], "index_features_dir": stores[index]}
        with pytest.raises(InputError, match=f"descriptors are {query} and {index}; extract both with the same"):
            pipeline.benchmark(Config(output_dir=str(place / "mixed"), **settings, **given), lambda _: None)
    reused = Config(
        output_dir=str(place / "reports" / "float32"), model=untrained(place), local_dtype="binary", **settings
    )
    with pytest.raises(InputError, match=r"local_dtype \('float32' and 'binary'\)"):
        pipeline.benchmark(reused, lambda _: None)
    mixed = Config(
        output_dir=str(place / "mixed"),
        query_features_dir=stores["float32"],
        index_features_dir=stores["uint8"],
        **settings,
    )
    assert pipeline.benchmark(mixed, lambda _: None).rows[1].metrics["all"]["R@1"] == 100.0

"""Distractors that are streamed: the scores are those of one ranking of everything."""

from dataclasses import replace

import numpy as np
import pytest

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import Method
from evaluation.benchmarks.table import build_benchmark
from evaluation.metrics.truth import Truth
from evaluation.options import JUNK
from evaluation.run import distractors, pipeline
from evaluation.run.distractors import check_store
from evaluation.run.search import run
from extraction.features import Features
from extraction.formats.official_writer import write_features
from extraction.images import ImageRef
from extraction.pipeline import extract
from extraction.store.reader import FeatureStore
from extraction.store.writer import StoreWriter
from matching.indexes import exact
from matching.rerankers.table import build_reranker
from tests.evaluation.options import Config
from tests.evaluation.tiny import MeanColour, paint, refs, revisited_set
from tests.extraction.pictures import write_picture

QUERIES, DATABASE, DISTRACTORS, SIZE = 7, 60, 400, 16


def store(folder, name, descriptors):
    refs = [ImageRef(f"{name}{i}", f"{name}{i}.jpg") for i in range(len(descriptors))]
    writer = StoreWriter(folder / name, {"extractor": "rule"}, refs)
    for shard in writer.missing():
        images = writer.shard_images(shard)
        rows = [int(ref.name.removeprefix(name)) for ref in images]
        made = [Features(ref.name, (8, 8), descriptors[row]) for ref, row in zip(images, rows)]
        writer.write(shard, made, [])
    return writer.finish(), refs


def unit(random, *shape):
    values = random.normal(size=shape).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A benchmark with distractors, and the same where they are part of the database."""
    folder, random = tmp_path_factory.mktemp("stores"), np.random.default_rng(0)
    queries, database, more = (unit(random, n, SIZE) for n in (QUERIES, DATABASE, DISTRACTORS))
    for q in range(QUERIES):  # right images are near the query, at all distances
        for i in range(6):
            near = queries[q] + 0.5 * (i + 1) * unit(random, SIZE)
            database[6 * q + i] = near / np.linalg.norm(near)
    more[7] = database[3]  # an equal score: the database image comes first
    (asked, query_refs), (base, refs) = store(folder, "q", queries), store(folder, "d", database)
    far, _ = store(folder, "x", more)
    whole, _ = store(folder, "w", np.concatenate([database, more]))
    protocols = {
        "easy": [Truth(np.arange(6 * q, 6 * q + 4), np.arange(6 * q + 4, 6 * q + 6)) for q in range(QUERIES)],
        "hard": [Truth(np.arange(6 * q + 4, 6 * q + 6), np.arange(6 * q, 6 * q + 4)) for q in range(QUERIES)],
    }
    benchmark = Benchmark("rule", query_refs, refs, protocols)
    names = [ImageRef(name, name) for name in whole.names]
    return (
        benchmark,
        Method("global", asked, base, far),
        replace(benchmark, database=names),
        Method("global", asked, whole),
    )


RERANKERS = ["", "superglobal(m=40, k=3)", "alpha_qe(top_k=50)", "k_reciprocal(top_k=30)", "diffusion(top_k=30)"]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("text", RERANKERS)
def test_scores_are_those_of_one_ranking_of_everything(world, text, junk, monkeypatch):
    monkeypatch.setattr(exact, "BLOCK_BYTES", 64 * SIZE)  # many blocks
    benchmark, method, whole, together = world
    rerankers = {"r": build_reranker(text)} if text else {}
    ours = run(benchmark, method, rerankers, junk=junk)
    expected = run(whole, together, rerankers, junk=junk)
    for one, other in zip(ours, expected, strict=True):
        for protocol, metrics in one.metrics.items():
            for name, metric in metrics.items():
                np.testing.assert_allclose(metric.value, other.metrics[protocol][name].value, atol=1e-10)
            np.testing.assert_allclose(one.per_query(protocol), other.per_query(protocol), atol=1e-10)
            np.testing.assert_array_equal(one.top[protocol], other.top[protocol])
    assert ours[0].metrics["easy"]["mAP"].value < 97, "the distractors disturb nothing"


def test_a_reranker_of_everything_is_refused(world):
    benchmark, method, *_ = world
    with pytest.raises(InputError, match="expects a top_k of at most 20000"):
        run(benchmark, method, {"alpha_qe": build_reranker("alpha_qe")})


def test_joined_rows_are_those_of_both(world):
    _, method, _, together = world
    joined = distractors.Joined(method.database, method.distractors)
    rows = np.array([0, DATABASE - 1, DATABASE, DATABASE + 7, 3])
    np.testing.assert_array_equal(joined.global_descriptors[rows], together.database.global_descriptors[rows])
    assert joined.features(DATABASE + 7).name == "x7" and joined.features(5).name == "d5" and len(joined) == 460


def refusals(again, truth, folder, official):
    """What of a run with distractors is changed, and the sentence that answers it."""
    return (
        ({"distractors_dir": None}, "expects --distractors_dir"),
        ({"benchmark": "roxford5k"}, r"--distractors_dir expects --benchmark=NAME\+r1m"),
        ({"benchmark": "roxford5k+r1million"}, r"Expected --benchmark=NAME\+r1m\. Received: roxford5k\+r1million"),
        ({"benchmark": None, **truth}, r"--distractors_dir expects --benchmark=NAME\+r1m\.$"),
        ({"predictions": ("trec",)}, "--predictions"),
        ({"rerank": ("alpha_qe",)}, "alpha_qe expects a top_k of at most 20000"),
        (vars(again) | {"baselines": ("rootsift",)}, "--baselines=rootsift"),
        (vars(again) | {"distractors_dir": str(official)}, "official cannot be compared: .* 256 and 4 values"),
        ({"distractors_dir": str(folder)}, r"jpg/q0\.jpg is among the distractors of .*set: every distractor counts"),
        (
            vars(again) | {"distractors_dir": again.index_features_dir},
            "The image a of .*features/global/database is among the distractors of",
        ),
        (
            vars(again) | {"distractors_dir": again.query_features_dir},
            "The image q0 of .*global/queries is among the distr",
        ),
    )


def test_the_job_runs_with_distractors_from_images_and_from_stores(tmp_path):
    folder = revisited_set(tmp_path / "set", "roxford5k")
    for name, colour in (("m", (238, 2, 0)), ("n", (0, 0, 200))):
        paint(tmp_path / "more" / f"{name}.jpg", colour)
    config = Config(
        "roxford5k+r1m",
        str(folder),
        output_dir=str(tmp_path / "out"),
        model="histogram",
        rerank=("superglobal(m=4, k=1)",),
    )
    config = replace(config, distractors_dir=str(tmp_path / "more"))
    report = pipeline.benchmark(config, lambda line: None)
    assert report.benchmark == "roxford5k+r1m" and report.settings["distractors"] == 2
    assert (tmp_path / "out" / "report.html").is_file() and len(report.published) > 0
    made = tmp_path / "out" / "features" / "global"
    again = replace(
        config,
        model=None,
        output_dir=str(tmp_path / "two"),
        query_features_dir=str(made / "queries"),
        index_features_dir=str(made / "database"),
        distractors_dir=str(made / "distractors"),
    )
    second = pipeline.benchmark(again, lambda line: None)
    assert [row.metrics for row in second.rows] == [row.metrics for row in report.rows]
    truth = {"dataset_file_path": str(folder / "gnd_roxford5k.pkl"), "data_dir": None}
    third = pipeline.benchmark(replace(again, **truth, output_dir=str(tmp_path / "three")), lambda line: None)
    assert third.benchmark == report.benchmark and third.published == report.published
    official = tmp_path / "official"
    write_features(official, Features("x", (8, 8), np.ones(4, np.float32) / 2))
    for change, message in refusals(again, truth, folder, official):
        with pytest.raises(InputError, match=message):
            pipeline.benchmark(replace(config, **change | {"output_dir": str(tmp_path / "none")}), lambda line: None)
    assert not (tmp_path / "none" / "features").exists()


def test_one_image_of_the_set_among_the_distractors_is_found(tmp_path):
    """By its name and its features; another image of the same name is no matter."""
    random = np.random.default_rng(3)
    database, more = unit(random, 4, SIZE), unit(random, 9, SIZE)
    known, _ = store(tmp_path / "d", "i", database)
    other, _ = store(tmp_path / "m", "i", more)
    check_store(known, other)
    more[2] = database[2]
    mixed, _ = store(tmp_path / "n", "i", more)
    with pytest.raises(InputError, match=r"The image i2 of .*d/i is among the distractors of .*n/i: every distractor"):
        check_store(known, mixed)


def test_the_protocol_of_distractors_is_checked_and_recorded(tmp_path):
    folder = revisited_set(tmp_path / "set", "roxford5k")
    benchmark = build_benchmark("roxford5k", str(folder))
    extract(MeanColour(), benchmark.queries, tmp_path / "q", progress=False)
    extract(MeanColour(), benchmark.database, tmp_path / "d", progress=False)
    cropped = [replace(ref, crop=(0.0, 0.0, 9.0, 9.0)) for ref in refs(tmp_path / "more", {"x": (9, 9, 9)})]
    extract(MeanColour(), cropped, tmp_path / "m", progress=False)
    given = Config(
        "roxford5k+r1m",
        str(folder),
        output_dir=str(tmp_path / "out"),
        rerank=(),
        query_features_dir=str(tmp_path / "q"),
        index_features_dir=str(tmp_path / "d"),
        distractors_dir=str(tmp_path / "m"),
    )
    with pytest.raises(InputError, match=r"expects distractor images to be whole photos; .*m records crop=True\."):
        pipeline.benchmark(given, lambda line: None)
    allowed = pipeline.benchmark(replace(given, allow_protocol_mismatch=True), lambda line: None)
    assert allowed.settings["distractor_features"] == {"crop": True}
    assert allowed.settings["distractors_dir"] == str(tmp_path / "m")


def test_local_features_of_distractors_are_made_where_they_are_matched(tmp_path):
    folder = revisited_set(tmp_path / "set", "roxford5k")
    for i, path in enumerate(sorted((folder / "jpg").iterdir())):
        write_picture(path, 90, 120, seed=i)
    for i in range(3):
        write_picture(tmp_path / "more" / f"m{i}.jpg", 90, 120, seed=20 + i)
    config = Config(
        "roxford5k+r1m",
        str(folder),
        output_dir=str(tmp_path / "out"),
        model="rootsift",
        distractors_dir=str(tmp_path / "more"),
    )
    config = replace(config, baselines=(), rerank=("superglobal(m=4, k=1)",))
    made = tmp_path / "out" / "features" / "global"
    first = pipeline.benchmark(config, lambda line: None)
    sizes = [FeatureStore.open(made / name).bytes_per_image()["local"] for name in ("database", "distractors")]
    assert sizes[0] > 0 and sizes[1] == 0
    stores = {"query_features_dir": "queries", "index_features_dir": "database", "distractors_dir": "distractors"}
    again = replace(config, model=None, **{flag: str(made / name) for flag, name in stores.items()})
    second = pipeline.benchmark(replace(again, output_dir=str(tmp_path / "two")), lambda line: None)
    assert [row.metrics for row in second.rows] == [row.metrics for row in first.rows]
    assert "protocol_mismatch" not in second.settings
    with pytest.raises(InputError, match=r"--rerank=ransac matches local features; .*distractors holds none\."):
        pipeline.benchmark(replace(again, rerank=("ransac",)), lambda line: None)
    with pytest.raises(InputError, match=r"features of the distractors in .*distractors hold no local ones"):
        pipeline.benchmark(replace(config, rerank=("ransac",)), lambda line: None)
    whole = replace(config, rerank=("ransac(top_k=3)",), features_dir=str(tmp_path / "whole"))
    pipeline.benchmark(whole, lambda line: None)
    kept = pipeline.benchmark(replace(whole, rerank=config.rerank), lambda line: None)
    assert [row.metrics for row in kept.rows] == [row.metrics for row in first.rows]
    assert FeatureStore.open(tmp_path / "whole" / "global" / "distractors").bytes_per_image()["local"] > 0
